"""One question on its way: the thread that asks it, and what that thread shares with the answer's reader."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..errors import ResponseError, ResponseTimeoutError
from ..media import Picture
from ..options import Limits, Question
from ..types import Stage, Status

if TYPE_CHECKING:
    from .connection import Connection

_LAST: set[Stage] = {"finished", "failed", "cancelled"}
LONGEST_DELAY = 60.0  # seconds; a Space that asks for more patience (Retry-After) is an error at once

logger = logging.getLogger("qvq_wrapper")


class Call:
    """One question on its way. Its thread writes here, its reader reads; neither waits for the other."""

    def __init__(self, question: Question, limits: Limits) -> None:
        self._limits = limits
        self._question: Question | None = question
        self._connection: Connection | None = None
        self._statuses: deque[Status] = deque([Status()], maxlen=1000)
        self._seen = ""
        self._pid = os.getpid()
        self._deadline = math.inf
        self._gone: SimpleQueue[None] = SimpleQueue()  # a destructor may put into it: it takes no lock
        self.cancelled = self.done = False
        self.error: Exception | None = None
        self.text = ""
        self.wake: Callable[[], object] = bool

    # What the reader calls

    def start(self) -> None:
        # Only the thread has the question from here on: no token is to be reached from an error.
        question, self._question = self._question, None
        if question:
            self._deadline = time.monotonic() + (self._limits.timeout or math.inf)
            threading.Thread(
                target=copy_context().run, args=(self._run, question), name="qvq_wrapper", daemon=True).start()

    def take(self) -> str | None:
        """The text that came since last time, ``""`` while there is none, None at the end."""
        if os.getpid() != self._pid and not self.done:
            self._fail(ResponseError("A forked process cannot read its parent's answer. Ask again."))
            self.done = True
        done, text = self.done, self.text  # in this order: the text is written first
        if not done and self.remaining() == 0:
            raise self._timed_out()
        while len(self._statuses) > 1 and (text == self._seen or self._statuses[1].stage not in _LAST):
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

    def _timed_out(self) -> ResponseError:
        error = ResponseTimeoutError(
            f"There was no complete answer within timeout={self._limits.timeout:g} s.", retryable=True)
        self._fail(error)
        return error

    def cancel(self, *, now: bool = False) -> None:
        """Have the thread end its job; from any thread or destructor, without waiting."""
        self.cancelled = True
        self._gone.put(None)
        if os.getpid() != self._pid:
            self.done = True  # its thread is in the parent process, and goes on there
        connection = self._connection
        if connection:
            connection.cut(now=now)
        if now:
            self._connection = None  # its thread may be held up, and no token is to be reached from an error

    @property
    def status(self) -> Status:
        return self._statuses[-1]

    @property
    def picture(self) -> Picture | None:
        question = self._question  # another thread may start
        return question.picture if question else None

    # What the thread does

    def _run(self, question: Question) -> None:
        attempt = 0
        error: Exception | None = ResponseError("The call broke off.")
        afterwards: list[Callable[[], None]] = []
        try:
            while True:
                error, may_have_job = self._attempt(question, afterwards)
                if error is None or may_have_job or self.cancelled:
                    break
                while afterwards:
                    afterwards.pop(0)()
                if not self._wait_to_retry(error, attempt):
                    break
                attempt += 1
        finally:
            if error and not self.cancelled:
                self._fail(error)
            self._stage("failed" if self.error else "cancelled" if self.cancelled else "finished")
            self._connection = None
            self.done = True
            self._wake()
            for task in afterwards:
                task()

    def _attempt(
        self, question: Question, afterwards: list[Callable[[], None]]
    ) -> tuple[Exception | None, bool]:
        """Ask once. Returns what went wrong, if anything, and whether the Space may have started a job."""
        from . import connection as connections, failures, session, space  # takes 0.4 s

        self._stage("connecting")
        connection = None
        try:
            self._connection = connection = connections.Connection(
                space.space_at(question.access), self._limits, self._stage)
            afterwards.append(connection.close)
            if self.cancelled:
                raise connections.CallCancelled
            session.ask(question, connection, self.on_text, self.on_status, afterwards)
        except BaseException as error:
            return failures.from_exception(error), bool(connection and connection.may_have_job)
        return None, True

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
