"""Slows all workers of a run when the Space refuses questions, and decides when to give up."""

from __future__ import annotations

import logging
import random
import time

import anyio

from ..errors import RateLimitError, SpaceUnavailableError
from ..types import describe_seconds

UNREACHABLE = 60.0  # seconds without an answer after which a run ends, if nobody asked to wait
LONGEST_PAUSE = 10.0  # seconds between two questions to a Space that does not say when to return
WORTH_SAYING = 5.0  # seconds; a longer pause is announced

logger = logging.getLogger("qvq_wrapper")


class Brake:
    """Limits how many questions are under way, and when the next may be asked.

    A refusal lowers the limit to the number of questions that the Space has accepted. Answers raise
    it again: by one each up to that number, then by one for as many answers as are under way
    (https://www.rfc-editor.org/rfc/rfc5681#section-3.1).

    Attributes:
        answers: the number of questions that the Space has answered.
    """

    def __init__(self, concurrency: int, patience: float) -> None:
        self.answers = 0
        self._patience = patience
        self._most = self._limit = self._accepted = float(concurrency)
        self._under_way = 0
        self._pause, self._resume_at = 1.0, 0.0
        self._since: float | None = None  # the first failure after the last answer
        self._announced = self._released = False
        self._changed = anyio.Event()

    async def enter(self) -> None:
        """Wait until a question may be asked."""
        while not self._released:
            pause = self._resume_at - time.monotonic()
            if pause <= 0 and self._under_way < int(self._limit):
                break
            if self._changed.is_set():
                self._changed = anyio.Event()
            with anyio.move_on_after(pause if pause > 0 else None):
                await self._changed.wait()
        self._under_way += 1

    def leave(self) -> None:
        self._under_way -= 1
        self._changed.set()

    def release(self) -> None:
        """Let everyone pass, because the run ends."""
        self._released = True
        self._changed.set()

    def answered(self) -> None:
        """The Space has answered a question. Let more be under way."""
        self.answers += 1
        self._since, self._pause = None, 1.0
        self._announced = self._announced and time.monotonic() < self._resume_at
        step = 1 if self._limit < self._accepted else 1 / self._limit
        self._limit = min(self._most, self._limit + step)

    def narrow(self, limit: int) -> None:
        """Let no more questions be under way, until the next answer."""
        self._limit = min(self._limit, float(limit))

    def failed(self, error: Exception) -> bool:
        """Slow down after a failure of the Space. Return whether the run may go on.

        Called after the failed question has left.
        """
        now = time.monotonic()
        self._since = self._since or now
        refused = isinstance(error, RateLimitError)
        waits = refused or isinstance(error, SpaceUnavailableError) and error.retryable
        patience = self._patience if waits else min(self._patience, UNREACHABLE)
        left = self._since + patience - now
        retry_after = getattr(error, "retry_after", None) or 0.0
        if self._released or left <= 0 or retry_after > left:
            return False
        is_news = now >= self._resume_at  # not of a question that was asked before the pause
        # One question finds out whether a Space that was away is back.
        self._limit = max(1.0, min(self._limit, self._under_way)) if refused else 1.0
        if refused and is_news:
            self._accepted = self._limit
        pause = retry_after
        if not pause and is_news and not (refused and self._under_way):
            pause = min(left, self._pause * random.uniform(0.5, 1))
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        self._resume_at = max(self._resume_at, now + pause)
        if pause > WORTH_SAYING and not self._announced:
            self._announced = True
            logger.warning("waiting %s: %s", describe_seconds(pause), error)
        return True
