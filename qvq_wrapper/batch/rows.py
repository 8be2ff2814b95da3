"""One question, and a reader that gives the questions of any iterable one at a time."""

from __future__ import annotations

import math
import os
import re
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any
from urllib.request import url2pathname

import anyio
from anyio.lowlevel import checkpoint, current_token

from .asking import missing

READ_AHEAD = 32  # rows; each may hold a picture


@dataclass(frozen=True)
class Layout:
    """Where a row has its question.

    Attributes:
        prompt_column, image_column: the names of the columns.
        folder: where the relative path of a picture starts, or None for the current folder.
    """

    prompt_column: str = "prompt"
    image_column: str = "image"
    folder: str | None = None


@dataclass(slots=True)
class Row:
    """One question.

    Attributes:
        place: where it was found, for messages: ``line 7``.
        columns: the row as it was given.
        layout: where in it the question is.
        path: the picture of a row that stands for a file.
        error: why the row cannot be asked, or None.
        text, key, picture, unreadable: what `Keys` sets for an output file: the columns in JSON,
            what tells whether the picture's file has changed, or that it cannot be read.
        tried: it failed in an earlier run, so the others come first.
        attempts: how often the question has been asked.
        answers: how many the Space had given when the connection for this question first broke.
        retries: how often it has broken since, while the Space answered others.
    """

    place: str
    columns: Any
    layout: Layout = Layout()
    path: str | None = None
    error: Exception | None = None
    text: str = "{}"
    key: str = ""
    picture: dict[str, Any] | None = None
    unreadable: bool = False
    tried: bool = False
    attempts: int = 0
    answers: int | None = None
    retries: int = 0

    def check(self) -> None:
        """Set ``error`` if the row is no question."""
        if self.error:
            return
        if not isinstance(self.columns, Mapping):
            kind = type(self.columns).__name__
            self.error = TypeError(f"a question must be a dict with a prompt, not {kind}")
            return
        name = self.layout.prompt_column
        if missing(self.columns.get(name)) and missing(self.columns.get("messages")):
            self.error = ValueError(f"the question has neither {name} nor messages")

    def question(self) -> dict[str, Any]:
        """Return the columns to ask with: ``prompt``, ``image``, and the others.

        A picture's path starts from the file's folder. A picture of Hugging Face's ``datasets``
        becomes what ``ask`` takes
        (https://huggingface.co/docs/datasets/about_dataset_features#image-feature).
        """
        columns, layout = dict(self.columns), self.layout
        for wanted, own in (("prompt", layout.prompt_column), ("image", layout.image_column)):
            if wanted != own:
                columns[wanted] = columns.get(own)
        image: Any = self.path or columns.get("image")
        if image is None:
            return columns
        if isinstance(image, Mapping) and image.keys() == {"bytes", "path"}:
            name = None if missing(image["path"]) else image["path"]
            image = name if missing(image["bytes"]) else (image["bytes"], name)
        if layout.folder is not None and (path := self.path or local_path(image)):
            image = os.path.join(layout.folder, path)
        columns["image"] = image
        return columns


def error_text(error: Exception) -> str:
    """Return what an error says. Its own code can raise anything."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def local_path(image: Any) -> str | None:
    """Return the path of a picture on this machine, or None for another picture."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    path = os.fsdecode(image)
    if local := re.fullmatch(r"file:(?://(?:localhost)?)?(/(?!/).*)", path, re.I | re.S):
        return url2pathname(local[1])
    if not path or re.match(r"\s*(data:|[a-z][a-z0-9+.-]+://)", path, re.I):
        return None
    return os.path.expanduser(path)


class Rows:
    """Gives one row after the other, and reads only a few ahead.

    Rows that failed in earlier runs come last. A synchronous iterable may block, so a thread reads
    it: a daemon, which does not hold up the interpreter's exit.

    Args:
        rows: gives objects of ``Row``.
        accept: tells whether a row is wanted. It is called in a thread.
        limit: the number of rows to give, or None.

    Attributes:
        ended: all rows have been read.
        failure: what the iterable raised. The rows before it are given all the same.
    """

    def __init__(
        self, rows: AsyncIterable[Row] | Iterable[Row],
        accept: Callable[[Row], bool] = lambda row: True, limit: int | None = None,
    ) -> None:
        self._async = aiter(rows) if isinstance(rows, AsyncIterable) else None
        self._iterator = iter(()) if isinstance(rows, AsyncIterable) else iter(rows)
        self._accept = accept
        self._left = math.inf if limit is None else limit
        self._closed = False
        self._ready: deque[Row] = deque()
        self._tried: deque[Row] = deque()
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._thread: threading.Thread | None = None
        self._room = threading.Event()
        self._news = anyio.Event()
        self.failure: BaseException | None = None
        self.ended = False

    async def next(self) -> Row | None:
        """Return the next row, or None after the last one."""
        if not self._ready:
            async with self._one_at_a_time:
                while not self._ready and not self.ended:
                    await self._step()
        if self._ready:
            row = self._ready.popleft()
            if len(self._ready) < READ_AHEAD // 2 and not self._room.is_set():
                self._room.set()
            return row
        if self._tried and self._left > 0 and not self.failure:
            self._left -= 1
            return self._tried.popleft()
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
                await anyio.to_thread.run_sync(self._take, await anext(self._async))
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

    def _take(self, row: Row) -> bool:
        """Check a row. Return whether it is to be asked now."""
        try:
            row.check()
        except Exception as error:  # a mapping's own code can raise anything
            row.error = ValueError(f"the row cannot be read ({type(error).__name__})")
        if not self._accept(row):
            return False
        if row.tried:
            self._tried.append(row)
            return False
        self._ready.append(row)
        self._left -= 1
        return True
