"""In a real Jupyter kernel."""

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.fixture
def run_cells(tmp_path, monkeypatch):
    """Runs cells in a kernel; gives what each printed or showed as text."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

    def run(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
        return [
            "".join(output.get("text") or output["data"]["text/plain"] for output in cell.outputs)
            for cell in notebook.cells
        ]

    return run


def test_top_level_await_and_the_synchronous_form(space, run_cells):
    shown = run_cells(
        f"from qvq_wrapper import Qwen_QVQ_72B, ask\nQwen_QVQ_72B.url = {space.url!r}",
        "await ask('awaited').read()",
        "async with ask('streamed') as stream:\n    async for chunk in stream:\n        print(chunk, end='|')",
        "print(*Qwen_QVQ_72B.create_completion('', [{'role': 'user', 'content': 'sync'}]), sep='|')",
        "stream",
    )
    assert shown[1] == "'You asked: awaited'"
    assert shown[2].replace("|", "") == "You asked: streamed"
    assert shown[3].replace("|", "") == "You asked: sync\n"
    assert shown[4] == "<AnswerStream finished, 19 characters>"
