"""Asks the questions of any iterable, several at a time, and yields the results as they come."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import current_token

from ..base import hide_arguments
from ..question.options import Options
from .plain import own_names
from .read import Source
from .rows import Row, Rows
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
    yours with such a name comes back as ``given_answer`` and so on. Questions are read
    as they are needed; the iterable may be
    endless. Leave early with ``async with contextlib.aclosing(ask_many(...)) as results``: that
    cancels the answers under way.

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
    return _results(run, Rows(source.rows()))


async def _results(run: Run, rows: Rows) -> AsyncGenerator[Result, None]:
    """The run goes on in a task of its own, so no task group is open across a ``yield``.

    https://peps.python.org/pep-0789/
    """
    scope, finished = anyio.CancelScope(), anyio.Event()
    results: deque[Result] = deque()
    errors: list[BaseException] = []
    news, room = anyio.Event(), anyio.Event()

    async def emit(row: Row, result: Result) -> None:
        nonlocal room
        columns = own_names(row.columns) if isinstance(row.columns, Mapping) else {}
        results.append({**columns, **result})
        news.set()
        while len(results) > run.concurrency:  # the reader is slow
            room = anyio.Event() if room.is_set() else room
            await room.wait()

    async def supervise() -> None:
        try:
            with scope:
                await run.answer_all(rows, emit)
        except BaseException as error:  # a system task of trio may not raise
            errors.append(error)
        finally:
            finished.set()
            news.set()

    task = _start_task(supervise)
    try:
        while not finished.is_set() or results:
            while results:
                yield results.popleft()
                room.set()
            if not finished.is_set():
                news = anyio.Event()
                await news.wait()
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
