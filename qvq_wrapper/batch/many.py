"""The two functions that ask many questions: one yields the results, one writes them to a file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.lowlevel import current_token

from ..base import hide_arguments
from ..question.options import Options, count
from .answers import AnswerFile
from .keys import Keys
from .progress import Bar, Summary
from .read import Source
from .rows import Row, Rows, source_of
from .run import Ask, Result, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

CLEANUP = 3.0  # seconds that the end of a run waits for the answers under way to be cancelled


@hide_arguments
def ask_many(
    questions: str | os.PathLike[str] | Iterable[Any] | AsyncIterable[Any], *,
    prompt: str | None = None, prompt_column: str = "prompt", image_column: str = "image",
    encoding: str | None = None, separator: str | None = None, concurrency: int = 4,
    ask: Ask | None = None, patience: float = 900.0, model: str = "", api_key: str | None = None,
    proxy: str | None = None, **options: Unpack[Options],
) -> AsyncGenerator[Result, None]:
    """Ask many questions and yield each result as soon as it is there, in no promised order.

    A result is the question's dict with ``answer`` and ``asked`` (where it came from) or ``error``
    (a dict of ``kind``, ``message`` and ``retryable``), ``seconds`` and ``attempts``. A column of
    yours with such a name comes back as ``given_answer`` and so on. Questions are read as they are
    needed; the iterable may be endless. Leave early with
    ``async with contextlib.aclosing(ask_many(...)) as results``: that cancels the answers under
    way.

    Args:
        questions: dicts with ``prompt`` (or ``messages`` in OpenAI's form), ``image`` (whatever
            ``qvq_wrapper.ask`` takes) and any other columns; a DataFrame; the path of a JSONL, CSV
            or TSV file. A synchronous iterable is read in a thread, as it may block.
        prompt: the question about each picture of a folder, or of an iterable of pictures.
        prompt_column, image_column: the names of these columns, if they have others.
        encoding, separator: of a file. The default is UTF-8 (or UTF-16 with a byte order mark), and
            a comma, or a tab in a ``.tsv`` file.
        concurrency: how many questions may be under way at once.
        ask: a function from a question's dict to an awaitable text, in place of the Space. It may
            also give what ``answer_row`` does. ``on_dask(client)`` asks on a cluster.
        patience: seconds to wait for a Space that refuses questions (rate limit, quota, full queue,
            starting). A longer wait ends the run. A Space that cannot be reached gets 60 s at most.
        **options: options of ``qvq_wrapper.ask`` for every question.

    Raises:
        ValueError, TypeError: an argument cannot be used. Raised by the call itself.
        ResponseError: by iterating, when the Space cannot answer any more questions: a login
            refused, the Space gone, ``patience`` passed, one failure after the other. What goes
            wrong with a single question is in its result.

    Example::

        async for result in ask_many([{"prompt": "What is this?", "image": "a.png"}]):
            print(result.get("answer") or result["error"]["message"])
    """
    given = {"model": model, "api_key": api_key, "proxy": proxy, **options}
    run = Run(concurrency, ask, patience, given)
    source = Source(questions, prompt, prompt_column, image_column, encoding, separator)
    return _results(run, source)


@hide_arguments
def answer_file(
    questions: str | os.PathLike[str] | Iterable[Any] | AsyncIterable[Any],
    answers: str | os.PathLike[str], *, prompt: str | None = None, prompt_column: str = "prompt",
    image_column: str = "image", encoding: str | None = None, separator: str | None = None,
    concurrency: int = 4, ask: Ask | None = None, patience: float = 900.0,
    limit: int | None = None, total: int | None = None, retry_failed: bool = False,
    progress: bool | Callable[[Summary], object] = False, model: str = "",
    api_key: str | None = None, proxy: str | None = None, **options: Unpack[Options],
) -> Coroutine[Any, Any, Summary]:
    """Answer questions into a file. Started again, it goes on where it has ended.

    Each answer is appended as one line of JSON: what ``ask_many`` yields, ``asked`` (where the
    answer came from, and what tells whether a picture has changed) and ``key``. Questions that have
    an answer there are not asked again. Those that failed are, after those that were never tried.
    README.rst beside this file says what makes two rows the same question. Lines are flushed, but
    not synced: a power failure may cost the last ones. A file ``<answers>.lock`` keeps a second
    run away.

    Args:
        questions: the path of a JSONL, CSV or TSV file, in which a picture's path starts from the
            file's folder; a folder of pictures; or what ``ask_many`` takes.
        answers: the path of the file for the answers, such as ``answers.jsonl``.
        prompt, prompt_column, image_column, encoding, separator: as in ``ask_many``.
        concurrency, ask, patience: as in ``ask_many``.
        limit: the number of questions to ask in this run. None is no limit.
        total: the number of questions, for the progress, where an iterable cannot tell it.
        retry_failed: ask only the questions that have failed in earlier runs.
        progress: True shows a bar (``tqdm``). A function is called with the Summary after each
            result.
        **options: options of ``qvq_wrapper.ask`` for every question.

    Raises:
        ValueError, TypeError: an argument cannot be used. Raised by the call itself.
        ValueError: when awaited: two rows have the same id but different questions, the questions
            cannot be read, or the answer file holds something else.
        BlockingIOError: another run writes to this file.
        OSError: a file cannot be read or written, or someone else has changed the answers
            meanwhile. Answers written before are safe, as far as the file still has them.
        ResponseError: the run has ended early, as in ``ask_many``.

    Example::

        summary = await answer_file("questions.jsonl", "answers.jsonl", concurrency=8)
        print(summary)
    """
    limit = None if limit is None else count("limit", limit, 0)
    total = None if total is None else count("total", total, 0)
    given = {"model": model, "api_key": api_key, "proxy": proxy, **options}
    run = Run(concurrency, ask, patience, given)
    source = Source(questions, prompt, prompt_column, image_column, encoding, separator)
    is_known = ask is None or run.options.get("url")
    url = source_of(run.options)["url"] if is_known else ""
    file = AnswerFile(Path(answers).expanduser(), Keys(run.options), url, only_failed=retry_failed)
    if source.path and file.path == source.path.resolve():
        raise ValueError(f"questions and answers are the same file, {answers}")
    report = Bar() if progress is True else progress or (lambda summary: None)
    return _answer_file(run, source, file, limit, total, report)


async def _results(run: Run, source: Source) -> AsyncGenerator[Result, None]:
    """The run goes on in a task of its own, so no task group is open across a ``yield``.

    https://peps.python.org/pep-0789/
    """
    scope, finished = anyio.CancelScope(), anyio.Event()
    results, reader = anyio.create_memory_object_stream[Result](run.concurrency)
    errors: list[BaseException] = []

    async def emit(row: Row, result: Result) -> None:
        result = {**row.renamed(), **result}
        try:
            results.send_nowait(result)
        except anyio.WouldBlock:  # the reader is slow
            await results.send(result)

    async def supervise() -> None:
        try:
            with scope, results:
                items, _ = await to_thread.run_sync(source.open)
                await run.answer_all(Rows(items, source.row), emit)
        except BaseException as error:  # a system task of trio may not raise
            errors.append(error)
        finally:
            finished.set()

    task = _start_task(supervise)
    try:
        with reader, suppress(anyio.EndOfStream):
            while True:
                try:  # waiting costs a turn of the event loop
                    result = reader.receive_nowait()
                except anyio.WouldBlock:
                    result = await reader.receive()
                yield result
    finally:
        scope.cancel()
        with anyio.move_on_after(CLEANUP, shield=True):
            await finished.wait()
        del task  # asyncio keeps no strong reference to a task
    if errors:
        raise errors.pop()


def _start_task(function: Callable[[], Any]) -> object:
    """Start a task that is nobody's child. anyio has no function for that."""
    loop: Any = current_token().native_token
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.create_task(function())
    import trio

    return trio.lowlevel.spawn_system_task(function, context=copy_context())


async def _answer_file(
    run: Run, source: Source, file: AnswerFile, limit: int | None, total: int | None,
    report: Callable[[Summary], object],
) -> Summary:
    summary, start = file.summary, time.monotonic()

    def show() -> None:
        summary.seconds = time.monotonic() - start
        if limit is not None and total is not None:
            summary.total = min(total, summary.skipped + limit)
        report(summary)

    async def emit(row: Row, result: Result) -> None:
        file.write(row, result)
        summary.asked_again += max(0, row.attempts - 1)
        show()

    with file:
        await to_thread.run_sync(file.read)
        items, counted = await to_thread.run_sync(source.open)
        total = summary.total = counted if total is None else total
        show()
        try:
            rows = Rows(items, lambda item: file.accept(source.row(item)), limit)
            await run.answer_all(rows, emit)
            if limit is None:
                file.forget_old_failures()
        finally:
            show()
            if isinstance(report, Bar):
                report.close()
    return summary
