"""The answer as its reader sees it: an asynchronous iterator, or a synchronous one."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import anyio
from anyio.lowlevel import checkpoint, current_token

from .bridge.call import Call
from .errors import ResponseError
from .question.media import Picture
from .question.options import Limits, Question
from .types import Status

CLEANUP = 2.0  # seconds that ending an answer early may take


class AnswerStream(AsyncGenerator[str, None]):
    """An answer as it arrives: iterate over it, or ``await stream.read()``.

    Iterating yields non-empty strings. If the Space only adds to its answer, they join to the final
    text. If it rewrites its answer, the next string is what follows the longest common prefix.
    Half a character or a cursor at the end waits until more comes, or the end; ``text`` has it.
    Nothing is sent before the first step. Awaiting the stream gives the stream itself.

    The job is cancelled at the Space by leaving ``async with``, by ``aclose()`` or ``cancel()``, by
    cancelling the task that reads, and when the last reference to the stream goes.

    Raises:
        ResponseError: while iterating; what had arrived is on its ``text``.
        RuntimeError: two readers iterate at the same time.

    Example::

        async with ask("What is the area?", "triangle.png") as stream:
            async for chunk in stream:
                print(chunk, end="")
    """

    def __init__(self, question: Question, limits: Limits) -> None:
        self._call = Call(question, limits)
        # Held while ``__anext__`` waits for a chunk, and as long as ``iterate`` runs.
        self._reading = threading.Lock()

    @property
    def text(self) -> str:
        """The Space's whole answer so far, and at the end exactly its final answer."""
        return self._call.text

    @property
    def status(self) -> Status:
        """The latest status."""
        return self._call.status

    @property
    def picture(self) -> Picture | None:
        """The picture of the question, until the answer fails."""
        return self._call.picture

    async def read(self) -> str:
        """Wait for the end and return ``text``. A second call returns the same.

        Raises:
            ResponseError: the answer failed or was cancelled. Each call raises it.
        """
        async for _ in self:
            pass
        if self.status.stage == "cancelled":
            error = ResponseError(f"The answer was cancelled after {len(self.text)} characters.")
            error.text = self.text
            raise error
        return self.text

    def iterate(self) -> Generator[str, None, None]:
        """Yield the chunks for synchronous code. It blocks a running event loop.

        ``for chunk in stream`` does the same. Leaving the loop, or the generator's ``close()``,
        cancels the job. From another thread, use ``stream.cancel()``.
        """
        call = self._call
        self._begin_reading()
        try:
            call.start()
            while (chunk := call.next_chunk()) is not None:
                if chunk:
                    yield chunk
                else:
                    call.wait(call.has_news, call.remaining())
        except BaseException:
            self._stop_in_thread()
            raise
        finally:
            self._reading.release()

    def cancel(self) -> None:
        """Cancel the job, here and at the Space, without waiting.

        Any task, thread or signal handler may call it. Whoever iterates gets the end of the
        iteration; ``read()`` raises a ResponseError. What had arrived stays in ``text``.
        """
        self._call.cancel()

    async def aclose(self) -> None:
        """Cancel the job and wait for its end. Takes 2 s at most, even if the Space is silent.

        Any task may call it, also on another event loop than the reader's.
        """
        await self._stop()
        await checkpoint()  # gives other tasks a turn, also if there was nothing to wait for

    async def _stop(self) -> None:
        """Do what ``aclose`` does, without its checkpoint: a cancellation must hide no error."""
        call = self._call
        try:
            call.cancel()
            with anyio.move_on_after(CLEANUP, shield=True):
                while not call.thread_ended:
                    await _wait(call, lambda: call.thread_ended, math.inf)
        finally:
            call.cancel()  # a Ctrl-C may have ended the first one half-way

    async def __anext__(self) -> str:
        call, waited = self._call, False
        self._begin_reading()
        try:
            call.start()
            while (chunk := call.next_chunk()) is not None:
                if chunk:
                    if not waited:
                        await checkpoint()  # gives other tasks a turn, however fast the Space is
                    return chunk
                await _wait(call, call.has_news, call.remaining())
                waited = True
        except BaseException:
            await self._stop()
            raise
        finally:
            self._reading.release()
        await checkpoint()
        raise StopAsyncIteration

    async def asend(self, value: None) -> str:
        return await self.__anext__()

    async def athrow(self, error: Any, value: Any = None, traceback: Any = None) -> str:
        await self._stop()
        raise value or error

    def _begin_reading(self) -> None:
        if not self._reading.acquire(blocking=False):
            raise RuntimeError(
                "This answer is being read already, and it can have only one reader. "
                "Read stream.text for what has arrived, or ask again.")

    def _stop_in_thread(self) -> None:
        """Do what ``_stop`` does, in synchronous code."""
        call, deadline = self._call, time.monotonic() + CLEANUP
        try:
            call.cancel()
            while not call.thread_ended and (left := deadline - time.monotonic()) > 0:
                call.wait(lambda: call.thread_ended, left)
        finally:
            call.cancel()  # a Ctrl-C may have ended the first one half-way

    __iter__ = iterate

    def __await__(self) -> Generator[Any, None, AnswerStream]:
        return self
        yield  # makes this a generator, as an awaitable has to be

    async def __aenter__(self) -> AnswerStream:
        return self

    async def __aexit__(self, kind: object, *error: object) -> None:
        await (self._stop() if kind else self.aclose())

    def __repr__(self) -> str:
        if self._call.idle:
            return (
                "<AnswerStream, not asked yet. Use `await stream.read()` or `async for chunk in "
                "stream`; in synchronous code `asyncio.run(stream.read())` or `for chunk in "
                "stream`>")
        return f"<AnswerStream {self.status.stage}, {len(self.text)} characters>"

    def __del__(self) -> None:
        call: Call | None = getattr(self, "_call", None)  # None: __init__ was refused
        if call and call.idle:
            warnings.warn(f"a question was never asked: {self!r}", RuntimeWarning, 2, self)
        elif call and not call.over:
            message = f"unclosed {self!r}"
            call.cancel()  # before the warning, which can be an error
            warnings.warn(message, ResourceWarning, 2, self)


AsyncResult = AnswerStream


async def _wait(call: Call, is_there: Callable[[], bool], seconds: float) -> None:
    """Wait for news of the call, as ``Call.wait`` does, on any event loop.

    The call's thread sets the event without waiting for the event loop. anyio has no public
    function for that; its token leads to asyncio's and trio's own.
    """
    news = anyio.Event()
    token: Any = current_token().native_token
    schedule = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
    call.listen(lambda: schedule(news.set), is_there)
    if seconds == math.inf:
        await news.wait()  # a cancel scope would cost 7 us for each chunk
    else:
        with anyio.move_on_after(seconds):
            await news.wait()
