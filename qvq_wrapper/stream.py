"""From a job to its reader: the thread that asks, and the iterators that hand on the answer."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from itertools import count
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint, current_token

from .errors import ResponseError, ResponseTimeoutError, from_exception
from .options import Limits, Question
from .types import Stage, Status

if TYPE_CHECKING:
    from .space import Line

CLEANUP = 2.0  # seconds that ending an answer early may take: the Space is told, the line closed
LONGEST_DELAY = 60.0  # seconds; a Space that asks for more patience (Retry-After) is an error at once

logger = logging.getLogger("qvq_wrapper")


class Call:
    """One question on its way. Its thread writes here, its reader reads; neither waits for the other."""

    def __init__(self, question: Question, limits: Limits) -> None:
        self._limits = limits
        self._question: Question | None = question
        self._line: Line | None = None
        self._statuses: deque[Status] = deque([Status()], maxlen=1000)
        self._seen = ""
        self._deadline = math.inf
        self._gone: SimpleQueue[None] = SimpleQueue()  # a destructor may put into it: it takes no lock
        self.cancelled = self.done = False
        self.error: Exception | None = None
        self.text = ""
        self.wake: Callable[[], object] = bool

    # What the reader calls

    def start(self) -> None:
        self._deadline = time.monotonic() + (self._limits.timeout or math.inf)
        # Only the thread has the question from here on: no token is to be reached from an error.
        question, self._question = self._question, None
        threading.Thread(target=self._run, args=(question,), name="qvq_wrapper", daemon=True).start()

    def take(self) -> str | None:
        """The text that came since last time, ``""`` while there is none, None at the end."""
        done, text = self.done, self.text  # in this order: the text is written first
        while len(self._statuses) > 1:
            self._statuses.popleft()
            if self._limits.on_status:
                self._limits.on_status(self._statuses[0])
        start = len(self._seen)
        if not text.startswith(self._seen):
            start = len(os.path.commonprefix([self._seen, text]))
        self._seen = text
        if start < len(text):
            return text[start:]
        if done and self.error:
            raise self.error
        return None if done else ""

    def remaining(self) -> float | None:
        """Seconds until ``timeout`` passes, None without one."""
        return None if self._deadline == math.inf else max(0.0, self._deadline - time.monotonic())

    def timed_out(self) -> ResponseError:
        error = ResponseTimeoutError(
            f"There was no complete answer within timeout={self._limits.timeout:g} s.", retryable=True)
        self._fail(error)
        return error

    def cancel(self, *, now: bool = False) -> None:
        """Have the thread end its job; from any thread or destructor, without waiting."""
        self.cancelled = True
        self._gone.put(None)
        line = self._line
        if line:
            line.cut(now=now)

    @property
    def status(self) -> Status:
        return self._statuses[-1]

    # What the thread does

    def _run(self, question: Question) -> None:
        for attempt in count():
            error, asked = self._attempt(question)
            if error is None or asked or self.cancelled or not self._wait_to_retry(error, attempt):
                break
        if error:
            self._fail(error)
        self._stage("cancelled" if self.cancelled else "failed" if error else "finished")
        self._line = None
        self.done = True
        self._wake()

    def _attempt(self, question: Question) -> tuple[Exception | None, bool]:
        """Ask once. Gives what went wrong, if anything, and whether the Space may have started a job."""
        from . import session, space  # with gradio_client, which takes 0.4 s to import

        self._stage("connecting")
        self._line = line = space.Line(question.access, self._limits.read_timeout, self._stage)
        try:
            if self.cancelled:
                raise space.CallCancelled
            session.ask(question, self._limits, line, self)
        except BaseException as error:
            return from_exception(error), line.asked
        return None, line.asked

    def _wait_to_retry(self, error: Exception, attempt: int) -> bool:
        """Wait as long as is due before the next attempt. False if there is to be none.

        Exponential backoff with full jitter, and never less than the Space's Retry-After:
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        if not (isinstance(error, ResponseError) and error.retryable and attempt < self._limits.max_retries):
            return False
        delay = max(random.uniform(0, min(8.0, 0.5 * 2**attempt)), error.retry_after or 0)
        if delay > min(LONGEST_DELAY, self.remaining() or LONGEST_DELAY):
            return False
        logger.info("asking again in %.1f s: %s", delay, error)
        try:
            self._gone.get(timeout=delay)
        except Empty:
            return True
        return False

    def on_text(self, text: str) -> None:
        limit = self._limits.max_chars
        self.text = text[:limit]
        if len(text) > limit and not self.error:
            self._fail(ResponseError(f"The answer grew past max_chars={limit} and was cut off."))
            self.cancel()
        self._wake()

    def on_status(self, status: Status) -> None:
        if status != self.status:
            self._statuses.append(status)
            self._wake()

    def _stage(self, stage: Stage) -> None:
        self.on_status(Status(stage))

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        if isinstance(error, ResponseError):
            error.text = self.text

    def _wake(self) -> None:
        try:
            self.wake()
        except RuntimeError:  # the event loop is closed: nobody will ever read
            self.cancel()


class AnswerStream(AsyncGenerator[str, None]):
    """An answer as it arrives: iterate over it, or ``await stream.read()``.

    Iterating yields non-empty strings. For a Space that only adds to its answer they join to the final
    text; where it rewrote what it had said, the next one is what follows the longest common prefix.
    Nothing is sent before the first step. Awaiting the stream gives the stream itself. Leaving ``async
    with``, ``aclose()``, cancellation and the end of the last reference cancel the job at the Space.

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
        """The Space's whole answer so far; at the end exactly its final answer."""
        return self._call.text

    @property
    def status(self) -> Status:
        """The latest status."""
        return self._call.status

    async def read(self) -> str:
        """Wait for the end, and return ``text``."""
        async for _ in self:
            pass
        if self._call.error:
            raise self._call.error
        return self.text

    def iterate(self) -> Generator[str, None, None]:
        """The same chunks for synchronous code, also inside a running event loop, which it blocks."""
        return _iterate(self, self._call)

    async def asend(self, value: None) -> str:
        return await self._chunks.asend(value)

    async def athrow(self, *args: Any) -> str:
        return await self._chunks.athrow(*args)

    async def aclose(self) -> None:
        """Cancel the job, here and at the Space; returns within some 2 seconds even on a dead line."""
        await self._chunks.aclose()

    def __await__(self) -> Generator[Any, None, AnswerStream]:
        return self
        yield  # makes this a generator, as an awaitable has to be

    async def __aenter__(self) -> AnswerStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
        while True:
            await checkpoint()
            ready = _listen(call)
            chunk = call.take()
            if chunk is None:
                return
            if chunk:
                yield chunk
                continue
            with anyio.move_on_after(call.remaining()) as scope:
                await ready.wait()
            if scope.cancelled_caught:
                raise call.timed_out()
    finally:
        with anyio.CancelScope(shield=True):
            for now in (False, True):
                if not call.done:
                    call.cancel(now=now)
                    with anyio.move_on_after(CLEANUP / 2):
                        while not call.done:
                            ready = _listen(call)
                            if not call.done:
                                await ready.wait()


def _listen(call: Call) -> anyio.Event:
    """An event that the call's next news sets, once, from its own thread, without waiting for the loop.

    anyio has no public call into a loop that does not block the calling thread; its token leads to
    asyncio's and trio's own.
    """
    ready = anyio.Event()
    token: Any = current_token().native_token
    schedule = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
    unheard = [True]

    def wake() -> None:
        if unheard:
            unheard.clear()
            schedule(ready.set)

    call.wake = wake
    return ready


def _iterate(stream: AnswerStream, call: Call) -> Generator[str, None, None]:
    """Holds the stream, which is cancelled when nobody does."""
    ready = threading.Event()
    call.wake = ready.set
    call.start()
    try:
        while (chunk := call.take()) is not None:
            if chunk:
                yield chunk
            elif not ready.wait(call.remaining()):
                raise call.timed_out()
            ready.clear()
    finally:
        for now in (False, True):
            if not call.done:
                call.cancel(now=now)
                deadline = time.monotonic() + CLEANUP / 2
                while not call.done and ready.wait(deadline - time.monotonic()):
                    ready.clear()
