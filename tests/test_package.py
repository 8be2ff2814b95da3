"""What somebody meets who has only the package."""

import asyncio
import subprocess
import sys

import pytest

import qvq_wrapper

LACKING = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
import qvq_wrapper.notebook
"""


def test_parts_are_imported_when_they_are_used():
    code = "import qvq_wrapper; print(qvq_wrapper.serve.running_space.__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("running_space\n", "")
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        qvq_wrapper.anything


@pytest.mark.parametrize("package", ["IPython", "markdown_it", "PIL"])
def test_the_notebook_without_its_extra(package):
    result = subprocess.run(
        [sys.executable, "-c", LACKING, package], capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert package in last and 'pip install "qvq_wrapper[notebook]"' in last


@pytest.mark.parametrize("package, code", [
    ("filelock", "answer_file([], 'answers.jsonl')"),
    ("tqdm.auto", "answer_file([], 'answers.jsonl', progress=True)"),
])
def test_a_batch_without_its_extra(package, code, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImportError, match=r'pip install "qvq_wrapper\[batch\]"'):
        asyncio.run(eval(code, {"answer_file": qvq_wrapper.batch.answer_file}))


def test_a_cluster_without_its_extra():
    code = """
import sys
sys.modules["distributed"] = None
from qvq_wrapper.batch.__main__ import main
sys.exit(main(["questions.jsonl", "answers.jsonl", "--dask", "tcp://127.0.0.1:9"]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    shown = 'qvq-batch: --dask needs: pip install "qvq_wrapper[dask]"\n'
    assert (result.returncode, result.stderr) == (2, shown)


def test_show_outside_a_notebook():
    """It says what to write, and shows nothing."""
    code = """
import asyncio
from qvq_wrapper.notebook import show
asyncio.run(show(__import__("qvq_wrapper").ask("What is this?", url="http://127.0.0.1:9")))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "show() needs a notebook; elsewhere" in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("module", ["qvq_wrapper", "qvq_wrapper.serve"])
def test_the_help_gives_no_warning(module):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
