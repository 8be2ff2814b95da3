"""What a Space told us is asked once, shared, and not trusted for ever."""

import anyio
import pytest
from conftest import failure
from network import Relay, web_server

from qvq_wrapper import Qwen_QVQ_72B, ResponseError, ask
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


async def test_a_cancelled_call_leaves_the_fetching_to_the_next(space, fetched):
    async with anyio.create_task_group() as group:

        async def leave():
            with anyio.move_on_after(0.001):
                await Qwen_QVQ_72B.ask("left", url=space.url).read()

        group.start_soon(leave)
        assert await Qwen_QVQ_72B.ask("stays", url=space.url).read() == "You asked: stays"
