"""The answer as its reader sees it: an asynchronous iterator, or a synchronous one."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio
from anyio.lowlevel import checkpoint, current_token

from .bridge.call import Call
from .question.media import Picture
from .question.options import Limits, Question
from .types import Status

CLEANUP = 2.0  # seconds that ending an answer early may take


class AnswerStream(AsyncGenerator[str, None]):
    """An answer as it arrives: iterate over it, or ``await stream.read()``.

    Iterating yields non-empty strings. If the Space only adds to its answer, they join to the final
    text. If it rewrites its answer, the next string is what follows the longest common prefix.
    Nothing is sent before the first step. Awaiting the stream gives the stream itself. The job is
    cancelled at the Space by leaving ``async with``, by ``aclose()``, by cancelling the task,
    and when the last reference to the stream goes.

    Raises:
        ResponseError: while iterating; what had arrived is on its ``text``.

    Example::

        async with ask("What is the area?", "triangle.png") as stream:
            async for chunk in stream:
                print(chunk, end="")
    """

    def __init__(self, question: Question, limits: Limits) -> None:
        self._call = Call(question, limits)
        self._chunks = _chunks(self._call)

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
        """The question's picture."""
        return self._call.picture

    async def read(self) -> str:
        """Wait for the end and return ``text``."""
        async for _ in self:
            pass
        if self._call.error:
            raise self._call.error
        return self.text

    def iterate(self) -> Generator[str, None, None]:
        """Return the chunks for synchronous code. It blocks a running event loop."""
        return _iterate(self, self._call)

    async def asend(self, value: None) -> str:
        return await self._chunks.asend(value)

    async def athrow(self, *args: Any) -> str:
        return await self._chunks.athrow(*args)

    async def aclose(self) -> None:
        """Cancel the job, here and at the Space. Takes 2 s at most, even if the Space is silent."""
        await self._chunks.aclose()

    def __await__(self) -> Generator[Any, None, AnswerStream]:
        return self
        yield  # makes this a generator, as an awaitable has to be

    async def __aenter__(self) -> AnswerStream:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AnswerStream {self.status.stage}, {len(self.text)} characters>"

    def __del__(self) -> None:
        if not self._call.done:
            self._call.cancel()


AsyncResult = AnswerStream


async def _chunks(call: Call) -> AsyncGenerator[str, None]:
    call.start()
    try:
        ready = _listen(call)
        while (chunk := call.next_chunk()) is not None:
            if chunk:
                await checkpoint()  # gives other tasks a turn, however fast the Space is
                yield chunk
            else:
                with anyio.move_on_after(call.remaining()):
                    await ready.wait()
                ready = _listen(call)
    finally:
        try:
            for now in (False, True):
                call.cancel(now=now)
                with anyio.move_on_after(CLEANUP / 2, shield=True):
                    while not call.done:
                        ready = _listen(call)
                        if not call.done:
                            await ready.wait()
        finally:
            # A second Task.cancel() in asyncio interrupts a shielded scope, so cut once more.
            call.cancel(now=True)


def _listen(call: Call) -> anyio.Event:
    """Return an event that is set as soon as the call has news.

    The call's thread sets it without waiting for the event loop. anyio has no public function for
    that; its token leads to asyncio's and trio's own.
    """
    ready = anyio.Event()
    token: Any = current_token().native_token
    schedule = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
    first = [True]

    def wake() -> None:
        if first:
            first.clear()
            schedule(ready.set)

    call.wake = wake
    return ready


def _iterate(stream: AnswerStream, call: Call) -> Generator[str, None, None]:
    """`stream` looks unused: the reference keeps `__del__` from cancelling the job."""
    ready = threading.Event()
    call.wake = ready.set
    call.start()
    try:
        while (chunk := call.next_chunk()) is not None:
            if chunk:
                yield chunk
            else:
                ready.wait(call.remaining())
            ready.clear()
    finally:
        for now in (False, True):
            call.cancel(now=now)
            deadline = time.monotonic() + CLEANUP / 2
            while not call.done and ready.wait(deadline - time.monotonic()):
                ready.clear()
