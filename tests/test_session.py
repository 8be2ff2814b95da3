"""Our overrides of gradio_client's methods and attributes, called seams.

Each is in use. If a newer version no longer uses one, questions are still answered.
"""

import gc
import subprocess
import sys
import threading
import time

import anyio
import gradio_client
import pytest
from conftest import PNG, script, wait_until, wait_until_async
from inside import (
    SEAMS, UNDO, make_own, undo_seams, undo_wire, watch_outputs, watch_seams, watch_sessions,
)
from network import Relay
from packaging.version import Version

from qvq_wrapper import ResponseError

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


KEEPS = pytest.mark.keeps_a_socket("gradio_client's heartbeat")
WITHOUT = [
    "executors", "send_data", "new_helper", "all",
    pytest.param("_get_config", marks=KEEPS), pytest.param("_stream_heartbeat", marks=KEEPS),
    "_get_api_info", "_telemetry_thread", "analytics_enabled"]
SEVERAL = {"all": list(UNDO), "executors": [name for name in UNDO if name.endswith("executor")]}


@pytest.mark.parametrize("seam", WITHOUT)
async def test_a_seam_that_is_not_used(monkeypatch, provider, space, seam):
    """The answer arrives all the same, and a job is cancelled.

    Our own Space is never asked through the environment's proxy.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    make_own(monkeypatch, space.url)
    undo_seams(monkeypatch, *SEVERAL.get(seam, [seam]))
    prompt = f"without {time.time_ns()}"
    assert await provider.ask(prompt, PNG).read() == f"You asked: {prompt}"
    assert [entry["size"] for entry in space.log("asked", prompt=prompt)] == [len(PNG)]
    prompt = script(prompt, *["a", 0.1] * 300)  # longer than a cancel takes on a busy machine
    stream = provider.ask(prompt)
    async with anyio.create_task_group() as group:
        group.start_soon(stream.read)
        # A newer gradio_client's own threads may hang if this comes while the question is sent.
        await wait_until_async(lambda: stream.text or len(space.log("step", prompt=prompt)) > 3)
        group.cancel_scope.cancel()
    await space.wait_job_gone(prompt)


async def test_an_answer_may_take_longer_than_read_timeout_without_send_data(monkeypatch, provider):
    undo_seams(monkeypatch, "send_data")
    prompt = script(*["a", 0.3] * 8, "the answer")
    assert await provider.ask(prompt, read_timeout=2).read() == "the answer"


async def test_a_question_is_asked_once_without_the_wire(monkeypatch, provider, space):
    """Where httpcore does not use it, nobody knows what was sent."""
    undo_wire(monkeypatch)
    with Relay(space.port) as relay:
        for path, fault, retries in (
            ("/config", relay.close_at, 0), ("/queue/join", relay.lose_answer, 2),
        ):
            fault(path)
            with pytest.raises(ResponseError):
                await provider.ask("perhaps asked", url=relay.url, max_retries=retries).read()
            assert relay.count(path) == 1
        assert await provider.ask("plain", url=relay.url).read() == "You asked: plain"


async def test_each_seam_is_used(monkeypatch, provider):
    used = watch_seams(monkeypatch)
    before = set(threading.enumerate())
    async with provider.ask(script("a", 0.1, "ab"), PNG) as stream:
        await anext(stream)
        new = set(threading.enumerate()) - before
        names = {thread.name for thread in new if "Trio" not in thread.name}
    assert used == set(SEAMS)
    assert names == {"qvq_wrapper"}


@pytest.mark.skipif(
    Version(gradio_client.__version__) < Version("2.7.2"),
    reason="before gradio_client 2.7.2, its own objects hold each other")
async def test_a_session_is_freed_without_the_garbage_collector(monkeypatch, provider):
    made = watch_sessions(monkeypatch)
    gc.disable()
    try:
        await provider.ask("freed", PNG).read()
        wait_until(lambda: [ref() for ref in made] == [None])
    finally:
        gc.enable()


async def test_only_one_output_is_kept(monkeypatch, provider):
    kept = watch_outputs(monkeypatch)
    await provider.ask(script(*(str(number) for number in range(50)))).read()
    assert max(kept) == 1


def test_no_connection_but_to_the_space_and_nothing_is_said(space, tmp_path):
    """In a new process that imports huggingface_hub first and has an empty cache.

    An idle connection is left at its exit.
    """
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
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, space.url],
        capture_output=True, text=True, timeout=60,
        env={"PATH": "", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub"),
             "HF_TOKEN": "hf_saved"})
    assert result.stderr == ""
    hosts = f"[('127.0.0.1', {space.port})] ['127.0.0.1']"
    assert result.stdout.splitlines() == ["You asked: Hi", hosts]
    assert "hf_saved" not in space.log_file.read_text()


async def test_no_telemetry_is_sent_and_no_second_tls_context_is_made(monkeypatch, provider):
    await provider.ask("warm").read()
    found = []
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    for name in ("gradio_client.client.send_telemetry", "httpx.create_ssl_context"):
        monkeypatch.setattr(name, lambda *arguments, **options: found.append(arguments))
    await provider.ask("again").read()
    assert not found
