"""The Python examples of the README run, in order, and print what they should."""

import ast
import asyncio
import re

import pytest
from conftest import HERE, PNG

from qvq_wrapper import Qwen_QVQ_72B

README = (HERE.parent / "README.rst").read_text()


def blocks(without):
    for match in re.finditer(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README, re.M):
        if not any(word in match[1] for word in without):
            yield re.sub(r"^    ", "", match[1], flags=re.M)


# Left out in both runs: an example that test_notebook.py runs, and one that needs a cluster.
@pytest.mark.parametrize("without", [
    ["await show(", "dask", "g4f"],
    pytest.param(["await show(", "dask"], marks=pytest.mark.test_all)], ids=["without g4f", "all"])
@pytest.mark.filterwarnings("ignore:a question was never asked")  # some only make a stream
def test_every_example_runs(without, space, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Qwen_QVQ_72B, "url", space.url)
    monkeypatch.setattr(Qwen_QVQ_72B, "live", 0)  # g4f counts in it
    monkeypatch.setenv("G4F_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("triangle.png", "photo.jpg"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "questions.jsonl").write_text('{"prompt": "What?", "image": "photo.jpg"}')
    names = {}
    for block in blocks(without):
        code = compile(block, "README.rst", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if running is not None:
            asyncio.run(running)
    shown = capsys.readouterr().out
    assert shown.count("What does the sign say?") == 2
    assert "Hello, how are you?" in shown.replace("\n", "")
    assert "g4f" in without or names["answer"]
