"""What the reader of an answer gets. A reader who leaves cancels the job."""

import asyncio
import gc
import signal
import threading
import warnings
from contextlib import closing, suppress
from itertools import accumulate

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
from qvq_wrapper.growth import Growth

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
async def test_each_chunk_comes_at_once(provider, tmp_path):
    """The Space goes on when the test has its latest words."""
    read_on = [{"until": str(tmp_path / number)} for number in "12"]
    stream, chunks = provider.ask(script("one", read_on[0], "one two", read_on[1], "one, too")), []
    async for chunk in stream:
        chunks.append(chunk)
        (tmp_path / str(len(chunks))).touch()
    assert chunks == ["one", " two", ", too"] and stream.text == "one, too"


GROWN = [  # the Space's texts, and what the reader gets of each
    (["The sum is 4", "The sum is five", "The sum"], ["The sum is 4", "five", ""]),
    # An app that streams bytes as text sends half a character first. Others show a cursor.
    (["Caf\ufffd", "Caf\u00e9 \ufffd\ufffd\ufffd", "Caf\u00e9 \U0001f600."],
     ["Caf", "\u00e9 ", "\U0001f600."]),
    (["\u4f60", "\ufffd" * 5, "\u4f60\u597d"], ["\u4f60", "", "\u597d"]),  # all bytes again
    (["The\u258c", "The area\u258c", "The area is\u258d", "The area is 6."],
     ["The", " area", " is", " 6."]),
    (["\ufffd", "\u258c", "word"], ["", "", "word"]),
    (["a \ufffd b", "a \ufffd b!"], ["a \ufffd b", "!"]),
    (["\ud83d", "\U0001f600"], ["", "\U0001f600"]),  # JavaScript cuts strings there
]


def test_what_can_only_be_provisional_is_held_back():
    for texts, chunks in GROWN:
        growth = Growth()
        found = [growth.next(each, is_last=each is texts[-1]) for each in texts]
        assert found == chunks, texts


async def test_what_was_held_back_comes_at_the_end(provider, tmp_path):
    """The text has it all the time. It comes before an error, and after a cancel too."""
    half = "Caf\ufffd"
    for last, how in [(half, "finished"), ({"raise": "broken"}, "failed"), ("...", "cancelled")]:
        chunks, read_on = [], tmp_path / how
        stream = provider.ask(script(half, {"until": str(read_on)}, last))
        with suppress(ResponseError):
            async for chunk in stream:
                chunks.append(chunk)
                if how == "cancelled":
                    stream.cancel()
                read_on.touch()
        assert chunks == ["Caf", "\ufffd"] and stream.status.stage == how


async def test_a_finished_answer_stays(provider):
    stream = provider.ask("Hi", PNG)
    assert isinstance(stream, AnswerStream)
    assert repr(stream).startswith("<AnswerStream, not asked yet. Use `await stream.read()`")
    assert await stream.read() == "You asked: Hi"
    stream.cancel()
    await stream.aclose()
    assert list(stream.iterate()) == await read(stream) == []
    assert await stream.read() == "You asked: Hi" and stream.picture.read() == PNG
    assert repr(stream) == "<AnswerStream finished, 13 characters>"


async def test_the_answer_is_cut_at_max_chars(provider, space):
    prompt = script("start", 0.2, {"grow": 5000}, *["", 0.1] * 40)
    stream = provider.ask(prompt, max_chars=1000)
    with pytest.raises(ResponseError, match="max_chars=1000") as caught:
        await stream.read()
    assert len(caught.value.text) == len(stream.text) == 1000
    await space.wait_job_gone(prompt)


async def test_the_last_status_comes_after_the_last_chunk(provider):
    order = []
    stream = provider.ask(
        script("a", 0.1, "ab"), on_status=lambda status: order.append(status.stage))
    async for chunk in stream:
        order.append(chunk)
        await wait_until_async(lambda: stream.status.stage == "finished")
    assert order[-1] == "finished" and order.count("finished") == 1


async def test_timeout_while_words_arrive(endless, space, monkeypatch):
    clock = Clock(monkeypatch)
    for how in ("async", "sync"):
        prompt = f"timeout {how}"
        stream = endless.ask(prompt, timeout=100)
        chunks = stream.iterate() if how == "sync" else None
        await anext(stream) if how == "async" else next(chunks)
        clock.pass_time(101)
        with pytest.raises(ResponseTimeoutError) as caught:
            await stream.read() if how == "async" else list(chunks)
        assert caught.value.text == stream.text != "" and stream.status.stage == "failed"
        await space.wait_job_gone(prompt)


def test_timeout_of_a_synchronous_reader_while_nothing_arrives(provider, tmp_path):
    over = tmp_path / "over"
    with pytest.raises(ResponseTimeoutError):
        list(provider.ask(script("a", {"until": str(over)}), timeout=0.5).iterate())
    over.touch()


# Leaving


async def break_out(make):
    async with make() as stream:
        async for _ in stream:
            break
    assert stream.status.stage == "cancelled" and await read(stream) == []
    for _ in range(2):
        with pytest.raises(ResponseError, match=f"after {len(stream.text)} char") as caught:
            await stream.read()
        assert caught.value.text == stream.text != ""


async def close(make):
    stream = make()
    await anext(stream)
    await stream.aclose()
    await stream.aclose()


async def throw(make):
    stream = make()
    await anext(stream)
    with pytest.raises(LookupError):
        await stream.athrow(LookupError)


async def cancel_the_task(make):
    stream, outcomes = make(), []

    async def reader():
        try:
            await stream.read()
        except BaseException as error:
            outcomes.append(type(error))
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        await wait_until_async(lambda: stream.text)
        group.cancel_scope.cancel()
    assert outcomes == [anyio.get_cancelled_exc_class()]


async def drop(make):
    with pytest.warns(ResourceWarning, match="unclosed <AnswerStream"):
        await anext(make())
        gc.collect()


async def drop_where_warnings_are_errors(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await anext(make())
        gc.collect()


@both
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_leaving_cancels_the_job(endless, space, anyio_backend_name):
    for leave in (
            break_out, close, throw, cancel_the_task, drop, drop_where_warnings_are_errors):
        prompt = f"{leave.__name__} {anyio_backend_name}"
        await leave(lambda: endless.ask(prompt))
        await space.wait_job_gone(prompt)


async def test_leaving_the_synchronous_iteration_cancels_the_job(endless, space):
    for how in ("close", "break", "throw"):
        stream = endless.ask(f"sync {how}")
        chunks = stream.iterate()
        for _ in chunks:
            break
        if how == "throw":
            with pytest.raises(LookupError):
                chunks.throw(LookupError)
        elif how == "close":
            chunks.close()
        del chunks
        assert stream.status.stage == "cancelled"
        await space.wait_job_gone(f"sync {how}")


@both
async def test_an_end_that_comes_while_on_status_runs_is_noticed(provider):
    """on_status runs after the reader has looked at the answer, and before it waits for more."""
    def wait_for_the_end(status):
        wait_until(lambda: not call_threads())

    with anyio.fail_after(2 * BOUND):
        stream = provider.ask("Hi", on_status=wait_for_the_end)
        assert await stream.read() == "You asked: Hi"
        stream = provider.ask("Hi", on_status=wait_for_the_end)
        await anyio.to_thread.run_sync(list, stream, abandon_on_cancel=True)
        assert stream.text == "You asked: Hi"


@both
async def test_a_reader_looks_only_when_there_is_news(monkeypatch, provider):
    looks, look = [], Growth.next

    def count_look(*arguments, **options):
        looks.append(arguments)
        return look(*arguments, **options)

    monkeypatch.setattr(Growth, "next", count_look)
    assert await provider.ask(script("a", 0.2, "ab")).read() == "ab"
    await anyio.to_thread.run_sync(list, provider.ask(script("a", 0.2, "ab")))
    assert len(looks) < 40


async def test_an_error_in_on_status_is_raised_and_cancels_the_job(endless, space):
    def fail(status):
        if status.stage == "streaming":
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await endless.ask("on_status", on_status=fail).read()
    await space.wait_job_gone("on_status")


async def test_a_question_that_is_never_asked_warns(provider):
    with pytest.warns(RuntimeWarning, match="never asked: .*await stream.read()"):
        provider.ask("forgotten")
        gc.collect()
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
async def test_an_iteration_that_is_ended_elsewhere_stops_quietly(
        endless, provider, space, tmp_path, anyio_backend_name):
    for number, how in enumerate([*WAYS, *WAYS, *WAYS]):
        silent, prompt, chunks = number < len(WAYS), f"{how} {anyio_backend_name} {number}", []
        over = tmp_path / how
        silence = script("a", {"until": str(over)})
        stream = provider.ask(silence) if silent else endless.ask(prompt)

        async def iterate():
            async for chunk in stream:
                chunks.append(chunk)

        def iterate_in_a_thread():
            for chunk in stream:
                chunks.append(chunk)

        with anyio.fail_after(BOUND):
            async with anyio.create_task_group() as group:
                if number < 2 * len(WAYS):
                    group.start_soon(iterate)
                else:
                    group.start_soon(anyio.to_thread.run_sync, iterate_in_a_thread)
                await wait_until_async(lambda: chunks)
                await stop_by(how, stream)
        assert stream.status.stage == "cancelled" and "".join(chunks) == stream.text
        with pytest.raises(ResponseError, match="cancelled after"):
            await stream.read()
        over.touch()
        if not silent:
            await space.wait_job_gone(prompt)


async def test_an_unstarted_stream_that_was_ended_asks_nothing(provider, space):
    for how in WAYS[:2]:
        stream = provider.ask("unstarted")
        await stop_by(how, stream)
        assert list(stream.iterate()) == [] and await read(stream) == []
        with pytest.raises(ResponseError, match="cancelled after 0 characters"):
            await stream.read()
    assert not space.log("asked", prompt="unstarted")


@both
async def test_steps_after_the_end_let_other_tasks_run_and_can_be_cancelled(provider):
    finished, cancelled = provider.ask("ended"), provider.ask("never asked")
    await finished.read()
    cancelled.cancel()
    turns = []

    async def count_turns():
        while True:
            turns.append(1)
            await anyio.lowlevel.checkpoint()

    for stream in (finished, cancelled):
        for step in (stream.read, lambda: anext(stream, None), stream.aclose,
                     lambda: stream.__aexit__(None, None, None)):
            async with anyio.create_task_group() as group:
                group.start_soon(count_turns)
                await anyio.lowlevel.checkpoint()
                before = len(turns)
                for _ in range(10):
                    with suppress(ResponseError):
                        await step()
                assert len(turns) >= before + 9
                group.cancel_scope.cancel()
                with pytest.raises(anyio.get_cancelled_exc_class()):
                    await step()
    assert (finished.status.stage, cancelled.status.stage) == ("finished", "cancelled")


@both
async def test_an_error_is_not_lost_in_a_scope_that_is_cancelled(provider):
    with pytest.raises(LookupError), anyio.CancelScope() as scope:
        async with provider.ask("ended") as stream:
            await stream.read()
            scope.cancel()
            raise LookupError


# Other ways to read


@both
def test_a_stream_outlives_its_event_loop(endless, space, anyio_backend_name):
    """It is read on in other ones, which are shut down or only closed, and then without one."""
    space.require_gradio(5, 50)
    prompt = f"loops {anyio_backend_name}"
    stream = endless.ask(prompt)
    chunks = [anyio.run(anext, stream, backend=anyio_backend_name) for _ in range(2)]
    if anyio_backend_name == "asyncio":
        loop = asyncio.new_event_loop()
        chunks.append(loop.run_until_complete(anext(stream)))
        loop.close()
    steps = len(space.log("step", prompt=prompt))
    wait_until(lambda: len(space.log("step", prompt=prompt)) > steps)
    iterator = iter(stream)
    chunks.append(next(iterator))
    stream.cancel()
    assert "".join([*chunks, *iterator]) == stream.text
    anyio.run(space.wait_job_gone, prompt)


@both
async def test_a_second_reader_is_refused(endless):
    first, second = endless.ask("reader in a task"), endless.ask("synchronous reader")
    async with anyio.create_task_group() as group:
        group.start_soon(first.read)
        await wait_until_async(lambda: first.text)
        iterator = second.iterate()
        next(iterator)
        for stream in (first, second):
            with pytest.raises(RuntimeError, match="is being read already"):
                next(stream.iterate())
            with pytest.raises(RuntimeError, match="is being read already"):
                await stream.read()
        with closing(second.iterate()) as refused, pytest.raises(RuntimeError):
            next(refused)
        next(iterator)  # the first reader is not disturbed
        iterator.close()
        group.cancel_scope.cancel()
    assert first.status.stage == "cancelled"


@both
async def test_leaving_in_the_queue(narrow_space, anyio_backend_name):
    async def wait_in_the_queue(prompt, queued, **options):
        def on_status(status):
            if status.stage == "queued" and status.position:
                queued.set()

        with suppress(ResponseTimeoutError):
            await ask(prompt, on_status=on_status, url=narrow_space.url, **options).read()
        queued.set()  # a busy machine may need more than the timeout

    async with ask(script(*["a", 0.1] * 600), url=narrow_space.url) as first:
        await anext(first)
        prompts = [f"queued {anyio_backend_name} {how}" for how in ("task", "timeout")]
        for prompt, timeout in zip(prompts, (None, 1)):
            queued = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: wait_in_the_queue(prompt, queued, timeout=timeout))
                await queued.wait()
                if not timeout:
                    group.cancel_scope.cancel()
    assert await ask("next", url=narrow_space.url, timeout=BOUND).read() == "You asked: next"
    assert not [prompt for prompt in prompts if narrow_space.log("asked", prompt=prompt)]
    wait_until(lambda: not call_threads() and not close_idle_sockets_to(narrow_space.port))


# A reader that leaves while nothing arrives


async def test_leaving_while_nothing_arrives(space, monkeypatch):
    set_bounds(monkeypatch, join_patience=0.5)
    for path, timeout in [("/config", 0.5), ("/config", None), ("/upload", None),
                          ("/queue/join", None), ("/queue/data", 0.5)]:
        with Relay(space.port) as relay:
            relay.stall_at(path)
            options = {"timeout": timeout, "read_timeout": 2 * BOUND}
            stream = ask("nothing arrives", PNG, url=relay.url, **options)
            if timeout:
                with pytest.raises(ResponseTimeoutError, match="within timeout=0.5 s"):
                    await stream.read()
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(stream.read)
                    await wait_until_async(relay.stalled.is_set)
                    group.cancel_scope.cancel()
            # While the relay is still silent:
            await wait_until_async(lambda: not call_threads() and not sockets_to(relay.port))


async def test_a_task_that_is_cancelled_twice(relay):
    relay.stall_at("/queue/data")
    stream = ask("cancelled twice", PNG, url=relay.url)
    task = asyncio.create_task(stream.read())
    await wait_until_async(relay.stalled.is_set)
    task.cancel()
    await wait_until_async(lambda: stream.status.stage == "cancelled")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await calls_ended()


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


class Text(Qwen_QVQ_72B):
    api_endpoint = "/text"  # a Markdown output would change the texts


@given(texts=lists(text(max_size=8), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_sequence_of_outputs_ends_with_the_final_text(space, texts):
    stream = Text.ask(script(*texts), url=space.url)
    list(stream.iterate())
    assert stream.text == texts[-1]
    growing = list(accumulate(texts))
    stream = Text.ask(script(*growing), url=space.url)
    assert "".join(stream.iterate()) == stream.text == growing[-1]
