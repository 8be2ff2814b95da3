"""What goes wrong between here and the Space is one clear error in bounded time."""

import signal
import time

import pytest
from conftest import free_port, script

from qvq_wrapper import (
    RateLimitError, ResponseError, SpaceConnectionError, ask,
)

pytestmark = pytest.mark.anyio


async def failure(stream, bound=5):
    """The error that a reader of the whole answer gets, within ``bound`` seconds."""
    start = time.monotonic()
    with pytest.raises(ResponseError) as caught:
        await stream.read()
    assert time.monotonic() - start < bound
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert caught.value.text == stream.text and stream.status.stage == "failed"
    return caught.value


async def test_a_full_queue(start_space):
    with start_space("--at-once", 1, "--queue", 1) as space:
        async with ask(script("a", *["b", 0.1] * 50), url=space.url) as first:
            await anext(first)
            async with ask("second", url=space.url) as second:
                import anyio

                async with anyio.create_task_group() as group:
                    group.start_soon(second.read)
                    while second.status.position is None:
                        await anyio.sleep(0.01)
                    error = await failure(ask("third", url=space.url, max_retries=0))
                    group.cancel_scope.cancel()
        assert type(error) is RateLimitError and error.status_code == 503 and error.retryable


async def test_the_server_is_killed_in_mid_answer(start_space):
    with start_space() as space:
        stream = ask(script("some", 0.1, "some words", 30), url=space.url)
        await anext(stream)
        assert await anext(stream) == " words"
        space.signal(signal.SIGKILL)
        error = await failure(stream)
    assert type(error) is SpaceConnectionError and error.text == "some words"


async def test_the_connection_is_refused_at_submit(start_space):
    with start_space() as space:
        assert await ask("first", url=space.url).read()
        space.stop()
        error = await failure(ask("second", url=space.url, max_retries=0))
    assert type(error) is SpaceConnectionError and error.retryable


async def test_the_connection_is_refused_at_first():
    error = await failure(ask("Hi", url=f"http://127.0.0.1:{free_port()}", max_retries=1))
    assert type(error) is SpaceConnectionError and "Connection refused" in str(error)


@pytest.mark.parametrize("step, message", [
    ({"raise": "The <b>picture</b> is too dark.<br>Try &amp; retry"}, "The picture is too dark. Try & retry"),
    ({"hidden": "inner reason"}, "inner reason"),
])
async def test_the_app_raises(provider, step, message):
    error = await failure(provider.ask(script("some", 0.1, step)))
    assert type(error) is ResponseError and str(error) == error.message == message and error.text == "some"


async def test_a_gpu_quota(provider):
    quota = ('You have exceeded your GPU quota (60s requested vs. 56s left). <a style="white-space: nowrap" '
             'href="https://huggingface.co/join">Create a free account</a> to get more quota.')
    error = await failure(provider.ask(script({"raise": quota})))
    assert type(error) is RateLimitError and not error.retryable
    assert str(error) == ("You have exceeded your GPU quota (60s requested vs. 56s left). Create a free account to get "
                          "more quota.")
