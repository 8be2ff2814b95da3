"""The thread of one question, and what it shares with the answer's reader."""

from __future__ import annotations

import logging
import math
import os
import random
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
from ..question.media import Picture
from ..question.options import Limits, Question
from ..types import Stage, Status

if TYPE_CHECKING:
    from .connection import Connection

LONGEST_DELAY = 60.0  # seconds; a longer Retry-After is an error at once

logger = logging.getLogger("qvq_wrapper")


class Call:
    """One question on its way. Its thread writes here and its reader reads, without waiting.

    ==================== ==================================================== ================
    state                meaning                                              written by
    ==================== ==================================================== ================
    ``_question``        the question, until the first step                   reader, cancel()
    ``_connection``      the attempt's connection, which cancel() ends        thread
    ``text``,            the latest of the Space                              thread
    ``_statuses``
    ``_ends``            how the answer ended. Several may say so at once;    thread, reader,
                         the first counts. Then the text is the last.         cancel()
    ``thread_ended``     no thread works on the answer any more               thread, reader
    ``_seen``,           what the reader has                                  reader
    ``_told_end``
    ==================== ==================================================== ================

    ``cancel()`` may come from any thread, destructor or signal handler. It takes no lock.
    """

    def __init__(self, question: Question, limits: Limits) -> None:
        self._question: Question | None = question
        self._limits = limits
        self._connection: Connection | None = None
        self._statuses: deque[Status] = deque([Status()], maxlen=1000)
        self._deadline = math.inf
        self._pid = os.getpid()
        self._seen = ""
        self._told_end = False  # on_status knows
        self._retries = 0
        self._cancel_signal: SimpleQueue[None] = SimpleQueue()  # ends the wait before a retry
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
            self._deadline = time.monotonic() + (self._limits.timeout or math.inf)
            run = copy_context().run
            thread = threading.Thread(
                target=run, args=(self._run, question), name="qvq_wrapper", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._fail(ResponseError("This machine cannot start another thread."))
                self.thread_ended = True

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` once, as soon as there is news. It must neither block nor lock."""
        self._listeners.append(listener)

    def next_chunk(self) -> str | None:
        """Return new text, ``""`` if there is none yet, None after the end."""
        if os.getpid() != self._pid and not self.over:
            self._fail(ResponseError("A forked process cannot read its parent's answer. Ask anew."))
            self.thread_ended = True
        if self.remaining() == 0 and not self.over:
            self._fail(ResponseTimeoutError(
                f"There was no complete answer within timeout={self._limits.timeout:g} s.",
                retryable=True))
        over, text = self.over, self.text  # in this order: the text is written first
        on_status = self._limits.on_status or (lambda status: None)
        while len(self._statuses) > 1:
            self._statuses.popleft()
            on_status(self._statuses[0])
        start = len(self._seen)
        if not text.startswith(self._seen):
            start = len(os.path.commonprefix([self._seen, text]))
        self._seen = text
        if start < len(text):
            return text[start:]
        if not over:
            return ""
        if not self._told_end:
            self._told_end = True
            on_status(self.status)
        if self.error:
            raise self.error
        return None

    def result(self) -> str:
        """Return the text of an answer that has ended, if it is complete."""
        error = self.error
        if self.status.stage == "cancelled":
            error = ResponseError(f"The answer was cancelled after {len(self.text)} characters.")
            error.text = self.text
        if error:
            raise error
        return self.text

    def remaining(self) -> float | None:
        """Seconds until ``timeout`` passes, None without one."""
        return None if self._deadline == math.inf else max(0.0, self._deadline - time.monotonic())

    def cancel(self) -> None:
        """End the answer here, and have the thread end the job. Never blocks."""
        self._end("cancelled")
        self._cancel_signal.put(None)
        if self.idle or os.getpid() != self._pid:
            self._question = None
            self.thread_ended = True  # none was started, or it goes on in the parent process
        elif connection := self._connection:
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

    # What the thread does

    def _run(self, question: Question) -> None:
        """Ask until there is an answer, or an error that is not to be tried again.

        This is the only loop that tries anything again:

        ======================================= ===========================================
        what failed                             what is done
        ======================================= ===========================================
        anything before the question, because   again at once, over a new connection
        the kept connection had been closed
        the question was refused because of     again at once, with info that is new, after
        info that an earlier call had fetched   a new login if there is one
        anything else before the question; the  again after a delay, ``max_retries`` times,
        question, by 429 or a full queue        if the error is retryable
        the answer's stream, because the kept   only this request again, over a new
        connection had been closed              connection
        the question in any other way; later    nothing: the Space may have started a job
        ======================================= ===========================================
        """
        error: Exception | None = ResponseError("The call broke off.")
        later: list[Callable[[], None]] = []
        try:
            while True:
                error = self._attempt(question, later)
                delay = self._retry_delay(error)
                if delay is None:
                    break
                self._finish(later)
                with suppress(Empty):
                    self._cancel_signal.get(timeout=delay)
                    break
        finally:
            self._connection = None  # before the reader knows: its cancel() must not cut it now
            if error:
                self._fail(error)
            self._end("finished")
            self.thread_ended = True
            self._wake()
            self._finish(later)

    def _finish(self, later: list[Callable[[], None]]) -> None:
        while later:
            with suppress(Exception):  # how the attempt ended is known already
                later.pop(0)()

    def _attempt(self, question: Question, later: list[Callable[[], None]]) -> Exception | None:
        """Ask once. Return what went wrong, if anything."""
        self._stage("connecting")
        try:
            from .failures import from_exception  # gradio_client takes 0.4 s
            from .session import answer
            from .space import space_at
        except Exception as error:
            kind = type(error).__name__
            return ResponseError(f"gradio_client cannot be imported ({kind}: {error}).")
        try:
            space = space_at(question.access)
            connection = self._connection = space.connect(self._limits, self._stage)
            later.append(partial(space.release, connection))
            if self.over:  # perhaps by a cancel() that did not see the connection yet
                connection.cancelled = True
            answer(question, space, connection, self.on_text, self.on_status, later)
        except BaseException as error:
            return from_exception(error, None if self.text else question.picture)
        return None

    def _retry_delay(self, error: Exception | None) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is to be none.

        Exponential backoff with full jitter, and never less than the Space's Retry-After:
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        connection, retries = self._connection, self._retries
        if self.over or connection and connection.may_have_job:
            return None
        if connection and connection.ask_again:
            return 0.0
        self._retries += 1
        if not (isinstance(error, ResponseError) and error.retryable):
            return None
        delay = max(random.uniform(0, min(8.0, 0.5 * 2**retries)), error.retry_after or 0)
        remaining = self.remaining()
        if retries >= self._limits.max_retries or delay > LONGEST_DELAY:
            return None
        if remaining is not None and delay >= remaining:
            return None
        logger.info("asking again in %.1f s: %s", delay, error)
        return delay

    def on_text(self, text: str) -> None:
        if self.over:
            return
        limit = self._limits.max_chars
        self.text = text[:limit]
        if len(text) > limit:
            self._fail(ResponseError(f"The answer grew past max_chars={limit} and was cut off."))
            self.cancel()
        self._wake()

    def on_status(self, status: Status) -> None:
        if status != self.status:
            self._statuses.append(status)
            if self._limits.on_status:
                self._wake()

    def _stage(self, stage: Stage) -> None:
        self.on_status(Status(stage))

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ResponseError) and not self.over:
            error.text = self.text
        self.picture = None  # the frames of the error's traceback refer to this object
        self._end("failed", error)

    def _end(self, stage: Stage, error: Exception | None = None) -> None:
        self._ends.append((Status(stage), error))
        self._wake()

    def _wake(self) -> None:
        for _ in range(len(self._listeners)):  # only those that are registered so far
            with suppress(IndexError, RuntimeError):  # taken by another thread; a closed loop
                self._listeners.popleft()()
