"""Which requests are sent again, and which never are."""

import time

import anyio
import pytest
from conftest import PNG, calls_ended, failure, script, wait_until_async
from inside import forget_info, listen, set_bounds
from network import HttpProxy, Relay, web_server

from qvq_wrapper import RateLimitError, SpaceUnavailableError, ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


@pytest.mark.parametrize("path", [
    "/config", "/info", "/app_id", "/upload", "/queue/join", "/queue/data"])
async def test_no_question_is_asked_twice_or_left_running(space, monkeypatch, path):
    asks = path in ("/queue/join", "/queue/data")
    if asks:
        space.require_gradio(6, 0)  # before 6.0, a waiting job cannot be cancelled
    with Relay(space.port, keep_alive=False) as relay:
        if path == "/app_id":
            await ask("warm", url=relay.url).read()
            set_bounds(monkeypatch, info_max_age=0)
        for fault in ("close", "lose", 429, 502, 503):
            again = not asks or path == "/queue/join" and fault == 429
            prompt = script(f"{path} {fault}", *["...", 0.1] * (1 if again else 10), "the answer")
            before = relay.faults
            if fault == "close":
                relay.close_at(path)
            elif fault == "lose":
                relay.lose_answer(path)
            else:
                relay.answer(path, fault)
            if path in ("/config", "/info"):
                forget_info()
            stream = ask(prompt, PNG, url=relay.url)
            if again:
                assert await stream.read() == "the answer"
                assert len(space.log("finished", prompt=prompt)) == 1
            else:
                await failure(stream)
                await space.wait_job_gone(prompt, may_be_queued=True)
            assert relay.faults == before + 1
            assert len(space.log("asked", prompt=prompt)) <= 1


async def test_a_proxy_refuses_the_connection_for_the_question(start_space, certificate):
    with start_space("--certificate", *certificate) as space, HttpProxy() as proxy:
        access = {"url": space.url, "verify": False, "proxy": proxy.url}
        assert await ask("warm", **access).read()
        proxy.refused = 1
        assert await ask("asked", **access).read() == "You asked: asked"
        assert len(space.log("asked", prompt="asked")) == 1


async def test_503_is_tried_again_at_most_max_retries_times():
    with web_server(503) as server:
        error = await failure(ask("Hi", url=server.url, max_retries=2))
    assert type(error) is SpaceUnavailableError and len(server.requests) == 3


async def test_retry_after_is_respected_but_not_past_the_timeout():
    with web_server(429, headers=[("Retry-After", "1")]) as server:
        start = time.monotonic()
        await failure(ask("Hi", url=server.url, max_retries=1))
        assert len(server.requests) == 2 and time.monotonic() - start >= 1
    with web_server(429, headers=[("Retry-After", "59")]) as server:
        error = await failure(ask("Hi", url=server.url, max_retries=1, timeout=58))
        assert type(error) is RateLimitError and len(server.requests) == 1


async def test_a_cancel_ends_the_wait_for_the_next_attempt():
    with web_server(429, headers=[("Retry-After", "59")]) as server:
        async with ask("Hi", url=server.url) as stream:
            async with anyio.create_task_group() as group:
                group.start_soon(read_quietly, stream)
                await wait_until_async(lambda: server.requests)
                stream.cancel()
        await calls_ended()
        assert len(server.requests) == 1


async def read_quietly(stream):
    async for _ in stream:
        pass


async def test_an_apps_own_error_is_not_tried_again(provider, space):
    for words in ("no", "You have exceeded your GPU quota"):
        prompt = script("tried", {"raise": words})
        await failure(provider.ask(prompt))
        assert len(space.log("asked", prompt=prompt)) == 1


async def test_a_full_queue_is_tried_again_until_a_place_is_free(start_space):
    with start_space("--at-once", 1, "--queue", 1) as space:
        prompts = [script(*["", 0.1] * 3, str(number)) for number in range(4)]
        async with anyio.create_task_group() as group:
            for prompt in prompts:
                group.start_soon(ask(prompt, url=space.url, max_retries=20).read)
        assert sorted(entry["prompt"] for entry in space.log("asked")) == sorted(prompts)
        assert len(space.log("finished")) == 4


async def test_a_listener_that_listens_again_is_not_called_for_the_same_news(provider):
    woken = []

    def wake():
        woken.append(stream.text)
        if len(woken) < 1000:
            listen(stream, wake)

    stream = provider.ask(script("a", "ab", "abc"))
    listen(stream, wake)
    assert await stream.read() == "abc"
    assert 0 < len(woken) < 20
