"""Answers the questions of a file or an iterable into a file, and goes on where a run has ended."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from ..base import hide_arguments
from ..question.options import Options, count
from .answers import AnswerFile
from .asking import source_of
from .keys import Keys
from .progress import Bar, Summary
from .read import Source
from .rows import Row, Rows
from .run import Ask, Result, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack


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
    if source.path and file.file.path == source.path.resolve():
        raise ValueError(f"questions and answers are the same file, {answers}")
    report = Bar() if progress is True else progress or (lambda summary: None)
    return _answer_file(run, source, file, limit, total, report)


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
        counted = await to_thread.run_sync(source.count)
        total = summary.total = counted if total is None else total
        show()
        rows = Rows(source.rows(), file.accept, limit)
        try:
            await run.answer_all(rows, emit)
            file.complete = rows.ended and limit is None
        finally:
            show()
            if isinstance(report, Bar):
                report.close()
    return summary
