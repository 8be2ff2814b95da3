"""What the thread of one question shares with the answer's reader."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..errors import ResponseError, ResponseTimeoutError
from ..growth import Growth
from ..question.media import Picture
from ..question.options import Limits, Question
from ..types import Stage, Status
from .attempts import answer_call

if TYPE_CHECKING:
    from .connection import Connection


class Call:
    """One question on its way. Its thread writes here and its reader reads, without waiting.

    ==================== ==================================================== ================
    state                meaning                                              written by
    ==================== ==================================================== ================
    ``_question``        the question, until the first step                   reader, cancel()
    ``connection``       the attempt's connection, which cancel() ends        thread
    ``text``,            the latest of the Space                              thread
    ``_statuses``
    ``_ends``            how the answer ended. Several may say so at once;    thread, reader,
                         the first counts. Then the text is the last.         cancel()
    ``thread_ended``     no thread works on the answer any more               thread, reader
    ``_news``            a new object with each change                        thread, reader,
                                                                              cancel()
    ``_seen``,           the news and the text that the reader has            reader
    ``_growth``
    ==================== ==================================================== ================

    ``cancel()`` may come from any thread, destructor or signal handler. It takes no lock.
    """

    def __init__(self, question: Question, limits: Limits) -> None:
        self._question: Question | None = question
        self.limits = limits
        self.connection: Connection | None = None
        # The first is the latest that on_status was told, or the one before any.
        self._statuses: deque[Status] = deque([Status()], maxlen=1000)
        self._deadline = math.inf
        self._pid = os.getpid()
        self._growth = Growth()
        self._news = self._seen = object()  # no number: two threads could count to the same one
        self._listeners: deque[Callable[[], object]] = deque()
        self._ends: list[tuple[Status, Exception | None]] = []
        self.picture: Picture | None = question.picture
        self.text = ""
        self.thread_ended = False

    # What the reader calls

    def start(self) -> None:
        # Hand the question to the thread and forget it here: a traceback must not reach the token.
        question, self._question = self._question, None
        if question:
            self._pid = os.getpid()
            self._deadline = time.monotonic() + (self.limits.timeout or math.inf)
            run = copy_context().run
            thread = threading.Thread(
                target=run, args=(answer_call, self, question), name="qvq_wrapper", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self.fail(ResponseError("This machine cannot start another thread."))
                self.thread_ended = True

    def listen(self, listener: Callable[[], object], is_there: Callable[[], bool]) -> None:
        """Call ``listener`` as soon as there is news. It must neither block nor lock.

        Args:
            is_there: tells whether the news has come already.
        """
        self._listeners.append(listener)
        if is_there():
            listener()

    def wait(self, is_there: Callable[[], bool], seconds: float) -> None:
        """Wait in this thread for news, for so many seconds at most.

        It may return early, so look again. It takes no lock: ``cancel()`` may interrupt it.
        """
        news: SimpleQueue[None] = SimpleQueue()
        self.listen(partial(news.put, None), is_there)
        with suppress(Empty):
            news.get(timeout=min(seconds, threading.TIMEOUT_MAX))

    def has_news(self) -> bool:
        """Return whether anything has changed since ``next_chunk`` last looked."""
        return self._news is not self._seen

    def next_chunk(self) -> str | None:
        """Return new text, ``""`` if there is none yet, None after the end."""
        self._seen = self._news
        if os.getpid() != self._pid and not self.over:
            self.fail(ResponseError("A forked process cannot read its parent's answer. Ask anew."))
            self.thread_ended = True
        if self.remaining() == 0 and not self.over:
            self.fail(ResponseTimeoutError(
                f"There was no complete answer within timeout={self.limits.timeout:g} s.",
                retryable=True))
        over, text = self.over, self.text  # in this order: the text is written first
        on_status = self.limits.on_status or (lambda status: None)
        while len(self._statuses) > 1:
            self._statuses.popleft()
            on_status(self._statuses[0])
        chunk = self._growth.next(text, is_last=over)
        if chunk or not over:
            return chunk
        if self._statuses[0] != self.status:
            self._statuses[0] = self.status
            on_status(self.status)
        if self.error:
            raise self.error
        return None

    def remaining(self) -> float:
        """Seconds until ``timeout`` passes, infinitely many without one."""
        return max(0.0, self._deadline - time.monotonic())

    def cancel(self) -> None:
        """End the answer here, and have the thread end the job. Never blocks."""
        self.end("cancelled")
        if self.idle or os.getpid() != self._pid:
            self._question = None
            self.thread_ended = True  # it was never started, or it runs in the parent process
        elif connection := self.connection:
            connection.cancel()

    @property
    def idle(self) -> bool:
        """Whether nobody has read yet."""
        return self._question is not None

    @property
    def over(self) -> bool:
        """Whether the text, the status and the error are the last."""
        return bool(self._ends)

    @property
    def status(self) -> Status:
        return self._ends[0][0] if self._ends else self._statuses[-1]

    @property
    def error(self) -> Exception | None:
        return self._ends[0][1] if self._ends else None

    # What the thread calls

    def on_text(self, text: str) -> None:
        if self.over:
            return
        limit = self.limits.max_chars
        self.text = text[:limit]
        if len(text) > limit:
            self.fail(ResponseError(f"The answer grew past max_chars={limit} and was cut off."))
            self.cancel()
        self.wake()

    def on_status(self, status: Status) -> None:
        if status != self.status and not self.over:
            self._statuses.append(status)
            if self.limits.on_status:
                self.wake()

    def fail(self, error: Exception) -> None:
        if isinstance(error, ResponseError) and not self.over:
            error.text = self.text
        self.picture = None  # the error's traceback leads to this object
        self.end("failed", error)

    def end(self, stage: Stage, error: Exception | None = None) -> None:
        self._ends.append((Status(stage), error))
        self.wake()

    def wake(self) -> None:
        self._news = object()
        for _ in range(len(self._listeners)):  # only those that are registered so far
            with suppress(IndexError, RuntimeError):  # taken by another thread; a closed loop
                self._listeners.popleft()()
