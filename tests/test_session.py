"""The seams onto gradio_client: each is used today, and does without where a newer version has moved on."""

import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import anyio
import gradio_client
import pytest
from conftest import script

from qvq_wrapper import Qwen_QVQ_72B, session, threads

pytestmark = pytest.mark.anyio


def undo_executor(session):
    session.executor = ThreadPoolExecutor(1)


def undo_helpers(session):
    session.helper_executor = ThreadPoolExecutor(2)


def undo_reader(session):
    session.stream_executor = ThreadPoolExecutor(1)


def undo_queue(session):
    session.pending_messages_per_event = {}


def undo_updates(session):
    session.new_helper = lambda *arguments, **options: gradio_client.Client.new_helper(
        session, *arguments, **options)


def undo_all(session):
    for undo in (undo_executor, undo_helpers, undo_reader, undo_queue, undo_updates):
        undo(session)


UNDO = [undo_executor, undo_helpers, undo_reader, undo_queue, undo_updates, undo_all]


@pytest.fixture(params=UNDO, ids=lambda undo: undo.__name__)
def without_a_seam(request, monkeypatch):
    class Undone(session.Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            request.param(self)

    monkeypatch.setattr(session, "Session", Undone)


async def test_the_answer_arrives_without_a_seam(without_a_seam, provider):
    assert await provider.ask("without it", timeout=10).read() == "You asked: without it"


async def test_a_cancel_ends_without_a_seam(without_a_seam, provider):
    with anyio.move_on_after(0.7) as scope:
        await provider.ask(script(*["a", 0.1] * 20)).read()
    assert scope.cancelled_caught


@pytest.mark.parametrize("no_socket_is_left", ["but the heartbeat's"])
@pytest.mark.parametrize("name", ["_get_config", "_get_api_info", "_telemetry_thread"])
async def test_the_answer_arrives_without_an_override(monkeypatch, provider, name, no_socket_is_left):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(session.Session, name, getattr(gradio_client.Client, name))
    assert await provider.ask("without it", timeout=10).read() == "You asked: without it"


async def test_each_seam_is_used(monkeypatch, provider):
    used = set()

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            used.add((owner.__name__, name))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    seams = [
        (session.Session, "_get_config"), (session.Session, "_get_api_info"), (session.Session, "new_helper"),
        (session.Session, "_publish"), (session.Session, "_messages"), (threads.Here, "submit"),
        (session._Helpers, "submit"), (threads.Readers, "submit"), (threads.Pending, "setdefault"),
        (threads.Events, "__len__"),
    ]
    for seam in seams:
        watch(*seam)
    before = set(threading.enumerate())
    async with provider.ask(script("a", 0.1, "ab")) as stream:
        await anext(stream)
        names = [thread.name for thread in set(threading.enumerate()) - before if "Trio" not in thread.name]
    assert used == {(owner.__name__, name) for owner, name in seams}
    assert names == ["qvq_wrapper"]


@pytest.mark.skipif(gradio_client.__version__ < "2.7.2", reason="up to 2.7.1 a Client is a cycle of its own")
async def test_a_session_is_freed_without_the_collector(monkeypatch, provider):
    made = []

    class Watched(session.Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(session, "Session", Watched)
    gc.disable()
    try:
        await provider.ask("freed").read()
        assert [ref() for ref in made] == [None]
    finally:
        gc.enable()


async def test_only_one_output_is_kept(monkeypatch, provider):
    kept = []
    publish = session.Session._publish

    def watched(self, update):
        if self._job:
            kept.append(len(self._job.job.outputs))
        publish(self, update)

    monkeypatch.setattr(session.Session, "_publish", watched)
    await provider.ask(script(*(str(number) for number in range(50)))).read()
    assert max(kept) == 1


class Picture(Qwen_QVQ_72B):
    api_endpoint = "/call/picture"


async def test_a_space_cannot_make_us_write_a_file(space, temporary):
    from conftest import PNG

    with pytest.raises(Exception, match="no text but dict"):
        await Picture.ask("give a file", PNG, url=space.url).read()


def test_no_connection_but_to_the_space(space, tmp_path):
    """In a fresh process, with huggingface_hub imported first and an empty cache."""
    code = """
import sys
hosts = []
sys.addaudithook(lambda event, args: event in ("socket.connect", "socket.getaddrinfo") and hosts.append(args))
import huggingface_hub
from qvq_wrapper import ask
print("".join(ask("Hi", url=sys.argv[1]).iterate()))
connected = {args[1] for args in hosts if hasattr(args[0], "fileno")}
asked = {args[0] for args in hosts if isinstance(args[0], str)}
print(sorted(connected), sorted(asked))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, space.url], capture_output=True, text=True, timeout=30,
        env={"PATH": "", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub"), "HF_TOKEN": "hf_saved"})
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["You asked: Hi", f"[('127.0.0.1', {space.port})] ['127.0.0.1']"]
    assert "hf_saved" not in space.log_file.read_text()


async def test_no_telemetry_is_sent(monkeypatch, provider):
    sent = []
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    monkeypatch.setattr("gradio_client.client.send_telemetry", lambda *arguments, **options: sent.append(options))
    await provider.ask("Hi").read()
    assert not sent


async def test_one_tls_context(monkeypatch, provider):
    import httpx

    await provider.ask("warm").read()
    made = []
    monkeypatch.setattr(httpx, "create_ssl_context", lambda *a, **o: made.append(a))
    await provider.ask("again").read()
    assert not made
