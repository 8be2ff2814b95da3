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
    BOUND, PNG, call_threads, close_idle_sockets_to, script, sockets_to, wait_until,
    wait_until_async,
)
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import lists, text
from network import Relay, first_line

from qvq_wrapper import AnswerStream, Qwen_QVQ_72B, ResponseError, ResponseTimeoutError, ask
from qvq_wrapper.stream import CLEANUP

pytestmark = pytest.mark.anyio


async def read(stream):
    return [chunk async for chunk in stream]


@pytest.fixture
def endless(space):
    class Endless(Qwen_QVQ_72B):
        url = space.url
        api_endpoint = "/gradio_api/call/endless"

    return Endless


async def test_a_space_that_streams(provider):
    stream = provider.ask(script("one", 0.5, "one two", 0.5, "one two three"))
    assert await read(stream) == ["one", " two", " three"]
    assert stream.text == "one two three"


async def test_a_space_that_answers_at_once(space):
    class Once(Qwen_QVQ_72B):
        url = space.url
        api_endpoint = "/gradio_api/call/once"

    assert await read(Once.ask("all")) == ["At once: all"]


async def test_a_space_that_rewrites_its_answer(provider):
    stream = provider.ask(script("The sum is 4", 0.3, "The sum is five", 0.3, "The sum"))
    assert await read(stream) == ["The sum is 4", "five"]
    assert stream.text == "The sum"


@pytest.mark.parametrize("steps", [[""], ["", 0.1, ""]])
async def test_a_space_that_says_nothing(provider, steps):
    stream = provider.ask(script(*steps))
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


async def test_timeout_before_the_first_word(provider, space):
    prompt = script(*["", 0.1] * 40, "late")
    with pytest.raises(ResponseTimeoutError, match="timeout=0.5 s") as caught:
        await provider.ask(prompt, timeout=0.5).read()
    assert isinstance(caught.value, TimeoutError) and caught.value.text == ""
    await space.wait_job_gone(prompt)


async def test_timeout_after_the_first_word(endless, space):
    prompt = "timeout after"
    stream = endless.ask(prompt, timeout=1)
    with pytest.raises(ResponseTimeoutError) as caught:
        await stream.read()
    assert caught.value.text == stream.text != "" and stream.status.stage == "failed"
    await space.wait_job_gone(prompt)


async def test_timeout_of_a_reader_slower_than_the_space(endless):
    with pytest.raises(ResponseTimeoutError), anyio.fail_after(5):
        async for _ in endless.ask("slow timeout", timeout=1):
            await anyio.sleep(0.1)


def test_timeout_of_a_slow_synchronous_reader(endless):
    chunks = endless.ask("slow sync timeout", timeout=1).iterate()
    with pytest.raises(ResponseTimeoutError):
        for _ in zip(chunks, range(50)):
            time.sleep(0.1)


@pytest.mark.parametrize("timeout", [0, None])
async def test_no_timeout(provider, timeout):
    assert await provider.ask("Hi", timeout=timeout).read() == "You asked: Hi"


async def test_aclose_cancels_the_job(endless, space):
    stream = endless.ask("aclose")
    await anext(stream)
    await stream.aclose()
    assert stream.status.stage == "cancelled"
    await space.wait_job_gone("aclose")
    await stream.aclose()
    assert await read(stream) == []


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


async def test_move_on_after_cancels_the_job(endless, space):
    stream = endless.ask("move on")
    await anext(stream)  # a process's first call also imports gradio_client
    with anyio.move_on_after(0.1) as scope:
        await stream.read()
    assert scope.cancelled_caught
    await space.wait_job_gone("move on")


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


@pytest.mark.parametrize("how", ["cancel", "aclose", "read"])
async def test_no_warning_about_a_stream_that_was_ended(provider, how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
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


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("how", WAYS)
async def test_an_iteration_that_is_ended_elsewhere_stops_quietly(provider, space, how, silent):
    prompt = script("a", 30) if silent else script(*["a", 0.05, "b", 0.05] * 200)
    stream, chunks = provider.ask(prompt), []

    async def iterate():
        async for chunk in stream:
            chunks.append(chunk)

    with anyio.fail_after(5):
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


@pytest.mark.parametrize("how", WAYS)
async def test_a_synchronous_iteration_that_is_ended_elsewhere_stops_quietly(endless, how):
    stream = endless.ask("sync " + how)
    iterator = stream.iterate()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, list, iterator)
            await wait_until_async(lambda: stream.text)
            await stop_by(how, stream)
    assert stream.status.stage == "cancelled" and list(iterator) == []


@pytest.mark.parametrize("how", ["read", "create_async"])
async def test_reading_an_answer_that_is_cancelled_elsewhere_fails(endless, how, monkeypatch):
    streams = []
    original = endless.create_async_generator.__func__

    @classmethod
    def remember(cls, *arguments, **options):
        streams.append(original(cls, *arguments, **options))
        return streams[0]

    monkeypatch.setattr(endless, "create_async_generator", remember)

    async def reader():
        with pytest.raises(ResponseError, match="The answer was cancelled after [1-9]"):
            if how == "read":
                await endless.ask("read elsewhere").read()
            else:
                messages = [{"role": "user", "content": "read elsewhere"}]
                await endless.create_async("", messages)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(reader)
            await wait_until_async(lambda: streams and streams[0].text)
            streams[0].cancel()


@pytest.mark.parametrize("how", ["cancel", "aclose"])
async def test_an_unstarted_stream_that_was_ended_asks_nothing(provider, space, how):
    prompt = f"unstarted {how}"
    stream = provider.ask(prompt)
    await stop_by("cancel" if how == "cancel" else "aclose in a task", stream)
    assert list(stream.iterate()) == [] and await read(stream) == []
    with pytest.raises(ResponseError, match="cancelled after 0 characters"):
        await stream.read()
    assert stream.status.stage == "cancelled" and not space.log("asked", prompt=prompt)


ENDED = {
    "read": lambda stream: stream.read(), "anext": lambda stream: anext(stream, None),
    "aclose": lambda stream: stream.aclose(),
    "async with": lambda stream: stream.__aexit__(None, None, None),
}


@pytest.mark.parametrize("state", ["finished", "cancelled"])
@pytest.mark.parametrize("how", ENDED)
async def test_steps_after_the_end_let_other_tasks_run_and_can_be_cancelled(provider, how, state):
    stream = provider.ask("ended")
    if state == "finished":
        await stream.read()
    else:
        stream.cancel()
    turns = []

    async def count_turns():
        while True:
            turns.append(1)
            await anyio.lowlevel.checkpoint()

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
    assert stream.status.stage == state


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


@pytest.mark.parametrize("shut_down", [True, False])
def test_a_new_event_loop_for_each_chunk(provider, shut_down, anyio_backend_name):
    stream = provider.ask(script(*[each for n in range(10) for each in ("word" * n, 0.05)]))
    chunks = []

    async def step():
        return await anext(stream, None)

    while True:
        if shut_down:
            chunk = anyio.run(step, backend=anyio_backend_name)
        else:
            loop = asyncio.new_event_loop()
            chunk = loop.run_until_complete(step())
            loop.close()
        if chunk is None:
            break
        chunks.append(chunk)
    assert "".join(chunks) == stream.text == "word" * 9


@pytest.mark.parametrize("order", ["loop, iterator", "loop, loop"])
def test_reading_goes_on_elsewhere(provider, anyio_backend_name, order):
    stream = provider.ask(script(*[each for n in range(10) for each in ("word" * n, 0.03)]))

    async def some():
        return [await anext(stream) for _ in range(2)]

    chunks = anyio.run(some, backend=anyio_backend_name)
    if order == "loop, loop":
        chunks += anyio.run(read, stream, backend=anyio_backend_name)
    else:
        chunks += stream
    assert "".join(chunks) == stream.text == "word" * 9


async def test_two_readers_at_once_are_refused(endless):
    async with endless.ask("two readers") as stream:
        iterator = stream.iterate()
        next(iterator)
        with pytest.raises(RuntimeError, match="has a reader already"):
            next(stream.iterate())
        with pytest.raises(RuntimeError, match="has a reader already"):
            await anext(stream)
        with closing(stream.iterate()) as refused, pytest.raises(RuntimeError):
            next(refused)
        next(iterator)  # the first is not disturbed


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
    assert "has a reader already" in str(refused) and text == "ab"


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


@pytest.mark.parametrize("how", ["move_on_after", "task", "timeout", "on_status"])
async def test_leaving_in_the_queue(narrow_space, anyio_backend_name, how):
    prompt = f"queued {anyio_backend_name} {how}"
    queued = anyio.Event()

    def on_status(status):
        if status.stage == "queued" and status.position:
            queued.set()
            if how == "on_status":
                raise LookupError

    async def wait_in_the_queue():
        timeout = 0.5 if how == "timeout" else None
        delay = 0.5 if how == "move_on_after" else 30
        with suppress(ResponseTimeoutError, LookupError), anyio.move_on_after(delay):
            await ask(prompt, url=narrow_space.url, timeout=timeout, on_status=on_status).read()

    async with ask(script(*["a", 0.1] * 100), url=narrow_space.url) as first:
        await anext(first)
        async with anyio.create_task_group() as group:
            group.start_soon(wait_in_the_queue)
            await queued.wait()
            if how == "task":
                group.cancel_scope.cancel()
    assert await ask("next", url=narrow_space.url, timeout=BOUND).read() == "You asked: next"
    assert not narrow_space.log("asked", prompt=prompt)
    wait_until(lambda: not call_threads() and not close_idle_sockets_to(narrow_space.port), 1)


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
    wait_until(lambda: not call_threads())
    assert await stream.read() == "You asked: twice" and stream.status.stage == "finished"


@pytest.mark.parametrize("how", ["close", "break"])
async def test_leaving_the_synchronous_iteration_cancels_the_job(endless, space, how):
    stream = endless.ask("sync close")
    chunks = stream.iterate()
    if how == "break":
        for _ in stream:
            break
    else:
        next(chunks)
        chunks.close()
    assert stream.status.stage == "cancelled"
    await space.wait_job_gone("sync close")


def test_timeout_of_the_synchronous_form(endless):
    messages = [{"role": "user", "content": "sync timeout"}]
    with pytest.raises(ResponseTimeoutError):
        list(endless.create_completion("", messages, timeout=0.5))


async def test_many_at_once_use_one_thread_each(endless):
    async with anyio.create_task_group() as group:
        streams = [endless.ask(f"many {number}") for number in range(30)]
        for stream in streams:
            group.start_soon(anext, stream)
    threads = sum(thread.name == "qvq_wrapper" for thread in threading.enumerate())
    assert threads <= 30
    async with anyio.create_task_group() as group:
        for stream in streams:
            group.start_soon(stream.aclose)


# A reader that leaves while nothing arrives


STAGES = {
    "connecting": b"/config", "uploading": b"/upload", "joining": b"/queue/join",
    "streaming": b"/queue/data"}


@pytest.fixture(params=STAGES)
def stalled(request, space):
    """A relay to the Space that passes on nothing once this stage's request arrives."""
    with Relay(space.port) as relay:
        def stall(data):
            if STAGES[request.param] in first_line(data):
                relay.stalled.set()
                relay.wait()
            return data

        relay.up = stall
        yield relay


@pytest.mark.parametrize("how", ["timeout", "task"])
async def test_leaving_while_nothing_arrives(stalled, how):
    timeout = 0.5 if how == "timeout" else None
    stream = Qwen_QVQ_72B.ask("nothing arrives", PNG, url=stalled.url, timeout=timeout)
    start = time.monotonic()
    if how == "timeout":
        with pytest.raises(ResponseTimeoutError):
            await stream.read()
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(stream.read)
            await wait_until_async(stalled.stalled.is_set)
            group.cancel_scope.cancel()
    assert time.monotonic() - start < 0.5 + CLEANUP + 1
    wait_until(lambda: not call_threads() and not sockets_to(stalled.port), CLEANUP)


@pytest.mark.backends("asyncio")
@pytest.mark.parametrize("stalled", ["joining"], indirect=True)
async def test_a_task_that_is_cancelled_twice(stalled):
    task = asyncio.create_task(ask("cancelled twice", PNG, url=stalled.url).read())
    await wait_until_async(stalled.stalled.is_set)
    task.cancel()
    await anyio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_until(lambda: not call_threads(), CLEANUP + 1)


async def test_leaving_while_the_question_is_sent_cancels_the_job(endless, space):
    """Only the Space's response to the question names the job, so it is waited for."""
    with Relay(space.port) as relay:
        def hold(data):
            if b"event_id" in data and not relay.stalled.is_set():
                relay.stalled.set()
                threading.Timer(0.3, relay.stalled.clear).start()
                relay.wait()
            return data

        posted = []

        def record(data):
            posted.append(first_line(data))
            return data

        relay.up = record
        relay.down = hold
        with anyio.move_on_after(5) as scope:
            async with anyio.create_task_group() as group:
                stream = endless.ask("handed in", url=relay.url)
                group.start_soon(stream.read)
                await wait_until_async(relay.stalled.is_set)
                group.cancel_scope.cancel()
        assert not scope.cancelled_caught
        wait_until(lambda: any(b"/cancel" in line for line in posted), 2)
    await space.wait_job_gone("handed in")


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
    wait_until(lambda: not call_threads(), 2)


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
