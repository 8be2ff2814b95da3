"""Run other tests with other versions of Python, gradio_client and gradio, in new environments."""

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
CORE = ["provider", "stream", "media", "errors", "call", "session", "space", "connection"]
NEEDED = ["hypothesis", "numpy", "openai", "pillow", "pytest", "socksio", "trio"]
OLDEST = ["gradio_client==2.7.0", "anyio==4.11.0", "httpx==0.27.0", "huggingface_hub<2"]
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
        [UV, "pip", "install", "-q", "--compile-bytecode", "--python", new, *packages],
        check=True, cwd=ROOT)
    return new


def run_tests(python, space_python, names, *options):
    """Run test files with one Python, and the Spaces that they start with another."""
    files = [f"tests/test_{name}.py" for name in names]
    result = subprocess.run(
        [python, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", *options, *files],
        cwd=ROOT, env=os.environ | {"QVQ_SPACE_PYTHON": space_python, "QVQ_CI": ""},
        capture_output=True, text=True)
    print(result.stdout[-3000:], result.stderr[-1000:])
    assert result.returncode == 0


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_python(version, tmp_path):
    python = environment(tmp_path / "env", version, ".", *NEEDED)
    run_tests(python, sys.executable, ["provider", "prompt", "stream", "session", "space"])


@pytest.mark.parametrize("loop", ["eager", "uvloop"])
def test_event_loop(loop, tmp_path, monkeypatch):
    """With asyncio's eager tasks, and on uvloop."""
    monkeypatch.setenv("QVQ_TEST_LOOP", loop)
    python = environment(tmp_path / "env", "3.12", ".", *NEEDED, "uvloop")
    run_tests(python, sys.executable, ["stream", "session", "call", "chaos"], "-k", "not trio")


def test_the_oldest_client(tmp_path):
    python = environment(tmp_path / "env", "3.10", ".", *NEEDED, *OLDEST)
    run_tests(python, sys.executable, CORE)


@pytest.mark.parametrize("version", SERVERS)
def test_server(version, tmp_path):
    python = environment(tmp_path / "env", "3.11", f"gradio=={version}", *SERVERS[version])
    run_tests(sys.executable, python, CORE, "-k", "not trio")  # all the same to a server
