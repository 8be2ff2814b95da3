"""Which requests are sent again, and which never are."""

import anyio
import pytest
from conftest import PNG, failure, script
from inside import forget_info, listen, set_bounds
from network import HttpProxy, Relay

from qvq_wrapper import ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


@pytest.mark.parametrize("faults", [
    ["close", "lose"],
    pytest.param([429, 502, 503], marks=pytest.mark.chaos)])  # see also test_promises.py
async def test_no_question_is_asked_twice_or_left_running(space, monkeypatch, faults):
    for path in ("/config", "/info", "/upload", "/queue/join", "/queue/data", "/app_id"):
        asks = path in ("/queue/join", "/queue/data")
        if asks and space.version < (6, 0):  # before 6.0, a waiting job cannot be cancelled
            continue
        with Relay(space.port, keep_alive=False) as relay:
            if path == "/app_id":
                await ask("warm", url=relay.url).read()
                set_bounds(monkeypatch, info_max_age=0)
            for fault in faults:
                again = not asks or path == "/queue/join" and fault == 429
                steps = ["...", 0.1] * (1 if again else 10)
                prompt = script(f"{path} {fault}", *steps, "the answer")
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


async def test_a_proxy_refuses_the_connection_for_the_question(secure_space):
    with HttpProxy() as proxy:
        access = {"url": secure_space.url, "verify": False, "proxy": proxy.url}
        assert await ask("warm", **access).read()
        proxy.refused = 1
        assert await ask("refused", **access).read() == "You asked: refused"
        assert len(secure_space.log("asked", prompt="refused")) == 1


async def test_a_full_queue_is_tried_again_until_a_place_is_free(narrow_space):
    prompts = [script(*["", 0.1] * 3, f"in turn {number}") for number in range(4)]
    async with anyio.create_task_group() as group:
        for prompt in prompts:
            group.start_soon(ask(prompt, url=narrow_space.url, max_retries=20).read)
    for prompt in prompts:
        assert len(narrow_space.log("asked", prompt=prompt)) == 1
        assert len(narrow_space.log("finished", prompt=prompt)) == 1


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
