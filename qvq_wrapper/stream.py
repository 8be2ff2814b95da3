"""The answer as its reader sees it: an asynchronous iterator, or a synchronous one."""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from .bridge.call import Call
from .bridge.news import listen, listen_in_thread, wait, wait_in_thread
from .question.media import Picture
from .question.options import Limits, Question
from .types import Status

CLEANUP = 2.0  # seconds that ending an answer early may take


class AnswerStream(AsyncGenerator[str, None]):
    """An answer as it arrives: iterate over it, or ``await stream.read()``.

    Iterating yields non-empty strings. If the Space only adds to its answer, they join to the final
    text. If it rewrites its answer, the next string is what follows the longest common prefix.
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
        self._step = threading.Lock()  # held while a reader waits for the next chunk
        # A weak reference to the latest iterator that has begun.
        self._iterator: Callable[[], _ChunkIterator | None] = lambda: None

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
        return self._call.result()

    def iterate(self) -> Generator[str, None, None]:
        """Return the chunks for synchronous code. It blocks a running event loop.

        ``for chunk in stream`` does the same. The iterator's ``close()`` cancels the job.
        """
        return _ChunkIterator(self)

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
        await checkpoint()  # also where the job had ended already

    async def _stop(self) -> None:
        """Do what ``aclose`` does, but never raise a cancellation in place of another error."""
        call = self._call
        try:
            for now in (False, True):
                call.cancel(now=now)
                with anyio.move_on_after(CLEANUP / 2, shield=True):
                    while not call.done:
                        news = listen(call)
                        if not call.done:
                            await news.wait()
        finally:
            # A second Task.cancel() in asyncio interrupts a shielded scope, so cut once more.
            call.cancel(now=True)

    async def __anext__(self) -> str:
        call, news, waited = self._call, None, False
        self._begin_step()
        try:
            call.start()
            while (chunk := call.next_chunk()) == "":
                if news:
                    await wait(news, call.remaining())
                    news, waited = None, True
                else:
                    news = listen(call)  # then look again: news may have come just before
            if not waited:
                await checkpoint()  # gives other tasks a turn, however fast the Space is
            if chunk is None:
                raise StopAsyncIteration
            return chunk
        except StopAsyncIteration:
            raise
        except BaseException:
            await self._stop()
            raise
        finally:
            self._step.release()

    async def asend(self, value: None) -> str:
        return await self.__anext__()

    async def athrow(self, error: Any, value: Any = None, traceback: Any = None) -> str:
        await self._stop()
        raise value or error

    def _begin_step(self, iterator: _ChunkIterator | None = None) -> None:
        """Take ``_step``, or refuse a second reader."""
        other = self._iterator()
        is_free = other is None or other is iterator or other.ended
        if not is_free or not self._step.acquire(blocking=False):
            raise RuntimeError(
                "This answer has a reader already, and only one can get its chunks. "
                "Read stream.text for what has arrived, or ask again.")

    def __iter__(self) -> Iterator[str]:
        return self.iterate()

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
        elif call and not call.ended:
            message = f"unclosed {self!r}"
            call.cancel()  # before the warning, which can be an error
            warnings.warn(message, ResourceWarning, 2, self)


AsyncResult = AnswerStream


class _ChunkIterator(Generator[str, None, None]):
    """The chunks of a stream for synchronous code. Another thread may close it at any time."""

    def __init__(self, stream: AnswerStream) -> None:
        self._stream = stream  # also keeps the stream's __del__ from cancelling the job
        self._began = self.ended = False

    def send(self, value: None) -> str:
        call, news = self._stream._call, None
        self._stream._begin_step(self)
        try:
            self._stream._iterator, self._began = weakref.ref(self), True
            call.start()
            while (chunk := call.next_chunk()) == "":
                if news:
                    wait_in_thread(news, call.remaining())
                    news = None
                else:
                    news = listen_in_thread(call)
            if chunk is None:
                raise StopIteration
            return chunk
        except StopIteration:
            self.ended = True
            raise
        except BaseException:
            self.close()
            raise
        finally:
            self._stream._step.release()

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> str:
        self.close()
        raise value or error

    def close(self) -> None:
        """Cancel the job and wait for its end, for 2 s at most."""
        call, self.ended = self._stream._call, True
        if not (self._began or call.idle):
            return  # the job is another reader's
        for now in (False, True):
            call.cancel(now=now)
            deadline = time.monotonic() + CLEANUP / 2
            while not call.done and time.monotonic() < deadline:
                news = listen_in_thread(call)
                if not call.done:
                    wait_in_thread(news, max(0, deadline - time.monotonic()))
