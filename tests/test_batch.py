"""Many questions: results, failures, the brake and the end of a run."""

import gc
import itertools
import json
import logging
import threading
import time
import tracemalloc
from contextlib import aclosing, nullcontext

import anyio
import numpy
import pytest
from batches import Asker, echo, write
from cases import each
from conftest import BOUND, PNG, script, wait_until_async
from inside import set_bounds, skip_random_waits

from qvq_wrapper import (
    AuthenticationError, RateLimitError, ResponseError, ResponseTimeoutError, SpaceConnectionError,
    SpaceUnavailableError,
)
from qvq_wrapper.batch import answer_file, answer_row, ask_many, on_dask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]
on_both = pytest.mark.backends("asyncio", "trio")
"""For tests of the tasks of a run, which each backend starts and ends in its own way."""


def questions(count):
    return [{"prompt": f"question {number}"} for number in range(count)]


async def results(rows, **options):
    return [result async for result in ask_many(rows, **options)]


async def failing_run(rows, **options):
    """Return the results of a run that ends early, and the error that ended it."""
    found = []
    with anyio.fail_after(BOUND), pytest.raises(Exception) as caught:
        async for result in ask_many(rows, **options):
            found.append(result)
    return found, caught.value


# What a result is


@on_both
async def test_answers_of_a_space(space, tmp_path):
    """A worker of any task queue gives the same by `answer_row`."""
    (tmp_path / "a.png").write_bytes(PNG)
    nan, messages = float("nan"), [{"role": "user", "content": "batch six"}]
    rows = [
        {"prompt": "batch one", "image": str(tmp_path / "a.png"), "year": 1999},
        {"prompt": "batch two", "image": PNG}, {"prompt": "batch three", "image": None},
        {"prompt": "batch four", "image": ""}, {"prompt": "batch five", "image": nan},
        {"prompt": nan, "messages": messages}]
    options = {"url": space.url, "api_name": "generate"}
    asked = {"url": f"{space.url}/", "api_name": "/generate"}
    for case, by in each([options, {"ask": lambda row: answer_row(row, **options)}]):
        found = {result["answer"]: result for result in await results(rows, **by)}
        words = ["one", "two", "three", "four", "five", "six"]
        with case:
            assert set(found) == {f"You asked: batch {word}" for word in words}
            first = found["You asked: batch one"]
            assert first["year"] == 1999 and first["attempts"] == 1 and first["asked"] == asked
            assert 0 < first["seconds"] < BOUND and space.seen("batch one")["image"] == "a.png"
            assert space.seen("batch two")["image"] and space.seen("batch three")["image"] is None
    with pytest.raises(ValueError, match="neither prompt nor messages"):
        await answer_row({"image": PNG}, url=space.url)


async def test_a_failure_is_never_an_answer(space, tmp_path):
    """A row's own failures never end a run, however often one comes."""
    missing = {"prompt": "x", "image": str(tmp_path / "no.png")}
    rows = [
        *[missing] * 12, {"image": PNG}, "no row", {"prompt": 7},
        {"prompt": None, "messages": float("nan")}, {"prompt": "batch fine"},
        {"prompt": script("half", 0.1, {"raise": "too dark"})}]
    found = await results(rows, url=space.url)
    answers = [result["answer"] for result in found if "answer" in result]
    errors = [result["error"] for result in found if "error" in result]
    assert answers == ["You asked: batch fine"] and len(errors) == len(rows) - 1
    assert {"kind": "ResponseError", "message": "too dark", "retryable": False} in errors
    messages = "\n".join(error["message"] for error in errors)
    for expected in (
        "row 12: the picture", "row 13: the question has neither prompt nor messages",
        "row 14: a question must be a dict with a prompt, not str",
        "row 15: prompt must be a str, not int", "row 16: the question has neither",
    ):
        assert expected in messages


async def test_columns_with_the_names_of_a_result_are_kept():
    """A data set has often a column `answer`, with the right one."""
    row = {"prompt": "a", "answer": "six", "error": None, "seconds": 1}
    [result] = await results([row], ask=echo)
    assert result["answer"] == "A" and "error" not in result
    assert result["given_answer"] == "six" and result["given_seconds"] == 1
    assert row == {"prompt": "a", "answer": "six", "error": None, "seconds": 1}


async def test_never_more_at_once_than_concurrency():
    """Numbers may be numpy's."""
    ask, options = Asker(seconds=0.001), {"concurrency": numpy.int64(3), "patience": float("inf")}
    assert len(await results(questions(30), ask=ask, **options)) == 30
    assert ask.most_at_once == 3


async def test_wrong_arguments_are_refused_at_the_call(tmp_path, monkeypatch):
    """No file is made."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "q.jsonl", [{"prompt": "a"}])
    (tmp_path / "scans").mkdir()
    files = set(tmp_path.iterdir())
    of_both = [
        ({"concurrency": 0}, ValueError), ({"concurrency": 1.5}, TypeError),
        ({"concurrency": True}, TypeError), ({"patience": -1}, ValueError),
        ({"patience": float("nan")}, ValueError), ({"ask": "me"}, TypeError),
        ({"ask": echo, "url": "a/b"}, TypeError), ({"url": "nonsense"}, ValueError),
        ({"colour": "red"}, TypeError), ({"questions": 5}, TypeError),
        ({"questions": {"prompt": "a"}}, TypeError), ({"questions": "no.jsonl"}, FileNotFoundError),
        ({"questions": __file__}, ValueError), ({"questions": "scans"}, ValueError),
        ({"questions": "q.jsonl", "prompt": "a folder's"}, ValueError),
        ({"questions": questions(1), "encoding": "latin-1"}, ValueError)]
    of_a_file = [
        ({"limit": -1}, ValueError), ({"limit": True}, TypeError), ({"total": "2"}, TypeError),
        ({"answers": "answers.csv"}, ValueError), ({"answers": "."}, ValueError),
        ({"answers": "q.jsonl"}, ValueError), ({"answers": "no/a.jsonl"}, FileNotFoundError)]
    for case, (wrong, error) in each(of_both + of_a_file):
        arguments = {"questions": "q.jsonl", "answers": "a.jsonl", **wrong}
        first, answers = arguments.pop("questions"), arguments.pop("answers")
        with case:
            with pytest.raises(error):
                answer_file(first, answers, **arguments)
            assert set(tmp_path.iterdir()) == files
            if (wrong, error) in of_both:
                with pytest.raises(error):
                    ask_many(first, **arguments)


async def test_a_task_for_a_cluster_carries_no_secret():
    for case, option in each([
        {"api_key": "secret"}, {"auth": ("user", "secret")}, {"headers": {"A": "secret"}},
        {"proxy": "http://user:secret@127.0.0.1"}, {"verify": False}, {"colour": "secret"},
    ]):
        words = rf"^{next(iter(option))} cannot be (?!.*secret)"
        with case, pytest.raises(ValueError, match=words):
            on_dask(None, **option)


# Rows


async def test_an_endless_iterable_is_read_as_needed():
    for is_async in (False, True):
        read = itertools.count()

        def endless():
            return ({"prompt": str(number)} for number in read)

        async def asynchronous():
            for row in endless():
                await anyio.sleep(0)
                yield row

        rows = asynchronous() if is_async else endless()
        async with aclosing(ask_many(rows, ask=Asker(seconds=0.001))) as stream:
            for _ in range(20):
                assert "answer" in await anext(stream)
        assert next(read) < 60


async def test_a_blocking_iterable_does_not_hold_up_the_event_loop():
    """Nor does it hold up the end of a run that is left."""
    turn, stop, ended = threading.Event(), threading.Event(), []

    def slow():
        yield {"prompt": "first"}
        turn.wait(BOUND)  # until the event loop has shown that it runs
        yield {"prompt": "second"}
        stop.wait(BOUND)
        ended.append(True)

    async with aclosing(ask_many(slow(), ask=echo)) as stream:
        assert (await anext(stream))["answer"] == "FIRST"
        turn.set()
        assert (await anext(stream))["answer"] == "SECOND"
        with anyio.move_on_after(0.05):
            await anext(stream)
    assert not ended
    stop.set()


@on_both
async def test_an_error_of_the_iterable_ends_the_run_after_the_rows_before_it():
    def broken():
        yield from questions(3)
        raise OSError("the disk is gone")

    found, error = await failing_run(broken(), ask=echo)
    assert len(found) == 3 and isinstance(error, OSError)


async def test_memory_does_not_grow_with_the_number_of_rows():
    async def peak(count):
        gc.collect()
        tracemalloc.start()
        async for _ in ask_many(({"prompt": str(n)} for n in range(count)), ask=echo):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    await peak(100)
    assert await peak(4000) < await peak(400) + 100_000


# The end of a run


@on_both
async def test_a_reader_that_leaves_or_is_cancelled_cancels_the_answers_under_way():
    """A cancellation stays one. Each step can be made in another task (PEP 789)."""
    for is_cancelled in (False, True):
        ask, found = Asker(seconds=1000), []

        async def first_at_once(row):
            return await (echo if row["prompt"] == "question 0" else ask)(row)

        async def step():
            found.append((await anext(stream))["answer"])

        async def cancel(scope):
            await anyio.wait_all_tasks_blocked()
            scope.cancel()

        async with aclosing(ask_many(questions(10), ask=first_at_once)) as stream:
            async with anyio.create_task_group() as group:
                group.start_soon(step)
            await wait_until_async(lambda: ask.at_once == 4)
            if is_cancelled:
                async with anyio.create_task_group() as group:
                    group.start_soon(cancel, group.cancel_scope)
                    await step()
        assert found == ["QUESTION 0"] and (ask.at_once, len(ask.asked)) == (0, 4)


async def test_a_question_that_is_cancelled_by_others_is_not_lost_silently():
    import asyncio

    async def ask(row):
        if row["prompt"] == "question 1":
            raise asyncio.CancelledError
        return "fine"

    found, error = await failing_run(questions(3), ask=ask)
    assert len(found) < 3 and "was cancelled by someone else" in str(error)


# Errors about the Space


async def test_a_space_that_goes_away_ends_the_run(monkeypatch):
    """No question fails, and the rest is left for the next run."""
    skip_random_waits(monkeypatch)
    set_bounds(monkeypatch, unreachable=0.1)
    gone = SpaceConnectionError("could not be reached", retryable=True)
    found, error = await failing_run(questions(50), ask=Asker(*["fine"] * 10, *[gone] * 10_000))
    assert error is gone and [result["answer"] for result in found] == ["fine"] * 10


async def test_a_space_that_is_away_for_a_while(monkeypatch):
    """Questions are asked again, as often as it takes, and one finds out whether it is back."""
    skip_random_waits(monkeypatch)
    at_once, gone = [], SpaceConnectionError("gone", retryable=True)
    ask = Asker(*["fine"] * 6, *[gone] * 30, seconds=0.001)

    async def ask_and_count(row):
        at_once.append(ask.at_once + 1)
        return await ask(row)

    found = await results(questions(20), ask=ask_and_count)
    assert len(found) == 20 and all("answer" in result for result in found)
    assert len(ask.asked) == 50 and set(at_once[12:35]) == {1} and max(at_once[36:]) == 4


async def test_an_error_that_cannot_pass_ends_the_run_at_once():
    for case, error in each([
        AuthenticationError("refused"), SpaceUnavailableError("no such endpoint"),
    ]):
        with case:
            ask = Asker(*[error] * 4)
            found, raised = await failing_run(questions(100), ask=ask, concurrency=4)
            assert raised is error and found == []


async def test_a_question_that_breaks_the_connection_each_time_does_not_end_the_run(monkeypatch):
    """It fails, and the others are answered."""
    skip_random_waits(monkeypatch)

    async def ask(row):
        await anyio.sleep(0)
        if row["prompt"] == "question 1":
            raise SpaceConnectionError("broke off", retryable=True)
        return "fine"

    found = await results(questions(8), ask=ask, concurrency=1)
    failed = [result for result in found if "error" in result]
    assert len(found) == 8 and [each["prompt"] for each in failed] == ["question 1"]
    assert failed[0]["attempts"] == 3


class Odd(Exception):
    """Says what is no text. Python then raises a TypeError."""

    def __str__(self):
        return self.args[0]


async def test_the_same_error_again_and_again_ends_the_run():
    """A bug in `ask`, a broken app, or a Space that never answers in time.

    Numbers and quoted words do not make another error. Errors of the rows do not end a run, nor
    do different ones, nor those with answers between them.
    """
    for case, (outcomes, concurrency, kind, asked) in each([
        ([KeyError("promt")], 2, KeyError, 10), ([7], 1, TypeError, 10),
        ([ResponseTimeoutError("silent")], 5, ResponseTimeoutError, 10),
        ([TimeoutError()], 6, TimeoutError, 12),
        ([ResponseError("the app is broken")], 16, ResponseError, 32),
        ([ResponseError(f"no '{'x' * n}' at 0x{n}") for n in range(99)], 1, ResponseError, 10),
        ([ValueError("a bad row")], 1, None, 99), ([Odd(404), "fine"], 1, None, 99),
        ([ResponseError(f"{'x' * n}") for n in range(99)], 1, None, 99),
        ([ResponseError("too dark") if n % 9 else "fine" for n in range(99)], 1, None, 99),
    ]):
        with case:
            ask, found = Asker(*outcomes * 99), []
            with anyio.fail_after(BOUND), pytest.raises(kind) if kind else nullcontext():
                async for result in ask_many(questions(99), ask=ask, concurrency=concurrency):
                    found.append(result)
            assert len(found) == len(ask.asked) == asked


async def test_an_app_that_always_fails_ends_the_run(space, tmp_path):
    """The next run takes rows that were never tried."""
    rows = [{"prompt": script({"raise": f"out of memory: {n} 'MB'"})} for n in range(60)]
    for run in (1, 2):
        with pytest.raises(ResponseError, match="out of memory"):
            await answer_file(rows, tmp_path / "a.jsonl", url=space.url, concurrency=6)
        asked = [entry["prompt"] for entry in space.log("asked") if "of memory" in entry["prompt"]]
        assert len(asked) == len(set(asked)) == run * 2 * 6
    errors = [json.loads(line)["error"] for line in (tmp_path / "a.jsonl").open()]
    assert len(errors) == 24 and all("out of memory" in each["message"] for each in errors)


# The brake


async def test_a_short_queue(start_space):
    """Eight ask, three have a place. Each question is answered, without a storm of attempts."""
    with start_space("--queue", 2, "--at-once", 1, "--door", 10**6, 1) as space:
        rows = [{"prompt": script(0.02, str(number))} for number in range(16)]
        found = await results(rows, url=space.url, concurrency=8)
        assert sorted(result["answer"] for result in found) == sorted(map(str, range(16)))
        assert len(space.log("asked")) == 16 and len(space.log("join")) < 16 + 20


async def test_retry_after_is_respected_by_all(start_space):
    with start_space("--door", 5, 2) as space:
        rows = [{"prompt": f"door {number}"} for number in range(10)]
        found = await results(rows, url=space.url, concurrency=8)
        assert len(found) == 10 and all("answer" in result for result in found)
        assert len(space.log("asked")) == 10
        assert 1 <= len(space.log("join", status=429)) <= 2 * 8


async def test_a_quota_is_waited_for_once_and_announced_once(caplog, monkeypatch):
    set_bounds(monkeypatch, worth_saying=0.1)
    quota = [RateLimitError("quota used up", retry_after=0.3, retryable=True) for _ in range(4)]
    ask = Asker(*quota, seconds=0.01)
    with caplog.at_level(logging.WARNING, "qvq_wrapper"):
        start = time.monotonic()
        found = await results(questions(20), ask=ask, concurrency=4)
    assert len(found) == 20 and len(ask.asked) == 24
    assert time.monotonic() - start >= 0.3
    assert caplog.messages == ["waiting 0 s: quota used up"]


async def test_answers_under_way_arrive_after_the_end():
    """They may have cost minutes."""
    under_way = []

    async def ask(row):
        under_way.append(row)
        while len(under_way) < 4:
            await anyio.sleep(0.001)
        if row["prompt"] == "question 0":
            raise RateLimitError("quota used up", retry_after=1000)
        await anyio.sleep(0.05)
        return "fine"

    found, error = await failing_run(questions(20), ask=ask, concurrency=4)
    assert len(found) == 3 and isinstance(error, RateLimitError)


async def test_the_brake_lets_go_again():
    full = [RateLimitError("full", retry_after=0.05, retryable=True) for _ in range(8)]
    ask, at_once = Asker(*full, seconds=0.005), []

    async def ask_and_count(row):
        if not ask.outcomes:  # the refusals are over
            at_once.append(ask.at_once + 1)
        return await ask(row)

    assert len(await results(questions(200), ask=ask_and_count, concurrency=8)) == 200
    assert len(ask.asked) == 208 and at_once[0] < 8 and max(at_once) == 8
