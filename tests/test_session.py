"""Our overrides of gradio_client's methods and attributes, called seams.

Each is in use. If a newer version no longer uses one, questions are still answered.
"""

import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import gradio_client
import pytest
from conftest import PNG, script, wait_until
from gradio_client import Client
from gradio_client.client import Endpoint

from qvq_wrapper import Qwen_QVQ_72B
from qvq_wrapper.bridge import executors, messages, session

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


def undo_executor(session):
    session.executor = ThreadPoolExecutor(1)


def undo_helper_executor(session):
    session.helper_executor = ThreadPoolExecutor(2)


def undo_stream_executor(session):
    session.stream_executor = ThreadPoolExecutor(1)


def undo_send_data(session):
    session.send_data = partial(Client.send_data, session)


def undo_new_helper(session):
    session.new_helper = partial(Client.new_helper, session)


class NewerEndpoint(Endpoint):
    """Uploads files by its own method, whatever was set."""

    _upload_file = property(lambda self: partial(Endpoint._upload_file, self), lambda *_: None)


def undo_upload(session):
    for endpoint in session.endpoints.values():
        endpoint.__class__ = NewerEndpoint


def undo_all(session):
    for undo in UNDO[:-1]:
        undo(session)


UNDO = [
    undo_executor, undo_helper_executor, undo_stream_executor, undo_send_data, undo_new_helper,
    undo_upload, undo_all]
"""Functions that undo a seam of a session that was made."""
KEEPS = pytest.mark.keeps_a_socket("gradio_client's heartbeat")
OVERRIDES = [
    pytest.param("_get_config", marks=KEEPS),
    pytest.param("_stream_heartbeat", marks=KEEPS),  # up to gradio_client 2.7.1
    "_get_api_info", "_telemetry_thread", "analytics_enabled",
]
"""Methods that gradio_client calls while a session is made."""


@pytest.fixture(params=[*UNDO, *OVERRIDES], ids=lambda seam: getattr(seam, "__name__", seam))
def without_a_seam(request, monkeypatch):
    """Act like a newer gradio_client that no longer uses one of the seams."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if isinstance(request.param, str):
        monkeypatch.delattr(session.Session, request.param)
        return

    class Undone(session.Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            request.param(self)

    monkeypatch.setattr(session, "Session", Undone)


async def test_the_answer_arrives_without_a_seam(without_a_seam, monkeypatch, provider, space):
    """Of a Space of ours: a session must not use the environment's proxy by itself."""
    monkeypatch.setattr("qvq_wrapper.question.options.own_spaces", {f"{space.url}/"})
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    prompt = f"without {time.time_ns()}"
    assert await provider.ask(prompt, PNG, timeout=10).read() == f"You asked: {prompt}"
    seen = space.log("asked", prompt=prompt)
    assert [entry["size"] for entry in seen] == [len(PNG)]


async def test_a_job_is_cancelled_without_a_seam(without_a_seam, provider, space):
    prompt = script(f"without {time.time_ns()}", *["a", 0.1] * 100)
    async with anyio.create_task_group() as group:
        group.start_soon(provider.ask(prompt).read)
        await space.wait_log("step", prompt=prompt)
        group.cancel_scope.cancel()
    await space.wait_job_gone(prompt)


async def test_an_answer_may_take_longer_than_read_timeout_without_send_data(monkeypatch, provider):
    monkeypatch.delattr(session.Session, "send_data")
    prompt = script(*["a", 0.3] * 5, "the answer")
    assert await provider.ask(prompt, read_timeout=1).read() == "the answer"


async def test_each_seam_is_used(monkeypatch, provider):
    used = set()

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            used.add((owner, name))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    seams = [
        (session.Session, "_get_config"),
        (session.Session, "_get_api_info"),
        (session.Session, "new_helper"),
        (session.Session, "send_data"),
        (session, "publish"),
        (session, "_upload"),
        (executors.JobExecutor, "submit"),
        (messages.MessageQueue, "__len__"),
    ]
    for seam in seams:
        watch(*seam)
    before = set(threading.enumerate())
    async with provider.ask(script("a", 0.1, "ab"), PNG) as stream:
        await anext(stream)
        new = set(threading.enumerate()) - before
        names = {thread.name for thread in new if "Trio" not in thread.name}
    assert used == set(seams)
    assert names - {"qvq_wrapper idle"} == {"qvq_wrapper"}


@pytest.mark.skipif(
    gradio_client.__version__ < "2.7.2", reason="up to 2.7.1 a Client refers to itself")
async def test_a_session_is_freed_without_the_garbage_collector(monkeypatch, provider):
    made = []

    class Watched(session.Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(session, "Session", Watched)
    gc.disable()
    try:
        await provider.ask("freed", PNG).read()
        wait_until(lambda: [ref() for ref in made] == [None], 2)
    finally:
        gc.enable()


async def test_only_one_output_is_kept(monkeypatch, provider):
    kept, helpers = [], []
    new_helper, publish = session.Session.new_helper, session.publish

    def watched_new_helper(*arguments, **options):
        helpers.append(new_helper(*arguments, **options))
        return helpers[-1]

    def watched_publish(*arguments):
        kept.append(len(helpers[-1].job.outputs))
        publish(*arguments)

    monkeypatch.setattr(session.Session, "new_helper", watched_new_helper)
    monkeypatch.setattr(session, "publish", watched_publish)
    await provider.ask(script(*(str(number) for number in range(50)))).read()
    assert max(kept) == 1


class Picture(Qwen_QVQ_72B):
    api_endpoint = "/call/picture"


async def test_a_space_cannot_make_us_write_a_file(space, temp_folder):
    with pytest.raises(Exception, match="gives no text, but: image"):
        await Picture.ask("give a file", PNG, url=space.url).read()


def test_no_connection_but_to_the_space(space, tmp_path):
    """In a new process that imports huggingface_hub first and has an empty cache."""
    code = """
import sys
hosts = []
def audit(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        hosts.append(args)
sys.addaudithook(audit)
import huggingface_hub
from qvq_wrapper import ask
print("".join(ask("Hi", url=sys.argv[1]).iterate()))
connected = {args[1] for args in hosts if hasattr(args[0], "fileno")}
asked = {args[0] for args in hosts if isinstance(args[0], str)}
print(sorted(connected), sorted(asked))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, space.url], capture_output=True, text=True, timeout=30,
        env={"PATH": "", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub"),
             "HF_TOKEN": "hf_saved"})
    assert result.stderr == ""
    hosts = f"[('127.0.0.1', {space.port})] ['127.0.0.1']"
    assert result.stdout.splitlines() == ["You asked: Hi", hosts]
    assert "hf_saved" not in space.log_file.read_text()


async def test_no_telemetry_is_sent(monkeypatch, provider):
    sent = []
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    monkeypatch.setattr(
        "gradio_client.client.send_telemetry", lambda *arguments, **options: sent.append(options))
    await provider.ask("Hi").read()
    assert not sent


async def test_a_second_call_makes_no_tls_context(monkeypatch, provider):
    import httpx

    await provider.ask("warm").read()
    made = []
    monkeypatch.setattr(httpx, "create_ssl_context", lambda *a, **o: made.append(a))
    await provider.ask("again").read()
    assert not made
