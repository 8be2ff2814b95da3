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
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..errors import ResponseError, ResponseTimeoutError
from ..question.media import Picture
from ..question.options import Limits, Question
from ..types import Stage, Status

if TYPE_CHECKING:
    from .connection import Connection

LONGEST_DELAY = 60.0  # seconds; a longer Retry-After is an error at once

_FINAL_STAGES: set[Stage] = {"finished", "failed", "cancelled"}

logger = logging.getLogger("qvq_wrapper")


class Call:
    """One question on its way. Its thread writes here and its reader reads, without waiting."""

    def __init__(self, question: Question, limits: Limits) -> None:
        self._question: Question | None = question
        self._limits = limits
        self._connection: Connection | None = None
        self._statuses: deque[Status] = deque([Status()], maxlen=1000)
        self._deadline = math.inf
        self._pid = os.getpid()
        self.picture: Picture | None = question.picture
        self._seen = ""  # the text that the reader has
        self._cancel_signal: SimpleQueue[None] = SimpleQueue()  # no lock: a destructor may put
        self.text = ""
        self.error: Exception | None = None
        self.cancelled = False  # the reader is gone
        self.done = False  # the thread has set its last text, status and error
        self.wake: Callable[[], object] = lambda: None  # tells the reader that there is news

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
                self._stage("failed")
                self.done = True

    def next_chunk(self) -> str | None:
        """Return new text, ``""`` if there is none yet, None after the end."""
        if os.getpid() != self._pid and not self.done:
            self._fail(ResponseError("A forked process cannot read its parent's answer. Ask anew."))
            self.done = True
        done, text = self.done, self.text  # in this order: the text is written first
        if not done and self.remaining() == 0:
            error = ResponseTimeoutError(
                f"There was no complete answer within timeout={self._limits.timeout:g} s.",
                retryable=True)
            self._fail(error)
            raise error
        while len(self._statuses) > 1:
            if text != self._seen and self._statuses[1].stage in _FINAL_STAGES:
                break  # the last status comes after the last chunk
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

    def cancel(self, *, now: bool = False) -> None:
        """Tell the thread to end the job. Never blocks; any thread or destructor may call it."""
        self.cancelled = True
        self._cancel_signal.put(None)
        if os.getpid() != self._pid:
            self.done = True  # the thread is in the parent process, and goes on there
        if connection := self._connection:
            connection.cut(now=now)
        if now:
            self._connection = None  # a traceback must not reach the token

    @property
    def status(self) -> Status:
        return self._statuses[-1]

    # What the thread does

    def _run(self, question: Question) -> None:
        attempt, later = 0, list[Callable[[], None]]()
        error: Exception | None = ResponseError("The call broke off.")
        try:
            while error := self._attempt(question, later):
                delay = self._retry_delay(error, attempt)
                if delay is None:
                    break
                self._finish(later)
                with suppress(Empty):
                    self._cancel_signal.get(timeout=delay)
                    break
                attempt += 1
        finally:
            if error and not self.cancelled:
                self._fail(error)
            self._stage("failed" if self.error else "cancelled" if self.cancelled else "finished")
            self._connection, self.done = None, True
            self._wake()
            self._finish(later)

    def _finish(self, later: list[Callable[[], None]]) -> None:
        while later:
            try:
                later.pop(0)()
            except Exception as error:
                logger.debug("after the end of an attempt: %s", type(error).__name__)

    def _attempt(self, question: Question, later: list[Callable[[], None]]) -> Exception | None:
        """Ask once. Return what went wrong, if anything."""
        self._stage("connecting")
        try:
            from . import connection, failures, session, space  # takes 0.4 s
        except Exception as error:
            kind = type(error).__name__
            return ResponseError(f"gradio_client cannot be imported ({kind}: {error}).")
        try:
            asked = space.space_at(question.access)
            mine = self._connection = connection.Connection(
                question.access, self._limits, self._stage, asked.suspect)
            later.append(mine.close)
            if self.cancelled:
                raise failures.CallCancelled
            session.ask(question, asked, mine, self.on_text, self.on_status, later)
        except BaseException as error:
            return failures.from_exception(error)
        return None

    def _retry_delay(self, error: Exception, attempt: int) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is to be none.

        Exponential backoff with full jitter, and never less than the Space's Retry-After:
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        may_have_job = self._connection and self._connection.may_have_job
        if may_have_job or self.cancelled or attempt >= self._limits.max_retries:
            return None
        if not (isinstance(error, ResponseError) and error.retryable):
            return None
        delay = max(random.uniform(0, min(8.0, 0.5 * 2**attempt)), error.retry_after or 0)
        remaining = self.remaining()
        if delay > LONGEST_DELAY or remaining is not None and delay >= remaining:
            return None
        logger.info("asking again in %.1f s: %s", delay, error)
        return delay

    def on_text(self, text: str) -> None:
        limit = self._limits.max_chars
        self.text = text[:limit]
        if len(text) > limit and not self.error:
            self._fail(ResponseError(f"The answer grew past max_chars={limit} and was cut off."))
            self.cancel()
        self._wake()

    def on_status(self, status: Status) -> None:
        if status is not self.status and status != self.status:
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
