"""What a Space told us is asked once, shared, and not trusted for ever."""

import json
import signal

import anyio
import pytest
from conftest import failure, free_port, script, wait_until
from network import Relay, web_server

from qvq_wrapper import Qwen_QVQ_72B, ResponseError, SpaceUnavailableError, ask
from qvq_wrapper.bridge import space as space_module

pytestmark = pytest.mark.anyio


@pytest.fixture
def fetched(monkeypatch):
    """Counts how often facts are fetched, beginning with none."""
    count = []
    fetch = space_module.SpaceInfo.fetch

    def counted(line):
        count.append(line.access.url)
        return fetch(line)

    monkeypatch.setattr(space_module.SpaceInfo, "fetch", counted)
    monkeypatch.setattr(space_module, "_spaces", type(space_module._spaces)())
    return count


async def test_facts_are_fetched_once_however_many_wait(provider, fetched):
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(provider.ask(f"at once {number}").read)
    assert len(fetched) == 1


async def test_an_error_while_fetching_is_each_callers_own():
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


async def test_anothers_read_timeout_is_not_ours(space):
    with Relay(space.port) as relay:
        relay.stalled.set()
        async with anyio.create_task_group() as group:
            group.start_soon(failure, ask("impatient", url=relay.url, read_timeout=0.5, max_retries=0))
            await anyio.sleep(0.1)
            patient = ask("patient", url=relay.url, read_timeout=30, max_retries=0)
            group.start_soon(patient.read)
            await anyio.sleep(1)
            relay.stalled.clear()
    assert patient.text == "You asked: patient"


async def test_two_tokens_share_nothing(provider, fetched):
    for token in ("hf_one", "hf_two", "hf_one"):
        await provider.ask("Hi", api_key=token).read()
    assert len(fetched) == 2


async def test_old_facts_are_checked_and_kept_while_they_are_true(provider, fetched, monkeypatch):
    await provider.ask("Hi").read()
    monkeypatch.setattr(space_module, "INFO_MAX_AGE", 0)
    assert await provider.ask("Hi").read() == "You asked: Hi"
    assert len(fetched) == 1


async def test_the_number_of_spaces_is_bounded(provider, monkeypatch, fetched):
    monkeypatch.setattr(space_module, "MAX_SPACES", 2)
    for number in range(4):
        await provider.ask("Hi", headers={"x": str(number)}).read()
    assert len(space_module._spaces) == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("first, now", [
    pytest.param([], ["--first"], id="the old number answers"),
    pytest.param(["--first"], [], id="the old number fails"),
    pytest.param([], [], id="the same number"),
])
async def test_a_restarted_space_never_answers_with_another_function(start_space, monkeypatch, first, now):
    with start_space(*first) as before:
        assert await ask("before", url=before.url).read() == "You asked: before"
        port = before.port
    monkeypatch.setattr(space_module, "INFO_MAX_AGE", 0)
    with start_space("--port", port, *now) as space:  # with --first every function's number is one up
        assert await ask("after", url=space.url).read() == "You asked: after"
        assert len(space.log("finished", prompt="after")) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("before", ["answered", "cancelled", "failed"])
async def test_a_space_that_is_launched_again_at_once(start_space, before):
    """In the same process, as in a notebook: what was known is fresh, and another function has the number."""
    with start_space("--port", free_port()) as space:
        for number in range(4):
            stream = ask(script("a", *[0.05, "b"] * 10) if before == "cancelled" else "before", url=space.url)
            if before == "cancelled":
                async with stream:
                    await anext(stream)
            elif before == "failed":
                await failure(ask(script("a", {"raise": "no"}), url=space.url))
            else:
                await stream.read()
            space.signal(signal.SIGUSR1)
            await anyio.to_thread.run_sync(
                lambda: wait_until(lambda: len(space.log("launched again")) == number + 1))
            assert await ask(f"after {number}", url=space.url).read() == f"You asked: after {number}"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("pause, checks", [(0, 0), (2, 1)])
async def test_an_answer_confirms_what_is_known(space, monkeypatch, pause, checks):
    """After a long answer the next question is asked at once; after a pause there is one check before it."""
    monkeypatch.setattr(space_module, "INFO_MAX_AGE", 1.5)
    with Relay(space.port) as relay:
        await ask(script("a", 1.8, "ab"), url=relay.url).read()
        await anyio.sleep(pause)
        await ask("next", url=relay.url).read()
        assert relay.asked("/app_id") == checks and relay.asked("/config") == 1
        paths = [line.split()[1].split("?")[0] for line in relay.requests if "/heartbeat/" not in line]
        assert paths[-2:] == ["/gradio_api/queue/join", "/gradio_api/queue/data"]


async def test_what_would_refuse_a_question_is_checked_first(space):
    with Relay(space.port) as relay:
        await ask("warm", url=relay.url).read()
        access = next(access for access in space_module._spaces if access.url.startswith(relay.url))
        known = space_module._spaces[access]._info
        known.config["app_id"] = "another"
        del known.api["named_endpoints"]["/generate"]
        assert await ask("there now", url=relay.url).read() == "You asked: there now"
        assert relay.asked("/app_id") == 1 and relay.asked("/config") == 2


async def test_a_check_is_shared_by_all_that_wait(space, monkeypatch):
    with Relay(space.port) as relay:
        await ask("warm", url=relay.url).read()
        access = next(access for access in space_module._spaces if access.url.startswith(relay.url))
        space_module._spaces[access].suspect()
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(ask(f"shared {number}", url=relay.url).read)
        assert 1 <= relay.asked("/app_id") <= 3 and relay.asked("/config") == 1


@pytest.mark.parametrize("fault", ["sse", "sse_v1", "sse_v2", "sse_v2.1", "ws", "4.43.0", "3.50", "none", ""])
async def test_an_old_protocol_is_refused(fault):
    version, protocol = (fault, "sse_v3") if fault[:1].isdigit() or fault in ("none", "") else ("4.44.1", fault)
    config = {"components": [], "dependencies": [], "protocol": protocol, "version": version}
    with web_server(200, json.dumps(config)) as server:
        error = await failure(ask("Hi", url=server.url, max_retries=0))
    assert type(error) is SpaceUnavailableError and "4.44 or newer" in str(error)


async def test_a_cancelled_call_leaves_the_fetching_to_the_next(space, fetched):
    async with anyio.create_task_group() as group:

        async def leave():
            with anyio.move_on_after(0.001):
                await Qwen_QVQ_72B.ask("left", url=space.url).read()

        group.start_soon(leave)
        assert await Qwen_QVQ_72B.ask("stays", url=space.url).read() == "You asked: stays"
