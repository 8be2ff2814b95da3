"""Run other tests with other versions of Python, gradio_client and gradio, in new environments.

Each runs what its version can break, and no more.
"""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UV = shutil.which("uv", path=os.path.dirname(sys.executable))
pytestmark = [
    pytest.mark.matrix,
    pytest.mark.skipif(not UV, reason="needs: pip install uv"),
]

ROOT = Path(__file__).parents[1]
NEEDED = [
    ".[batch,notebook]", "hypothesis", "numpy", "openai", "pytest", "socksio", "trio"]
OLDEST = ["gradio_client==2.7.0", "anyio==4.11.0", "httpx==0.27.0", "huggingface_hub<2"]
VERSIONS = {
    # Python: further packages, the event loop (see conftest.py), and what runs with these
    "3.10": (OLDEST, "", ["prompt", "media", "session", "stream"]),
    "3.11": ([], "", ["prompt", "stream"]),
    "3.12": ([], "eager", ["prompt", "call", "stream"]),
    "3.13": (["uvloop"], "uvloop", ["prompt", "call", "stream"]),
}
if sys.version_info[:2] == (3, 11):
    del VERSIONS["3.11"]  # all other tests run with it
PROTOCOL = ["provider", "media", "call", "errors", "space", "stream"]
"""What a server takes part in. The other tests are about this side alone."""
SERVERS = {
    "5.50.0": [],
    "5.9.1": ["huggingface_hub<1", "requests", "starlette<0.46", "fastapi<0.116", "pydantic<2.11"],
    "4.44.1": [
        "huggingface_hub<0.26", "starlette<0.39", "fastapi<0.115", "pydantic<2.11",
        "jinja2<3.1.5"],
}


@functools.cache
def pythons():
    """Return the Pythons on this machine, by version, such as "3.10"."""
    places = [
        "~/.pyenv/versions/3.*/bin/python", "/usr/local/bin/python3.*", "/usr/bin/python3.*"]
    found = {}
    for place in places:
        base = Path(place).expanduser()
        for python in Path(base.anchor).glob(str(base.relative_to(base.anchor))):
            version = subprocess.run(
                [python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"],
                capture_output=True, text=True)
            if version.returncode == 0:
                found.setdefault(version.stdout.strip(), str(python))
    return found


def environment(folder, version, *packages):
    """Make a virtual environment with this Python and these packages. Return its Python."""
    python = pythons().get(version) or pytest.skip(f"needs Python {version}")
    subprocess.run([UV, "venv", "-q", "--python", python, folder], check=True)
    new = str(folder / "bin" / "python")
    subprocess.run(
        [UV, "pip", "install", "-q", "--python", new, *packages], check=True, cwd=ROOT)
    return new


def run_tests(python, space_python, names, loop=""):
    """Run test files with one Python, and the Spaces that they start with another.

    One event loop is enough: what is asked here is the same to both.
    """
    files = [f"tests/test_{name}.py" for name in names]
    result = subprocess.run(
        [python, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "-k", "not trio", *files],
        cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"QVQ_SPACE_PYTHON": space_python, "QVQ_TEST_LOOP": loop, "QVQ_CI": ""})
    print(result.stdout[-3000:], result.stderr[-1000:])
    assert result.returncode == 0


@pytest.mark.parametrize("version", SERVERS)
def test_server(version, tmp_path):
    python = environment(tmp_path / "env", "3.11", f"gradio=={version}", *SERVERS[version])
    run_tests(sys.executable, python, PROTOCOL)


IMPORTS = """
import importlib, pkgutil, qvq_wrapper
for module in pkgutil.walk_packages(qvq_wrapper.__path__, "qvq_wrapper."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:  # what starts a Space of one's own needs more packages
        assert module.name.startswith("qvq_wrapper.serve."), error
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_python(version, tmp_path):
    """Three also test something else: the oldest client, asyncio's eager tasks, and uvloop."""
    packages, loop, names = VERSIONS[version]
    python = environment(tmp_path / "env", version, *NEEDED, *packages)
    subprocess.run([python, "-c", IMPORTS], check=True, cwd=ROOT)
    run_tests(python, sys.executable, names, loop)
