"""What somebody meets who has only the package."""

import asyncio
import subprocess
import sys

import pytest

import qvq_wrapper

LACKING = """
import asyncio, sys
import qvq_wrapper
from qvq_wrapper.batch.__main__ import main
print(qvq_wrapper.serve.running_space.__name__)  # imported when it is used
for package in ("IPython", "markdown_it", "PIL"):
    sys.modules[package] = None  # as if it were not installed
    try:
        import qvq_wrapper.notebook
    except ImportError as error:
        print(error)
    del sys.modules[package]
    for name in [name for name in sys.modules if name.startswith("qvq_wrapper.notebook")]:
        del sys.modules[name]
sys.modules["distributed"] = None
print(main(["questions.jsonl", "answers.jsonl", "--dask", "tcp://127.0.0.1:9"]))
from qvq_wrapper.notebook import show
stream = qvq_wrapper.ask("What is this?", url="http://127.0.0.1:9")
try:
    asyncio.run(show(stream))
except RuntimeError as error:
    print(error)
    stream.cancel()
"""


def test_a_part_without_its_extra():
    """And without a notebook: `show` says what to write, and shows nothing."""
    result = subprocess.run([sys.executable, "-c", LACKING], capture_output=True, text=True)
    imported, *lacking, status, outside = result.stdout.splitlines()
    assert imported == "running_space" and status == "2"
    for package, line in zip(["IPython", "markdown_it", "PIL"], lacking, strict=True):
        assert package in line and 'pip install "qvq_wrapper[notebook]"' in line
    assert "show() needs a notebook; elsewhere" in outside
    assert result.stderr == 'qvq-batch: --dask needs: pip install "qvq_wrapper[dask]"\n'
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        qvq_wrapper.anything


def test_a_batch_without_its_extra(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for package, options in (("filelock", {}), ("tqdm.auto", {"progress": True})):
        with monkeypatch.context() as lacking:
            lacking.setitem(sys.modules, package, None)
            with pytest.raises(ImportError, match=r'pip install "qvq_wrapper\[batch\]"'):
                asyncio.run(qvq_wrapper.batch.answer_file([], "answers.jsonl", **options))


def test_the_help_gives_no_warning():
    for module in ("qvq_wrapper", "qvq_wrapper.serve"):
        result = subprocess.run(
            [sys.executable, "-W", "error", "-m", module, "--help"], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, ""), module
