"""Gradio Spaces, each in a process of its own, and the checks that all tests share."""

import asyncio
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from hostile import HostileSpace
from inside import close_idle, forget_spaces, set_bounds
from network import Relay, web_server
from PIL import Image

from qvq_wrapper import Qwen_QVQ_72B, ResponseError, ask

HERE = Path(__file__).parent
_buffer = io.BytesIO()
Image.linear_gradient("L").save(_buffer, "PNG")
PNG = _buffer.getvalue()
BOUND = 60
"""Seconds that a test waits for an event before it fails. A machine can be ten times slower."""
# A shell starts a job in the background with Ctrl-C ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


FIXTURES = {"start_space": "space", "visit": "space", "g4f": "test_all"}
"""Tests that use these fixtures get these markers. Other tests have to set them themselves."""
NOT_FAST = {"space", "test_all", "matrix", "browser", "chaos", "attack", "batch", "model"}


def pytest_generate_tests(metafunc):
    """Run a test in the event loops that its marker ``backends`` names, or in both."""
    if "anyio_backend" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("backends")
        backends = marker.args if marker else ("asyncio", "trio")
        metafunc.parametrize("anyio_backend", backends, indirect=True)


@pytest.hookimpl(tryfirst=True)  # before pytest applies -m
def pytest_collection_modifyitems(items):
    """Set the markers ``space``, ``test_all`` and ``fast``."""
    for item in items:
        for name in FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(FIXTURES[name])
        if not NOT_FAST & {marker.name for marker in item.iter_markers()}:
            item.add_marker("fast")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Let a skipped test fail in CI."""
    return _without_a_skip(item, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Let a skipped file fail in CI."""
    return _without_a_skip(collector, (yield))


def _without_a_skip(node, report):
    if report.skipped and os.environ.get("QVQ_CI") and not node.get_closest_marker("may_skip"):
        report.outcome = "failed"
        report.longrepr = f"CI may not skip this. {report.longrepr[2]}"
    return report


crashed = []
"""The processes of pytest-xdist that crashed. It goes on with new ones."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    if error:
        crashed.append(node)


def pytest_sessionfinish(session):
    """Let a crash be no mere failed test: .ci/run repeats those."""
    if crashed:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def script(*steps):
    """Return a prompt that the test Space carries out step by step (see spaces/space.py)."""
    return "script:" + json.dumps(steps)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, bound=BOUND):
    """Return the first true value of ``condition()``. Fail after ``bound`` seconds."""
    end = time.monotonic() + bound
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {bound} s: {condition}"
        time.sleep(0.01)
    return value


async def wait_until_async(condition, bound=BOUND):
    """The same, without blocking the event loop."""
    return await anyio.to_thread.run_sync(wait_until, condition, bound)


class LocalSpace:
    """A Gradio Space in a process of its own."""

    def __init__(self, launcher, folder, *arguments):
        self.log_file = Path(folder) / f"{time.time_ns()}.log"
        self.log_file.touch()
        self._entries, self._read_to, self._reading = [], 0, threading.Lock()
        for _ in range(3):  # another process may take the free port first
            port = ["--port", str(free_port())]
            command = ["--log", str(self.log_file), *port, *map(str, arguments)]
            print(json.dumps(command), file=launcher.stdin, flush=True)
            started = launcher.stdout.readline().split()
            if len(started) == 3:
                break
        assert len(started) == 3, "the test Space did not start"
        self.pid, self.url = int(started[0]), started[1].rstrip("/")
        self.version = tuple(map(int, started[2].split(".")[:2]))

    def require_gradio(self, *version):
        """Skip the test if the Space's gradio is older than this version."""
        if self.version < version:
            needed, found = (".".join(map(str, each)) for each in (version, self.version))
            pytest.skip(f"needs gradio {needed}, and the Space has {found}")

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def log(self, event=None, **fields):
        """Return the entries of the Space's log that have this event and these fields."""
        with self._reading, self.log_file.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if line.endswith(b"\n"):  # not half written
                    self._entries.append(json.loads(line))
                    self._read_to += len(line)
        return [entry for entry in self._entries
                if event in (None, entry["event"]) and fields.items() <= entry.items()]

    def seen(self, prompt):
        """Return what the Space logged of the latest question with this prompt."""
        return self.log("asked", prompt=prompt)[-1]

    async def wait_log(self, event, **fields):
        """Wait until the log has such entries, and return them."""
        return await wait_until_async(lambda: self.log(event, **fields))

    async def wait_job_gone(self, prompt, may_be_queued=False):
        """Wait until the Space has stopped the job of this prompt.

        Fail if it finished, or if it never began, unless it may have been cancelled in the queue.
        A stopped job logs "left" if gradio closes its generator. gradio before 5.50 never does, and
        no version closes a generator that has yielded nothing yet. So a job also counts as stopped
        if it makes no step while another job makes twenty.
        """
        if not may_be_queued:
            await self.wait_log("asked", prompt=prompt)
        with suppress(AssertionError):
            await wait_until_async(lambda: self.log("left", prompt=prompt), 0.5)
        while not self.log("left", prompt=prompt):
            steps = len(self.log("step", prompt=prompt))
            await ask(script(*["", 0.05] * 20), url=self.url).read()
            if len(self.log("step", prompt=prompt)) == steps:
                break
        assert not self.log("finished", prompt=prompt)

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self):
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists())


@pytest.fixture(scope="session")
def start_space(tmp_path_factory):
    """Start a Space with these arguments (see spaces/space.py) while a ``with`` block is active.

    One process imports gradio. It forks for each Space, so that a Space starts in little time.
    """
    folder = tmp_path_factory.mktemp("spaces")
    python = os.environ.get("QVQ_SPACE_PYTHON", sys.executable)
    environment = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder)}
    launcher = subprocess.Popen(
        [python, HERE / "spaces" / "space.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, cwd=folder, env=os.environ | environment)

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


@pytest.fixture(scope="session")
def secure_space(start_space, certificate):
    """A Space with a self-signed certificate."""
    with start_space("--certificate", *certificate) as space:
        yield space


@pytest.fixture(scope="session")
def login_space(start_space):
    """A Space behind the login of ``user`` with ``word``, which hides its app's errors."""
    with start_space("--login", "user", "word", "--hide-errors") as space:
        yield space


@pytest.fixture(scope="session")
def narrow_space(start_space):
    """A Space that answers one question at a time. One more can wait in its queue."""
    with start_space("--at-once", 1, "--queue", 1) as space:
        yield space


@pytest.fixture(scope="session")
def shapes_space(start_space):
    """A Space with endpoints of every shape (see spaces/shapes.py)."""
    with start_space("--shapes") as space:
        yield space


@pytest.fixture
def relay(space, monkeypatch):
    """A relay to the shared Space. Its address is new, so nothing is known of the Space yet.

    Tests count its connections. On a busy machine, the Space may need more than 1 s to end an
    answer's stream, and the next call may come later than 4 s.
    """
    set_bounds(monkeypatch, drain_timeout=BOUND, keep=BOUND)
    with Relay(space.port) as relay:
        yield relay


@pytest.fixture(scope="session")
def template(space):
    """The config and the info of a real Space, with no more than one endpoint in them."""
    config = httpx.get(f"{space.url}/config", timeout=BOUND).json()
    prefix = config.get("api_prefix") or ""
    info = httpx.get(f"{space.url}{prefix}/info?serialize=False", timeout=BOUND).json()
    config["dependencies"] = [
        each for each in config["dependencies"] if each.get("api_name") == "generate"]
    used = {number for each in config["dependencies"]
            for number in (*each["inputs"], *each["outputs"])}
    config["components"] = [each for each in config["components"] if each["id"] in used]
    info["named_endpoints"] = {"/generate": info["named_endpoints"]["/generate"]}
    info["unnamed_endpoints"] = {}
    return config, info


@pytest.fixture
def hostile(template):
    with HostileSpace(*template) as hostile:
        yield hostile


@pytest.fixture
def answers(tmp_path):
    """The file for a data set's answers."""
    return tmp_path / "answers.jsonl"


@pytest.fixture(scope="module")
def server():
    """A model's server (see spaces/upstream.py)."""
    from upstream import Upstream

    with Upstream() as server:
        yield server


@pytest.fixture
def provider(space):
    """The documented class, with the shared Space's address."""

    class Local(Qwen_QVQ_72B):
        url = space.url

    return Local


def _eager_loop():
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # of Python 3.12
    return loop


@pytest.fixture
def anyio_backend(request):
    """asyncio and trio. ``QVQ_TEST_LOOP`` may be ``uvloop`` or ``eager``, for asyncio."""
    loop = os.environ.get("QVQ_TEST_LOOP")
    if request.param == "asyncio" and loop:
        options = {"use_uvloop": True} if loop == "uvloop" else {"loop_factory": _eager_loop}
        return "asyncio", options
    return request.param


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """The files of a self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="session")
def picture_url():
    """The address of a picture on a web server."""
    with web_server(200, PNG, [("Content-Type", "image/png")]) as server:
        yield f"{server.url}/image.png"


def call_threads():
    """Return the threads of calls that are still running."""
    return [each for each in threading.enumerate() if each.name.startswith("qvq_wrapper")]


async def calls_ended():
    """Wait until the threads of all calls have ended. Their connections are then idle."""
    await wait_until_async(lambda: not call_threads())


def sockets_to(port):
    """Return the inodes of this process's sockets that are connected to ``port``."""
    found = set()
    for number in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # closed since listdir, or not connected
            status = os.fstat(number)
            if stat.S_ISSOCK(status.st_mode):
                with socket.socket(fileno=os.dup(number)) as connection:
                    if connection.getpeername()[1:2] == (port,):
                        found.add(status.st_ino)
    return found


def close_idle_sockets_to(port):
    """Close all idle connections. Return the sockets to ``port`` that are still open."""
    close_idle()
    return sockets_to(port)


@pytest.fixture(autouse=True)
def temp_folder(tmp_path, monkeypatch):
    """The folder of temporary files during a test.

    After the test, the threads of calls have to end, and the folder has to be empty.
    """
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    wait_until(lambda: not call_threads() and not any(folder.iterdir()))


@pytest.fixture(autouse=True)
def no_socket_left(request):
    """Forget all Spaces after each test. No connection to the shared one may stay open after that.

    A test with the marker ``keeps_a_socket`` is not checked.
    """
    port = None
    if "space" in request.fixturenames:
        port = request.getfixturevalue("space").port
        before = sockets_to(port)
    yield
    forget_spaces()
    if port and not request.node.get_closest_marker("keeps_a_socket"):
        wait_until(lambda: close_idle_sockets_to(port) <= before)


async def failure(stream):
    """Read the answer, which has to fail. Return the error."""
    with anyio.fail_after(BOUND), pytest.raises(ResponseError) as caught:
        await stream.read()
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert caught.value.text == stream.text and stream.status.stage == "failed"
    return caught.value
