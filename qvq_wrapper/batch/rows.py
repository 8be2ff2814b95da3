"""One question, and a reader that gives the questions of any iterable one at a time."""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import checkpoint, current_token

READ_AHEAD = 32  # rows; each may hold a picture


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


class Rows:
    """Gives one row after the other, and reads only a few ahead.

    A synchronous iterable may block, so a thread reads it: a daemon, which does not hold up the
    interpreter's exit.

    Args:
        accept: tells whether a row is wanted. It is called in the thread.
        limit: the number of rows to give, or None.

    Attributes:
        ended: all rows have been read.
        failure: what the iterable raised. The rows before it are given all the same.
    """

    def __init__(
        self, questions: AsyncIterable[Any] | Iterable[Any],
        accept: Callable[[Row], bool] = lambda row: True, limit: int | None = None,
    ) -> None:
        self._async = aiter(questions) if isinstance(questions, AsyncIterable) else None
        self._iterator = iter(()) if isinstance(questions, AsyncIterable) else iter(questions)
        self._accept = accept
        self._left = math.inf if limit is None else limit
        self._count = 0
        self._closed = False
        self._ready: deque[Row] = deque()
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._thread: threading.Thread | None = None
        self._room = threading.Event()
        self._news = anyio.Event()
        self.failure: BaseException | None = None
        self.ended = False

    async def next(self) -> Row | None:
        """Return the next row, or None after the last one."""
        async with self._one_at_a_time:
            while not self._ready and not self.ended:
                await self._step()
        if self._ready:
            row = self._ready.popleft()
            if len(self._ready) < READ_AHEAD // 2 and not self._room.is_set():
                self._room.set()
            return row
        return None

    def close(self) -> None:
        """Let the thread end."""
        self._closed = True
        self._room.set()

    async def _step(self) -> None:
        if self._left <= 0:
            self.ended = True
        elif self._async is not None:
            await checkpoint()  # gives other tasks a turn, however many rows are skipped
            try:
                self._take(await anext(self._async))
            except StopAsyncIteration:
                self.ended = True
            except Exception as error:
                self.failure, self.ended = error, True
        else:
            self._news = anyio.Event()
            if self._thread is None:
                token: Any = current_token().native_token
                wake = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
                self._thread = threading.Thread(
                    target=copy_context().run, args=(self._read, wake),
                    name="qvq_wrapper rows", daemon=True)
                self._thread.start()
            if not self._ready and not self.ended:
                await self._news.wait()

    def _read(self, wake: Callable[[Callable[[], None]], object]) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            try:
                while self._left > 0 and not self._closed:
                    if self._take(next(self._iterator)) and len(self._ready) == 1:
                        wake(self._news.set)
                    self._room.clear()
                    if len(self._ready) >= READ_AHEAD and not self._closed:
                        self._room.wait()
            except StopIteration:
                pass
            except BaseException as error:
                self.failure = error
            self.ended = True
            wake(self._news.set)

    def _take(self, item: Any) -> bool:
        self._count += 1
        row = item if isinstance(item, Row) else Row(f"row {self._count}", item)
        row.check()
        accepted = self._accept(row)
        if accepted:
            self._ready.append(row)
            self._left -= 1
        return accepted
