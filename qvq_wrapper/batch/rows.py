"""Gives the rows of any iterable one at a time, without holding up the event loop."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint, current_token

Result = TypeVar("Result")

READ_AHEAD = 0.01  # seconds that one step of a thread reads; rows used up in that time are many


@dataclass
class Row:
    """One question.

    Attributes:
        place: where it was found, for messages: ``line 7``.
        columns: the row as it was given.
        folder: the folder that a relative path in the column ``image`` starts from.
        error: why the row cannot be asked, or None.
        plain: the columns as JSON can hold them, and the key, where there is an output file.
        attempts: how often the question has been asked.
        strikes: how often it failed while the Space answered others; see `ask_many`.
    """

    place: str
    columns: Any
    folder: Path | None = None
    error: Exception | None = None
    plain: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    attempts: int = 0
    strikes: int = 0
    failed_at: int | None = None

    def check(self) -> None:
        """Set ``error`` if the row is no question."""
        if self.error:
            return
        if not isinstance(self.columns, Mapping):
            kind = type(self.columns).__name__
            self.error = TypeError(f"a question must be a dict with a prompt, not {kind}")
        elif missing(self.columns.get("prompt")) and missing(self.columns.get("messages")):
            self.error = ValueError("the question has neither prompt nor messages")

    def question(self) -> dict[str, Any]:
        """Return the columns to ask with: paths start from the file's folder."""
        columns, image = dict(self.columns), self.columns.get("image")
        if self.folder and isinstance(image, str) and image:
            if not re.match(r"https?://|data:", image, re.I):
                columns["image"] = str(self.folder / image)
        return columns


def missing(value: Any) -> bool:
    """Tell whether a cell is empty: None, or pandas' NaN, NA and NaT."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _start_thread(function: Callable[[], object]) -> None:
    """Start a daemon thread: it does not hold up the interpreter's exit, as a pool's would."""
    run = copy_context().run
    threading.Thread(target=run, args=(function,), name="qvq_wrapper rows", daemon=True).start()


def _waker(event: anyio.Event) -> Callable[[], None]:
    """Return a function that sets the event, for other threads."""
    token: Any = current_token().native_token
    schedule = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon

    def wake() -> None:
        with suppress(RuntimeError):  # the event loop is closed
            schedule(event.set)

    return wake


async def run_in_thread(function: Callable[[], Result]) -> Result:
    """Run a function that may block."""
    done, future = anyio.Event(), Future[Result]()
    wake = _waker(done)

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        wake()

    _start_thread(run)
    await done.wait()
    return future.result()


class Rows:
    """Gives one row after the other. Reads only as many ahead as are used up in 10 ms.

    A synchronous iterable may block, so a thread reads it.

    Args:
        accept: tells whether a row is wanted. It is called in the thread.
        limit: the number of rows to give, or None.
    """

    def __init__(
        self, questions: AsyncIterable[Any] | Iterable[Any],
        accept: Callable[[Row], bool] = lambda row: True, limit: int | None = None,
    ) -> None:
        self._async = aiter(questions) if isinstance(questions, AsyncIterable) else None
        self._iterator = iter(()) if isinstance(questions, AsyncIterable) else iter(questions)
        self._accept = accept
        self._left = math.inf if limit is None else limit
        self._ready: deque[Row] = deque()
        self._lock = anyio.Lock(fast_acquire=True)
        self._count, self._size, self._last_step = 0, 1, 0.0
        self._thread_runs = False
        self._wake: Callable[[], None]
        self._failure: Exception | None = None
        self.ended = False

    async def next(self) -> Row | None:
        """Return the next row, or None after the last one.

        Raises:
            Exception: what the iterable raised, after the rows before it.
        """
        if not self._ready:
            async with self._lock:
                while not self._ready and not self.ended:
                    await self._step()
        return self._ready.popleft() if self._ready else None

    async def _step(self) -> None:
        if self._failure:
            raise self._failure
        if self._left <= 0:
            self.ended = True
        elif self._async is not None:
            await checkpoint()  # gives other tasks a turn, however many rows are skipped
            try:
                self._take(await anext(self._async))
            except StopAsyncIteration:
                self.ended = True
        else:
            news = anyio.Event()
            self._wake = _waker(news)
            if not self._thread_runs:
                now = time.monotonic()
                self._size = min(2 * self._size, 256) if now - self._last_step < READ_AHEAD else 1
                self._last_step, self._thread_runs = now, True
                _start_thread(self._read)
            if not self._ready:
                await news.wait()

    def _read(self) -> None:
        end, count = time.monotonic() + READ_AHEAD, 0
        try:
            while count < self._size and self._left > 0 and time.monotonic() < end:
                if self._take(next(self._iterator)):
                    count += 1
                    if len(self._ready) == 1:  # the next row may take its time
                        self._wake()
        except StopIteration:
            self.ended = True
        except Exception as error:
            self._failure = error
        self._thread_runs = False
        self._wake()

    def _take(self, item: Any) -> bool:
        self._count += 1
        row = item if isinstance(item, Row) else Row(f"row {self._count}", item)
        row.check()
        accepted = self._accept(row)
        if accepted:
            self._left -= 1
            self._ready.append(row)
        return accepted
