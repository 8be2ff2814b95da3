"""A Space's info is fetched once, shared between calls, and checked when it may be outdated."""

import signal

import anyio
import pytest
from conftest import (
    BOUND, call_threads, calls_ended, failure, free_port, script, wait_until_async,
)
from inside import Clock, close_idle, known_tokens, set_bounds, waits_for_info
from network import web_server

from qvq_wrapper import ResponseError, ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


async def test_many_calls_at_once_share_a_fetch_and_a_check(relay, monkeypatch):
    clock = Clock(monkeypatch)
    for checks in (0, 1):
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(ask(f"at once {number}", url=relay.url).read)
        await all_put_away()
        assert relay.count("/config") == relay.count("/info") == 1
        assert relay.count("/app_id") == checks
        clock.pass_time(5)


async def all_put_away():
    """Wait until no call has a connection, and none is kept.

    The loss of one that is used or kept makes the info doubtful, and the next call checks it. A
    busy machine may take longer than the 5 s for which the Space keeps an idle connection.
    """
    await calls_ended()
    close_idle()


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


@pytest.mark.parametrize("how", ["read_timeout", "cancel"])
async def test_the_info_is_fetched_for_another_call_if_the_first_gives_up(relay, how):
    relay.stall_at("/config")
    async with anyio.create_task_group() as group:
        limit = 1 if how == "read_timeout" else BOUND
        first = ask("first", url=relay.url, max_retries=0, read_timeout=limit)
        group.start_soon(failure if how == "read_timeout" else read_quietly, first)
        await wait_until_async(relay.stalled.is_set)
        second = ask("second", url=relay.url, read_timeout=BOUND, max_retries=0)
        group.start_soon(second.read)
        await wait_until_async(waits_for_info)
        if how == "cancel":
            first.cancel()
        await wait_until_async(lambda: first.status.stage in ("failed", "cancelled"))
        relay.resume()
    assert second.text == "You asked: second"


async def test_a_call_that_waits_for_anothers_info_can_be_cancelled(relay):
    relay.stall_at("/config")
    async with anyio.create_task_group() as group:
        first, second = ask("fetches", url=relay.url), ask("waits", url=relay.url)
        group.start_soon(first.read)
        await wait_until_async(relay.stalled.is_set)
        group.start_soon(read_quietly, second)
        await wait_until_async(waits_for_info)
        second.cancel()
        await wait_until_async(lambda: len(call_threads()) == 1)  # the one that fetches
        relay.resume()
    assert first.text == "You asked: fetches" and relay.count("/config") == 1


async def read_quietly(stream):
    async for _ in stream:
        pass


async def test_old_info_is_checked_and_an_answer_confirms_it(relay, monkeypatch):
    clock = Clock(monkeypatch)
    async with ask(script("a", 0.1, "ab"), url=relay.url) as stream:
        await anext(stream)
        clock.pass_time(5)  # it is a long answer
        await stream.read()
    for seconds, checks in ((3, 0), (5, 1)):
        await all_put_away()
        clock.pass_time(seconds)
        assert await ask("next", url=relay.url).read() == "You asked: next"
        assert relay.count("/app_id") == checks
    assert relay.count("/config") == relay.count("/info") == 1


async def test_what_is_remembered_of_spaces_is_bounded(provider, monkeypatch):
    """By their number, by their size, and by the time since they were used."""
    clock = Clock(monkeypatch)

    async def ask_with(*headers):
        for number in headers:
            await provider.ask("Hi", api_key=f"hf_{number}").read()
        return known_tokens()[-3:]

    set_bounds(monkeypatch, max_spaces=2)
    assert await ask_with(1, 2, 3) == ["hf_2", "hf_3"]
    clock.pass_time(601)
    assert await ask_with(4) == ["hf_4"]
    set_bounds(monkeypatch, max_info_bytes=1)
    assert len(await ask_with(5, 6, 7)) <= 2


async def test_a_restarted_space_never_answers_with_another_function(start_space, monkeypatch):
    with start_space() as before:
        assert await ask("before", url=before.url).read() == "You asked: before"
        port = before.port
    set_bounds(monkeypatch, info_max_age=0)
    with start_space("--port", port, "--first") as space:  # it adds 1 to each function's number
        assert await ask("after", url=space.url).read() == "You asked: after"
        assert len(space.log("finished", prompt="after")) == 1


async def test_a_space_that_is_launched_again_at_once(start_space, monkeypatch):
    """A notebook does so, in the same process. The info is recent, but the numbers have changed.

    That the kept connection is lost tells of it.
    """
    set_bounds(monkeypatch, info_max_age=1e9, keep=BOUND)  # a busy machine launches in many seconds
    with start_space("--port", free_port()) as space:
        for number, before in enumerate(["answered", "cancelled"]):
            async with ask(script("a", 0.1, "ab"), url=space.url) as stream:
                await (stream.read() if before == "answered" else anext(stream))
            space.signal(signal.SIGUSR1)
            await wait_until_async(lambda: len(space.log("launched again")) == number + 1)
            answer = await ask(f"after {before}", url=space.url).read()
            assert answer == f"You asked: after {before}"
