"""What somebody meets who has only the package."""

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


@pytest.mark.parametrize("module", ["qvq_wrapper", "qvq_wrapper.serve"])
def test_the_help_gives_no_warning(module):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
