"""Real Gradio Spaces in processes of their own, and what the tests look at them with."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest
from network import web_server
from PIL import Image

from qvq_wrapper import Qwen_QVQ_72B, ResponseError
from qvq_wrapper.bridge.shelf import shelf

HERE = Path(__file__).parent
_buffer = io.BytesIO()
Image.linear_gradient("L").save(_buffer, "PNG")
PNG = _buffer.getvalue()
BOUND = 15
"""Seconds that a test waits for what has to happen."""


def script(*steps):
    """A prompt that the test Space carries out step by step."""
    return "script:" + json.dumps(steps)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, bound=BOUND):
    """What ``condition()`` gives as soon as it is true; fails after ``bound`` seconds."""
    end = time.monotonic() + bound
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {bound} s: {condition}"
        time.sleep(0.01)
    return value


class LocalSpace:
    """A Gradio Space in a process of its own."""

    def __init__(self, launcher, folder, *arguments):
        self.log_file = Path(folder) / f"{time.time_ns()}.log"
        self.log_file.touch()
        command = ["--log", str(self.log_file), "--port", str(free_port()), *map(str, arguments)]
        print(json.dumps(command), file=launcher.stdin, flush=True)
        started = launcher.stdout.readline().split()
        assert len(started) == 3, "the test Space did not start"
        self.pid, self.url = int(started[0]), started[1].rstrip("/")
        self.version = tuple(map(int, started[2].split(".")[:2]))

    def needs(self, *version):
        if self.version < version:
            pytest.skip(f"gradio {'.'.join(map(str, self.version))} has not what {'.'.join(map(str, version))} has")

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def log(self, event=None, **facts):
        """What the Space wrote down, of one event and with these facts."""
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines()]
        return [line for line in lines
                if event in (None, line["event"]) and facts.items() <= line.items()]

    def seen(self, prompt):
        """The latest question with this prompt."""
        return self.log("asked", prompt=prompt)[-1]

    async def gone(self, prompt):
        """The job with this prompt has left the Space without having finished."""
        # A generator that had not yielded yet, and every one before gradio 5.50, is forgotten and not closed.
        steps = -1
        while not self.log("left", prompt=prompt) and steps < (steps := len(self.log("step", prompt=prompt))):
            await anyio.sleep(0.5)
        assert not self.log("finished", prompt=prompt)

    async def wait_log(self, event, **facts):
        return await anyio.to_thread.run_sync(lambda: wait_until(lambda: self.log(event, **facts)))

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self):
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists())


@pytest.fixture(scope="session")
def start_space(tmp_path_factory):
    """Starts a Space with the given command line (see spaces/space.py), and stops it again."""
    folder = tmp_path_factory.mktemp("spaces")
    python = os.environ.get("QVQ_SPACE_PYTHON", sys.executable)
    launcher = subprocess.Popen(
        [python, HERE / "spaces" / "space.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, cwd=folder,
        env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder)})

    @contextmanager
    def start(*arguments):
        space = LocalSpace(launcher, folder, *arguments)
        try:
            yield space
        finally:
            space.stop()

    yield start
    with launcher:
        launcher.kill()


@pytest.fixture(scope="session")
def space(start_space):
    """The Space that most tests share."""
    with start_space() as space:
        yield space


@pytest.fixture
def provider(space):
    """The documented class, at the local Space."""

    class Local(Qwen_QVQ_72B):
        url = space.url

    return Local


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="session")
def picture_url():
    """A picture on a web server of its own."""
    with web_server(200, PNG, [("Content-Type", "image/png")]) as server:
        yield f"{server.url}/image.png"


def call_threads():
    return [thread for thread in threading.enumerate() if thread.name == "qvq_wrapper"]


def sockets_to(port):
    """This process's open sockets that are connected to ``port``."""
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    connected = {line[9] for line in lines if int(line[2].rpartition(":")[2], 16) == port}
    own = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile
            own.add(os.readlink(f"/proc/self/fd/{number}"))
    return {inode for inode in connected if f"socket:[{inode}]" in own}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files; neither a file nor a thread of a call outlives its test by a second."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    wait_until(lambda: not call_threads() and not any(folder.iterdir()), 1)


def close_idle_sockets_to(port):
    """Close the idle connections; return those to ``port`` that are still open."""
    shelf.close_idle()
    return sockets_to(port)


@pytest.fixture(autouse=True)
def no_socket_is_left(request):
    """No connection to the shared Space outlives its test by a second, once the idle ones are closed."""
    port = request.getfixturevalue("space").port if "space" in request.fixturenames else None
    before = sockets_to(port)
    yield
    if not request.node.get_closest_marker("keeps_a_socket"):
        wait_until(lambda: close_idle_sockets_to(port) <= before, 1)


async def failure(stream, bound=5):
    """The error that a reader of the whole answer gets, within ``bound`` seconds."""
    start = time.monotonic()
    with pytest.raises(ResponseError) as caught:
        await stream.read()
    assert time.monotonic() - start < bound
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert caught.value.text == stream.text and stream.status.stage == "failed"
    return caught.value
