"""A Space's info is fetched once, shared between calls, and checked when it may be outdated."""

import json
import signal

import anyio
import pytest
from conftest import call_threads, failure, free_port, script, wait_until_async
from inside import doubt, info_of, known_tokens, set_bounds
from network import Relay, web_server

from qvq_wrapper import ResponseError, SpaceUnavailableError, ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


async def test_many_calls_at_once_fetch_the_info_once(relay):
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask(f"at once {number}", url=relay.url).read)
    assert relay.count("/config") == relay.count("/info") == 1


async def test_each_waiting_call_gets_its_own_error():
    errors = []

    async def fail(url):
        with pytest.raises(ResponseError) as caught:
            await ask("Hi", url=url, max_retries=0).read()
        errors.append(caught.value)

    with web_server(404) as server:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(fail, server.url)
    assert len(set(errors)) == 5


async def test_the_read_timeout_of_one_call_does_not_end_another(space):
    with Relay(space.port) as relay:
        relay.stalled.set()
        async with anyio.create_task_group() as group:
            impatient = ask("impatient", url=relay.url, read_timeout=0.5, max_retries=0)
            group.start_soon(failure, impatient)
            await anyio.sleep(0.1)
            patient = ask("patient", url=relay.url, read_timeout=30, max_retries=0)
            group.start_soon(patient.read)
            await anyio.sleep(1)
            relay.stalled.clear()
    assert patient.text == "You asked: patient"


async def test_calls_with_different_tokens_share_no_info(relay):
    for token in ("hf_one", "hf_two", "hf_one"):
        await ask("Hi", url=relay.url, api_key=token).read()
    assert relay.count("/config") == 2


async def test_old_info_is_checked_and_kept_if_still_true(relay, monkeypatch):
    await ask("Hi", url=relay.url).read()
    set_bounds(monkeypatch, info_max_age=0)
    assert await ask("Hi", url=relay.url).read() == "You asked: Hi"
    assert relay.count("/config") == relay.count("/app_id") == 1


async def test_the_number_of_spaces_is_bounded(provider, monkeypatch):
    set_bounds(monkeypatch, max_spaces=2)
    for number in range(4):
        await provider.ask("Hi", headers={"x": str(number)}).read()
    assert len(known_tokens()) == 2


@pytest.mark.parametrize("first, now", [
    pytest.param([], ["--first"], id="the old number answers"),
    pytest.param(["--first"], [], id="the old number fails"),
    pytest.param([], [], id="the same number"),
])
async def test_a_restarted_space_never_answers_with_another_function(
        start_space, monkeypatch, first, now):
    with start_space(*first) as before:
        assert await ask("before", url=before.url).read() == "You asked: before"
        port = before.port
    set_bounds(monkeypatch, info_max_age=0)
    with start_space("--port", port, *now) as space:  # --first adds 1 to each function's number
        assert await ask("after", url=space.url).read() == "You asked: after"
        assert len(space.log("finished", prompt="after")) == 1


@pytest.mark.parametrize("before", ["answered", "cancelled", "failed"])
async def test_a_space_that_is_launched_again_at_once(start_space, before):
    """A notebook does so, in the same process. The info is recent, but the numbers have changed."""
    with start_space("--port", free_port()) as space:
        for number in range(4):
            if before == "cancelled":
                async with ask(script("a", *[0.05, "b"] * 10), url=space.url) as stream:
                    await anext(stream)
            elif before == "failed":
                await failure(ask(script("a", {"raise": "no"}), url=space.url))
            else:
                await ask("before", url=space.url).read()
            space.signal(signal.SIGUSR1)
            await wait_until_async(lambda: len(space.log("launched again")) == number + 1)
            answer = await ask(f"after {number}", url=space.url).read()
            assert answer == f"You asked: after {number}"


@pytest.mark.parametrize("pause, checks", [(0, 0), (2, 1)])
async def test_an_answer_confirms_the_info(space, monkeypatch, pause, checks):
    """After a long answer, the next question needs no check. After a pause, it needs one."""
    set_bounds(monkeypatch, info_max_age=1.5)
    with Relay(space.port) as relay:
        await ask(script("a", 1.8, "ab"), url=relay.url).read()
        await anyio.sleep(pause)
        await ask("next", url=relay.url).read()
        assert relay.count("/app_id") == checks and relay.count("/config") == 1
        paths = [line.split()[1].split("?")[0] for line in relay.requests]
        paths = [path.removeprefix("/gradio_api") for path in paths if "/heartbeat/" not in path]
        assert paths[-2:] == ["/queue/join", "/queue/data"]


async def test_info_is_checked_before_it_refuses_a_question(space):
    with Relay(space.port) as relay:
        await ask("warm", url=relay.url).read()
        del info_of(relay.url).api["named_endpoints"]["/generate"]
        assert await ask("there now", url=relay.url).read() == "You asked: there now"
        assert relay.count("/config") == 2


async def test_waiting_calls_share_a_check(space, monkeypatch):
    with Relay(space.port) as relay:
        await ask("warm", url=relay.url).read()
        doubt(relay.url)
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(ask(f"shared {number}", url=relay.url).read)
        assert 1 <= relay.count("/app_id") <= 3 and relay.count("/config") == 1


@pytest.mark.parametrize("fault", [
    "sse", "sse_v1", "sse_v2", "sse_v2.1", "ws", "4.43.0", "3.50", "none", ""])
async def test_an_old_protocol_or_version_is_refused(fault):
    is_protocol = fault.startswith(("sse", "ws"))
    version, protocol = ("4.44.1", fault) if is_protocol else (fault, "sse_v3")
    config = {"components": [], "dependencies": [], "protocol": protocol, "version": version}
    with web_server(200, json.dumps(config)) as server:
        error = await failure(ask("Hi", url=server.url, max_retries=0))
    assert type(error) is SpaceUnavailableError and "4.44 or newer" in str(error)


@pytest.mark.backends("asyncio", "trio")
async def test_another_call_fetches_the_info_if_one_is_cancelled(space):
    async def leave():
        with anyio.move_on_after(0.3):
            await ask("left", url=relay.url).read()

    with Relay(space.port) as relay:
        relay.stalled.set()
        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            await wait_until_async(lambda: relay.connections)
            stays = ask("stays", url=relay.url, max_retries=0)
            group.start_soon(stays.read)
            await anyio.sleep(0.6)
            relay.stalled.clear()
    assert stays.text == "You asked: stays"


async def test_a_space_and_its_token_are_forgotten_after_a_while(space, monkeypatch):
    await ask("Hi", url=space.url, api_key="hf_forgotten").read()
    set_bounds(monkeypatch, forget_after=0)
    await ask("Hi", url=space.url).read()
    assert known_tokens() == [None]


async def test_what_is_remembered_of_spaces_is_bounded_by_its_size(space, monkeypatch):
    set_bounds(monkeypatch, max_info_bytes=1)
    for number in range(3):
        await ask("Hi", url=space.url, headers={"x": str(number)}).read()
    assert len(known_tokens()) <= 2


@pytest.mark.backends("asyncio", "trio")
async def test_a_call_that_waits_for_anothers_info_can_be_cancelled(space):
    async def leave():
        with anyio.move_on_after(0.3):
            await ask("waits", url=relay.url).read()

    with Relay(space.port) as relay:
        relay.stalled.set()
        async with anyio.create_task_group() as group:
            first = ask("fetches", url=relay.url)
            group.start_soon(first.read)
            await wait_until_async(lambda: relay.connections)
            await leave()
            await wait_until_async(lambda: len(call_threads()) == 1)  # the one that fetches
            relay.stalled.clear()
    assert first.text == "You asked: fetches"
