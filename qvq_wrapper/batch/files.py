"""Answers the questions of a file or an iterable into a file, and goes on where a run has ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from anyio import to_thread

from ..base import hide_arguments
from ..question.options import Options
from .answers import AnswerFile, Summary
from .keys import Keys
from .progress import Bar
from .read import count_rows, open_rows
from .rows import Row, Rows
from .run import Ask, Result, Run

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack


@hide_arguments
def answer_file(
    questions: str | os.PathLike[str] | Iterable[Any] | AsyncIterable[Any],
    answers: str | os.PathLike[str], *, prompt: str | None = None, concurrency: int = 4,
    ask: Ask | None = None, patience: float = 900.0, limit: int | None = None,
    retry_failed: bool = False, progress: bool | Callable[[Summary], object] = False,
    model: str = "", api_key: str | None = None, proxy: str | None = None,
    **options: Unpack[Options],
) -> Coroutine[Any, Any, Summary]:
    """Answer questions into a file. Started again, it goes on where it has ended.

    Each answer is appended as one line of JSON: what ``ask_many`` yields, and ``key``. Questions
    that have an answer there are not asked again; those that failed are. A question is known by its
    ``id``, or else by its prompt, its picture (the text of a path or URL, the hash of bytes) and
    the options that decide the answer. Lines are flushed, but not synced: a power failure may cost
    the last ones. A file ``<answers>.lock`` keeps a second run away.

    Args:
        questions: the path of a JSONL or CSV file, in which a picture's path starts from the file's
            folder; a folder of pictures; or what ``ask_many`` takes.
        answers: the path of the file for the answers, such as ``answers.jsonl``.
        prompt: the question about each picture of a folder.
        concurrency, ask, patience: as in ``ask_many``.
        limit: the number of questions to ask in this run. None is no limit.
        retry_failed: ask only the questions that have failed in earlier runs.
        progress: True shows a bar (``tqdm``). A function is called with the Summary after each
            result.
        **options: options of ``qvq_wrapper.ask`` for every question.

    Raises:
        ValueError, TypeError: an argument cannot be used. Raised by the call itself.
        ValueError: when awaited: two rows have the same id but different questions, or the answer
            file holds something else.
        BlockingIOError: another run writes to this file.
        OSError: a file cannot be read or written. Answers written before are safe.
        ResponseError: the run has ended early, as in ``ask_many``.

    Example::

        summary = await answer_file("questions.jsonl", "answers.jsonl", concurrency=8)
        print(summary)
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise TypeError(f"limit must be a whole number, not {type(limit).__name__}")
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be 0 or more, not {limit}")
    given = {"model": model, "api_key": api_key, "proxy": proxy, **options}
    run = Run(concurrency, ask, patience, given)
    rows = open_rows(questions, prompt)
    file = AnswerFile(Path(answers), Keys(given), only_failed=retry_failed)
    if isinstance(questions, (str, os.PathLike)) and file.path == Path(questions).resolve():
        raise ValueError(f"questions and answers are the same file, {answers}")
    report = Bar() if progress is True else progress or (lambda summary: None)
    return _answer_file(run, rows, file, limit, report, lambda: count_rows(questions, prompt))


async def _answer_file(
    run: Run, source: Any, file: AnswerFile, limit: int | None,
    report: Callable[[Summary], object], count: Callable[[], int | None],
) -> Summary:
    summary, start = file.summary, time.monotonic()

    async def emit(row: Row, result: Result) -> None:
        file.write(row.key, result)
        summary.asked_again += max(0, row.attempts - 1)
        summary.seconds = time.monotonic() - start
        report(summary)

    with file:
        await to_thread.run_sync(file.read)
        summary.total = await to_thread.run_sync(count)
        report(summary)
        rows = Rows(source, file.accept, limit)
        try:
            await run.answer_all(rows, emit)
            file.complete = rows.ended and limit is None
        finally:
            summary.seconds = time.monotonic() - start
            report(summary)
            if isinstance(report, Bar):
                report.close()
    return summary
