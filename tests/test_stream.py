"""What the reader of an answer gets. A reader who leaves cancels the job."""

import asyncio
import gc
import signal
import sys
import threading
import time
import warnings
from contextlib import closing, suppress

import anyio
import pytest
from conftest import (
    BOUND, PNG, call_threads, calls_ended, close_idle_sockets_to, script, sockets_to, wait_until,
    wait_until_async,
)
from hostile import Reply
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import lists, text
from inside import Clock, set_bounds
from network import Relay

from qvq_wrapper import AnswerStream, Qwen_QVQ_72B, ResponseError, ResponseTimeoutError, ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]
both = pytest.mark.backends("asyncio", "trio")  # where it depends on the event loop


async def read(stream):
    return [chunk async for chunk in stream]


@pytest.fixture
def endless(space):
    class Endless(Qwen_QVQ_72B):
        url = space.url
        api_endpoint = "/gradio_api/call/endless"

    return Endless


@both
async def test_a_space_that_streams(provider):
    stream = provider.ask(script("one", 0.5, "one two", 0.5, "one two three"))
    assert await read(stream) == ["one", " two", " three"]
    assert stream.text == "one two three"


async def test_a_space_that_answers_at_once(provider):
    assert await read(provider.ask("all", api_name="/once")) == ["At once: all"]


async def test_a_space_that_rewrites_its_answer(provider):
    stream = provider.ask(script("The sum is 4", 0.3, "The sum is five", 0.3, "The sum"))
    assert await read(stream) == ["The sum is 4", "five"]
    assert stream.text == "The sum"


@both
async def test_what_can_only_be_provisional_is_held_back(provider):
    """An app that streams bytes as text sends half a character first. Others show a cursor."""
    for steps in [
            ["Caf\ufffd", "Caf\u00e9 \ufffd\ufffd\ufffd", "Caf\u00e9 \U0001f600."],
            ["\u4f60", "\ufffd" * 5, "\u4f60\u597d"],  # all bytes again, one U+FFFD for each
            ["The\u258c", "The area\u258c", "The area is\u258d", "The area is 6."],
            ["\ufffd", "\u258c", "word"]]:
        stream = provider.ask(script(*[each for step in steps for each in (step, 0.2)]))
        assert "".join(await read(stream)) == stream.text == steps[-1], steps
    in_the_middle = script("a \ufffd b", 0.2, "a \ufffd b!")
    assert await read(provider.ask(in_the_middle)) == ["a \ufffd b", "!"]


def test_half_of_a_surrogate_pair_is_held_back(relay):
    """JavaScript cuts strings there. Gradio's own encoder never does."""
    relay.replace(b"HALF_1", b"\\ud83d")
    relay.replace(b"BOTH_HALVES!", b"\\ud83d\\ude00")
    stream = ask(script("HALF_1", 0.3, "BOTH_HALVES!", 0.3), url=relay.url)
    assert "".join(stream.iterate()) == stream.text == "\U0001f600"


@both
async def test_what_was_held_back_comes_at_the_end(provider):
    """The text has it all the time. It comes before an error, and after a cancel too."""
    half = "Caf\ufffd"
    assert await read(provider.ask(script(half, 0.5, half))) == ["Caf", "\ufffd"]
    for prompt, how in [
            (script(half, 0.5, {"raise": "broken"}), "failed"), (script(half, 30), "cancelled")]:
        chunks, stream = [], provider.ask(prompt)
        with suppress(ResponseError):
            async for chunk in stream:
                chunks.append(chunk)
                if how == "cancelled":
                    stream.cancel()
        assert chunks == ["Caf", "\ufffd"], how
        assert stream.status.stage == how


async def test_a_space_that_says_nothing(provider):
    stream = provider.ask(script("", 0.1, ""))
    assert await read(stream) == [] and stream.text == ""


async def test_an_endpoint_that_gives_no_text_is_not_asked(provider, space):
    prompt = script("never asked")
    with pytest.raises(ResponseError, match="/json gives no text, but: json"):
        await provider.ask(prompt, api_name="/json").read()
    assert not space.log("asked", prompt=prompt)


async def test_read_and_repr(provider):
    stream = provider.ask("Hi")
    assert isinstance(stream, AnswerStream)
    assert repr(stream).startswith("<AnswerStream, not asked yet. Use `await stream.read()`")
    assert await stream.read() == await stream.read() == "You asked: Hi"
    assert repr(stream) == "<AnswerStream finished, 13 characters>"


async def test_nothing_is_sent_before_the_first_step(provider, space):
    stream = provider.ask("never asked")
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert not space.log("asked", prompt="never asked")


@both
async def test_a_slow_reader_loses_nothing(provider):
    words = [" ".join("word" for _ in range(n)) for n in range(1, 200)]
    stream = provider.ask(script(*words))
    first = await anext(stream)
    await wait_until_async(lambda: stream.status.stage == "finished")
    assert first + "".join(await read(stream)) == words[-1]


async def test_the_answer_is_cut_at_max_chars(provider, space):
    prompt = script("start", 0.2, {"grow": 5000}, *["", 0.1] * 40)
    stream = provider.ask(prompt, max_chars=1000)
    with pytest.raises(ResponseError, match="max_chars=1000") as caught:
        await stream.read()
    assert len(caught.value.text) == len(stream.text) == 1000
    await space.wait_job_gone(prompt)


async def test_the_last_status_comes_after_the_last_chunk(provider):
    order = []

    def on_status(status):
        order.append(status.stage)

    stream = provider.ask(script("a", 0.1, "ab"), on_status=on_status)
    async for chunk in stream:
        order.append(chunk)
        await wait_until_async(lambda: stream.status.stage == "finished")
    assert order[-1] == "finished" and order.count("finished") == 1


@both
async def test_timeout_before_the_first_word(provider, space):
    prompt = script(*["", 0.1] * 40, "late")
    with pytest.raises(ResponseTimeoutError, match="timeout=0.5 s") as caught:
        await provider.ask(prompt, timeout=0.5).read()
    assert isinstance(caught.value, TimeoutError) and caught.value.text == ""
    await space.wait_job_gone(prompt)


@both
async def test_timeout_after_the_first_word(endless, space, monkeypatch):
    clock, prompt = Clock(monkeypatch), f"timeout after {time.time_ns()}"
    stream = endless.ask(prompt, timeout=100)
    await anext(stream)
    clock.pass_time(101)
    with pytest.raises(ResponseTimeoutError) as caught:
        await stream.read()
    assert caught.value.text == stream.text != "" and stream.status.stage == "failed"
    await space.wait_job_gone(prompt)


@both
async def test_timeout_of_a_reader_slower_than_the_space(endless):
    with pytest.raises(ResponseTimeoutError), anyio.fail_after(BOUND):
        async for _ in endless.ask("slow timeout", timeout=1):
            await anyio.sleep(0.1)


def test_timeout_of_a_synchronous_reader(endless):
    for pause in (0, 0.1):
        with pytest.raises(ResponseTimeoutError):
            for _ in endless.ask("sync timeout", timeout=1).iterate():
                time.sleep(pause)


async def test_no_timeout(provider):
    for timeout in (0, None):
        assert await provider.ask("Hi", timeout=timeout).read() == "You asked: Hi"


@both
async def test_aclose_cancels_the_job(endless, space):
    stream = endless.ask("aclose")
    await anext(stream)
    await stream.aclose()
    assert stream.status.stage == "cancelled"
    await space.wait_job_gone("aclose")
    await stream.aclose()
    assert await read(stream) == []


@both
async def test_leaving_async_with_cancels_the_job(endless, space):
    async with endless.ask("async with") as stream:
        async for _ in stream:
            break
    text = stream.text
    for _ in range(2):
        with pytest.raises(ResponseError, match=f"cancelled after {len(text)} char") as caught:
            await stream.read()
        assert caught.value.text == stream.text == text != ""
    await space.wait_job_gone("async with")


@both
async def test_cancelling_the_task_cancels_the_job_and_is_raised_as_it_is(endless, space):
    outcomes = []

    async def reader():
        try:
            await endless.ask("task").read()
        except BaseException as error:
            outcomes.append(type(error))
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        await space.wait_log("asked", prompt="task")
        group.cancel_scope.cancel()
    assert outcomes == [anyio.get_cancelled_exc_class()]
    await space.wait_job_gone("task")


@both
async def test_move_on_after_cancels_the_job(endless, space):
    stream = endless.ask("move on")
    await anext(stream)  # a process's first call also imports gradio_client
    with anyio.move_on_after(0.1) as scope:
        await stream.read()
    assert scope.cancelled_caught
    await space.wait_job_gone("move on")


@both
async def test_the_last_reference_cancels_the_job(endless, space):
    async def leave_early():
        async for _ in endless.ask("last reference"):
            break

    with pytest.warns(ResourceWarning, match="unclosed <AnswerStream"):
        await leave_early()
        gc.collect()
    await space.wait_job_gone("last reference")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_last_reference_cancels_the_job_where_warnings_are_errors(endless, space):
    prompt = f"warnings {time.time_ns()}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream = endless.ask(prompt)
        await anext(stream)
        del stream
        gc.collect()
    await space.wait_job_gone(prompt)


def test_a_question_that_is_never_asked_warns(provider):
    with pytest.warns(RuntimeWarning, match="never asked: .*await stream.read()"):
        provider.ask("forgotten")
        gc.collect()


async def test_no_warning_about_a_stream_that_was_ended(provider):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for how in ("cancel", "aclose", "read"):
            stream = provider.ask("ended")
            if how == "cancel":
                stream.cancel()
            else:
                await getattr(stream, how)()
            del stream
            gc.collect()


# Ending from elsewhere


async def stop_by(how, stream):
    if how == "aclose in a task":
        await stream.aclose()
    elif how == "cancel in a thread":
        await anyio.to_thread.run_sync(stream.cancel)
    elif how == "aclose in another loop":
        await anyio.to_thread.run_sync(anyio.run, stream.aclose)
    elif how == "signal handler":
        before = signal.signal(signal.SIGUSR1, lambda *_: stream.cancel())
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, before)
    else:
        stream.cancel()


WAYS = ["cancel", "aclose in a task", "cancel in a thread", "aclose in another loop",
        "signal handler"]


@both
@pytest.mark.parametrize("silent", [False, True])
async def test_an_iteration_that_is_ended_elsewhere_stops_quietly(provider, space, silent):
    for how in WAYS:
        prompt = script("a", 30) if silent else script(*["a", 0.05, "b", 0.05] * 200, how)
        stream, chunks = provider.ask(prompt), []

        async def iterate():
            async for chunk in stream:
                chunks.append(chunk)

        with anyio.fail_after(BOUND):
            async with anyio.create_task_group() as group:
                group.start_soon(iterate)
                await wait_until_async(lambda: chunks)
                await stop_by(how, stream)
        assert stream.status.stage == "cancelled" and stream.text in ("a", "b")
        with pytest.raises(ResponseError, match="cancelled after"):
            await stream.read()
        assert await read(stream) == []
        if not silent:
            await space.wait_job_gone(prompt)


async def test_a_synchronous_iteration_that_is_ended_elsewhere_stops_quietly(endless):
    for how in WAYS:
        stream = endless.ask("sync " + how)
        iterator = stream.iterate()
        with anyio.fail_after(BOUND):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, list, iterator)
                await wait_until_async(lambda: stream.text)
                await stop_by(how, stream)
        assert stream.status.stage == "cancelled" and list(iterator) == []


@both
async def test_reading_an_answer_that_is_cancelled_elsewhere_fails(endless):
    stream = endless.ask("read elsewhere")

    async def reader():
        with pytest.raises(ResponseError, match="The answer was cancelled after [1-9]"):
            await stream.read()

    with anyio.fail_after(BOUND):
        async with anyio.create_task_group() as group:
            group.start_soon(reader)
            await wait_until_async(lambda: stream.text)
            stream.cancel()


async def test_an_unstarted_stream_that_was_ended_asks_nothing(provider, space):
    for how in WAYS[:2]:
        stream = provider.ask(f"unstarted {how}")
        await stop_by(how, stream)
        assert list(stream.iterate()) == [] and await read(stream) == []
        with pytest.raises(ResponseError, match="cancelled after 0 characters"):
            await stream.read()
        assert stream.status.stage == "cancelled"
        assert not space.log("asked", prompt=f"unstarted {how}")


ENDED = {
    "read": lambda stream: stream.read(), "anext": lambda stream: anext(stream, None),
    "aclose": lambda stream: stream.aclose(),
    "async with": lambda stream: stream.__aexit__(None, None, None),
}


@both
@pytest.mark.parametrize("how", ENDED)
async def test_steps_after_the_end_let_other_tasks_run_and_can_be_cancelled(provider, how):
    finished, cancelled = provider.ask("ended"), provider.ask("never asked")
    await finished.read()
    cancelled.cancel()
    turns = []

    async def count_turns():
        while True:
            turns.append(1)
            await anyio.lowlevel.checkpoint()

    for stream in (finished, cancelled):
        async with anyio.create_task_group() as group:
            group.start_soon(count_turns)
            await anyio.lowlevel.checkpoint()
            before = len(turns)
            for _ in range(10):
                with suppress(ResponseError):
                    await ENDED[how](stream)
            assert len(turns) >= before + 9
            group.cancel_scope.cancel()
            with pytest.raises(anyio.get_cancelled_exc_class()):
                await ENDED[how](stream)
    assert (finished.status.stage, cancelled.status.stage) == ("finished", "cancelled")


@both
async def test_an_error_is_not_lost_in_a_scope_that_is_cancelled(provider):
    with pytest.raises(LookupError), anyio.CancelScope() as scope:
        async with provider.ask("ended") as stream:
            await stream.read()
            scope.cancel()
            raise LookupError


async def test_cancelling_a_complete_answer_changes_nothing(provider):
    stream = provider.ask("complete")
    await stream.read()
    stream.cancel()
    await stream.aclose()
    assert await stream.read() == "You asked: complete" and stream.status.stage == "finished"


# Other ways to read


def test_a_for_loop(provider):
    assert "".join(provider.ask("for loop")) == "You asked: for loop"


@pytest.mark.filterwarnings("ignore:a question was never asked")
def test_asyncio_run(provider):
    assert asyncio.run(provider.ask("run").read()) == "You asked: run"
    if sys.version_info < (3, 14):  # newer ones take any awaitable
        with pytest.raises((TypeError, ValueError), match="await stream.read()"):
            asyncio.run(provider.ask("run"))


@both
def test_a_new_event_loop_for_each_chunk(provider, anyio_backend_name):
    """Each loop is shut down, or only closed."""
    async def step():
        return await anext(stream, None)

    stream = provider.ask(script(*[each for n in range(10) for each in ("word" * n, 0.05)]))
    chunks = []
    while not chunks or chunks[-1]:
        if anyio_backend_name == "trio" or len(chunks) % 2:
            chunks.append(anyio.run(step, backend=anyio_backend_name))
        else:
            loop = asyncio.new_event_loop()
            chunks.append(loop.run_until_complete(step()))
            loop.close()
    assert "".join(chunks[:-1]) == stream.text == "word" * 9


@both
def test_reading_goes_on_elsewhere(provider, anyio_backend_name):
    stream = provider.ask(script(*[each for n in range(10) for each in ("word" * n, 0.03)]))

    async def some():
        return [await anext(stream) for _ in range(2)]

    chunks = anyio.run(some, backend=anyio_backend_name)
    chunks += anyio.run(some, backend=anyio_backend_name)
    chunks += stream
    assert "".join(chunks) == stream.text == "word" * 9


async def test_two_readers_at_once_are_refused(endless):
    async with endless.ask("two readers") as stream:
        iterator = stream.iterate()
        next(iterator)
        with pytest.raises(RuntimeError, match="is being read already"):
            next(stream.iterate())
        with pytest.raises(RuntimeError, match="is being read already"):
            await anext(stream)
        with closing(stream.iterate()) as refused, pytest.raises(RuntimeError):
            next(refused)
        next(iterator)  # the first is not disturbed


@both
async def test_two_tasks_that_read_at_once_are_refused(provider):
    outcomes = []

    async def reader():
        try:
            outcomes.append(await stream.read())
        except RuntimeError as error:
            outcomes.append(error)

    stream = provider.ask(script("a", 0.5, "ab"))
    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        group.start_soon(reader)
    refused, text = outcomes
    assert "is being read already" in str(refused) and text == "ab"


async def test_throwing_into_a_stream_cancels_the_job(endless, space):
    stream = endless.ask("athrow")
    await anext(stream)
    with pytest.raises(LookupError):
        await stream.athrow(LookupError)
    iterator = endless.ask("throw").iterate()
    next(iterator)
    with pytest.raises(LookupError):
        iterator.throw(LookupError)
    for prompt in ("athrow", "throw"):
        await space.wait_job_gone(prompt)


async def test_the_picture_stays_for_a_second_look(provider):
    stream = provider.ask("picture", PNG)
    await stream.read()
    assert stream.picture.read() == PNG


async def test_a_failed_answer_fails_again(provider):
    stream = provider.ask(script("a", 0.1, {"raise": "no"}))
    for _ in range(2):
        with pytest.raises(ResponseError, match="no"):
            await read(stream)


@pytest.fixture(scope="module")
def narrow_space(start_space):
    """A Space that answers one question at a time."""
    with start_space("--at-once", 1) as space:
        yield space


@both
async def test_leaving_in_the_queue(narrow_space, anyio_backend_name):
    async def wait_in_the_queue(how, prompt, queued):
        def on_status(status):
            if status.stage == "queued" and status.position:
                queued.set()
                if how == "on_status":
                    raise LookupError

        options = {"url": narrow_space.url, "timeout": 1 if how == "timeout" else None}
        delay = 1 if how == "move_on_after" else BOUND
        with suppress(ResponseTimeoutError, LookupError), anyio.move_on_after(delay):
            await ask(prompt, on_status=on_status, **options).read()

    async with ask(script(*["a", 0.1] * 600), url=narrow_space.url) as first:
        await anext(first)
        prompts = []
        for how in ("move_on_after", "task", "timeout", "on_status"):
            prompts.append(f"queued {anyio_backend_name} {how}")
            queued = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(wait_in_the_queue, how, prompts[-1], queued)
                await queued.wait()
                if how == "task":
                    group.cancel_scope.cancel()
    assert await ask("next", url=narrow_space.url, timeout=BOUND).read() == "You asked: next"
    assert not [prompt for prompt in prompts if narrow_space.log("asked", prompt=prompt)]
    wait_until(lambda: not call_threads() and not close_idle_sockets_to(narrow_space.port))


@both
async def test_an_error_in_on_status_is_raised_and_cancels_the_job(provider, space):
    prompt = script("a", *["b", 0.1] * 40)

    def fail(status):
        if status.stage == "streaming":
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await provider.ask(prompt, on_status=fail).read()
    await space.wait_job_gone(prompt)


async def test_the_synchronous_form_inside_a_running_loop(provider):
    messages = [{"role": "user", "content": "sync"}]
    assert "".join(provider.create_completion("", messages)) == "You asked: sync"


async def test_a_second_iteration_is_empty(provider):
    stream = provider.ask("twice")
    assert "".join(stream.iterate()) == "You asked: twice"
    assert list(stream.iterate()) == []
    await calls_ended()
    assert await stream.read() == "You asked: twice" and stream.status.stage == "finished"


async def test_leaving_the_synchronous_iteration_cancels_the_job(endless, space):
    streams = [endless.ask("sync close"), endless.ask("sync break")]
    chunks = streams[0].iterate()
    next(chunks)
    chunks.close()
    for _ in streams[1]:
        break
    for stream, prompt in zip(streams, ("sync close", "sync break")):
        assert stream.status.stage == "cancelled"
        await space.wait_job_gone(prompt)


async def test_many_at_once_use_one_thread_each(endless):
    async with anyio.create_task_group() as group:
        streams = [endless.ask(f"many {number}") for number in range(30)]
        for stream in streams:
            group.start_soon(anext, stream)
    assert len(call_threads()) <= 30
    async with anyio.create_task_group() as group:
        for stream in streams:
            group.start_soon(stream.aclose)


# A reader that leaves while nothing arrives


STAGES = ["/config", "/upload", "/queue/join", "/queue/data"]


@both
@pytest.mark.parametrize("path", STAGES)
async def test_leaving_while_nothing_arrives(space, path):
    for how in ("timeout", "task"):
        with Relay(space.port) as relay:
            relay.stall_at(path)
            timeout = 1 if how == "timeout" else None
            options = {"timeout": timeout, "read_timeout": 2 * BOUND}
            stream = ask("nothing arrives", PNG, url=relay.url, **options)
            if how == "timeout":
                with pytest.raises(ResponseTimeoutError, match="within timeout=1 s"):
                    await stream.read()
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(stream.read)
                    await wait_until_async(relay.stalled.is_set)
                    group.cancel_scope.cancel()
            # While the relay is still silent:
            await wait_until_async(lambda: not call_threads() and not sockets_to(relay.port))


async def test_a_task_that_is_cancelled_twice(relay):
    relay.stall_at("/queue/join")
    stream = ask("cancelled twice", PNG, url=relay.url)
    task = asyncio.create_task(stream.read())
    await wait_until_async(relay.stalled.is_set)
    task.cancel()
    await wait_until_async(lambda: stream.status.stage == "cancelled")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await calls_ended()


@both
async def test_leaving_while_the_question_is_sent_cancels_the_job(hostile, monkeypatch):
    """Only the whole response to the question names the job, which gradio 4.44 has to know."""
    set_bounds(monkeypatch, join_patience=BOUND)  # 2 s can pass on a busy machine
    asked, left = threading.Event(), threading.Event()

    def response():
        asked.set()
        left.wait(BOUND)
        yield b'{"event_id":'
        yield b'"the-event"}'

    hostile.replies["/queue/join"] = lambda handler: handler.reply(Reply(response()))
    async with anyio.create_task_group() as group:
        stream = ask("leave", url=hostile.url)
        group.start_soon(stream.read)
        await wait_until_async(asked.is_set)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await wait_until_async(lambda: stream.status.stage == "cancelled")
        left.set()
    await calls_ended()
    sent = zip(hostile.requests, hostile.bodies)
    [cancel] = [body for (_, path), body in sent if path.endswith("/cancel")]
    assert b"the-event" in cancel


@both
def test_a_stream_outlives_its_event_loop(endless, space, anyio_backend_name):
    """Nobody knows whether it is read on in another one. The last reference cancels the job."""
    space.require_gradio(5, 50)
    stream = endless.ask("loop ends")
    anyio.run(anext, stream, backend=anyio_backend_name)
    steps = len(space.log("step", prompt="loop ends"))
    wait_until(lambda: len(space.log("step", prompt="loop ends")) > steps)
    with pytest.warns(ResourceWarning):
        del stream
        gc.collect()
    wait_until(lambda: not call_threads())
    anyio.run(space.wait_job_gone, "loop ends")


def test_the_last_reference_goes_after_the_loop_is_closed(provider):
    """The Space is silent: only the end of the last reference can cancel the job."""
    loop = asyncio.new_event_loop()
    stream = provider.ask(script("a", 30))
    loop.run_until_complete(anext(stream))
    loop.close()
    with pytest.warns(ResourceWarning):
        del stream
        gc.collect()
    wait_until(lambda: not call_threads())


class Text(Qwen_QVQ_72B):
    api_endpoint = "/text"  # a Markdown output would change the texts


@given(outputs=lists(text(max_size=30), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_sequence_of_outputs_ends_with_the_final_text(space, outputs):
    stream = Text.ask(script(*outputs), url=space.url)
    list(stream.iterate())
    assert stream.text == outputs[-1]


@given(texts=lists(text(max_size=5), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_chunks_of_a_growing_answer_join_to_the_final_text(space, texts):
    growing = ["".join(texts[:end]) for end in range(1, len(texts) + 1)]
    stream = Text.ask(script(*growing), url=space.url)
    assert "".join(stream.iterate()) == stream.text == growing[-1]
