"""One question, how it is asked, and a reader that gives the questions of any iterable."""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import anyio
from anyio.lowlevel import checkpoint, current_token

from ..provider import Qwen_QVQ_72B
from ..question.address import space_url
from ..question.options import api_name_of

READ_AHEAD = 32  # rows; each may hold a picture
OWN_COLUMNS = {"answer", "error", "seconds", "attempts", "asked", "key"}


@dataclass(slots=True)
class Row:
    """One question.

    Attributes:
        place: where it was found, for messages: ``line 7``.
        columns: the row as it was given, with the prompt for all. Empty if it cannot be read.
        image_column: which of them has the picture.
        question: the columns to ask with: ``prompt``, ``image``, and the others.
        error: why the row cannot be asked, or None.
        text, key, picture: what `Keys` sets for an output file: the columns in JSON, and what tells
            whether the picture's file has changed.
        tried: it failed in an earlier run, so the others come first.
        attempts: how often the question has been asked.
        answers: how many the Space had given when the connection for this question first broke.
        retries: how often it has broken since, while the Space answered others.
    """

    place: str
    columns: dict[Any, Any] = field(default_factory=dict)
    image_column: str = "image"
    question: dict[Any, Any] = field(default_factory=dict)
    error: Exception | None = None
    text: str = "{}"
    key: str = ""
    picture: dict[str, Any] | None = None
    tried: bool = False
    attempts: int = 0
    answers: int | None = None
    retries: int = 0

    def renamed(self) -> dict[Any, Any]:
        """Return the columns, renamed where a result has its own."""
        return {f"given_{name}" if name in OWN_COLUMNS else name: value
                for name, value in self.columns.items()}


async def answer_row(row: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Ask the question of a row once.

    Args:
        row: a dict with ``prompt``, or with ``messages`` in OpenAI's form, and perhaps ``image``.
            An empty cell (None, NaN, for a picture also "") counts as missing. Other columns are
            ignored.
        **options: options of ``qvq_wrapper.ask``. ``max_retries`` is 0 by default: the one who
            asks many rows decides when to ask again.

    Returns:
        ``answer``, and ``asked``: the ``url`` of the Space without secrets, and the ``api_name``
        and ``model`` that were given.

    Raises:
        ValueError, TypeError, ResponseError: as ``qvq_wrapper.ask`` does.
    """
    options = {"max_retries": 0, "model": "", **options}
    prompt: Any = row.get("prompt")
    messages: Any = row.get("messages")
    image = picture_in(row)
    if not missing(prompt):
        stream = Qwen_QVQ_72B.ask(prompt, image, **options)
    elif not missing(messages):
        media = None if image is None else [image]
        stream = Qwen_QVQ_72B.create_async_generator(messages=messages, media=media, **options)
    else:
        raise ValueError("the question has neither prompt nor messages")
    return {"answer": await stream.read(), "asked": source_of(options)}


def picture_in(row: Mapping[str, Any]) -> Any:
    """Return the picture of a row, or None if its cell is empty."""
    image = row.get("image")
    return None if missing(image) or isinstance(image, str) and not image else image


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if ``answer_row`` cannot use these options."""
    Qwen_QVQ_72B.ask("Hi", **options).cancel()


def source_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return where answers with these options come from. No secret is in it."""
    source = {"url": space_url(options.get("url") or Qwen_QVQ_72B.url)}
    if options.get("api_name"):
        source["api_name"] = api_name_of(options["api_name"])
    if options.get("model"):
        source["model"] = Qwen_QVQ_72B.get_model(options["model"])
    return source


def missing(value: Any) -> bool:
    """Tell whether a cell is empty: None, or pandas' NaN, NA and NaT."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def error_text(error: Exception) -> str:
    """Return what an error says. Its own code can raise anything."""
    with suppress(Exception):
        return str(error) or type(error).__name__
    return type(error).__name__


class Rows:
    """Gives one row after the other, and reads only a few ahead. It has to be closed.

    Rows that failed in earlier runs come last. A synchronous iterable may block, so a thread reads
    it: a daemon, which does not hold up the interpreter's exit.

    Args:
        items: what the rows are made of.
        make_row: returns the row of an item, or None if it is not wanted. It is called in a thread.
        limit: the number of rows to give, or None.

    Attributes:
        failure: what the iterable raised. The rows before it are given all the same.
    """

    def __init__(
        self, items: AsyncIterable[Any] | Iterable[Any], make_row: Callable[[Any], Row | None],
        limit: int | None = None,
    ) -> None:
        self._is_async = isinstance(items, AsyncIterable)
        self._items: Any = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
        self._make_row = make_row
        self._left = sys.maxsize if limit is None else limit
        self._ready: deque[Row] = deque()
        self._tried: list[Row] = []
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._room = threading.Event()
        self._news = anyio.Event()
        self._ended = limit == 0
        self.failure: BaseException | None = None
        if not self._is_async:
            token: Any = current_token().native_token
            wake = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
            threading.Thread(
                target=copy_context().run, args=(self._read, wake), name="qvq_wrapper rows",
                daemon=True).start()

    async def next(self) -> Row | None:
        """Return the next row, or None after the last one."""
        if not self._ready:
            async with self._one_at_a_time:
                while not self._ready and not self._ended:
                    await self._step()
        if not self._ready:
            return None
        row = self._ready.popleft()
        if len(self._ready) < READ_AHEAD // 2 and not self._room.is_set():
            self._room.set()
        return row

    def close(self) -> None:
        """Let the thread end."""
        self._ended = True
        self._room.set()

    async def _step(self) -> None:
        """Wait for a row, or for the end."""
        if self._is_async:
            await checkpoint()  # gives other tasks a turn, however many rows are skipped
            try:
                await anyio.to_thread.run_sync(self._take, await anext(self._items))
            except StopAsyncIteration:
                self._end()
            except Exception as error:
                self._end(error)
            return
        self._news = anyio.Event()
        if not self._ready and not self._ended:
            await self._news.wait()

    def _read(self, wake: Callable[[Callable[[], None]], object]) -> None:
        with suppress(RuntimeError):  # the event loop is closed
            try:
                while not self._ended:
                    if self._take(next(self._items)) and len(self._ready) == 1:
                        wake(self._news.set)
                    self._room.clear()
                    if len(self._ready) >= READ_AHEAD and not self._ended:
                        self._room.wait()
            except StopIteration:
                self._end()
            except BaseException as error:
                self._end(error)
            wake(self._news.set)

    def _take(self, item: Any) -> bool:
        """Make the row of an item. Return whether it is to be asked now."""
        row = self._make_row(item)
        if not row:
            return False
        if row.tried:
            self._tried.append(row)
            return False
        self._ready.append(row)
        self._left -= 1
        if not self._left:
            self._end()
        return True

    def _end(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        if not failure:
            self._ready.extend(islice(self._tried, self._left))
        self._ended = True
