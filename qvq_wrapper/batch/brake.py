"""Slows all workers of a run when the Space refuses questions, and decides when to give up."""

from __future__ import annotations

import logging
import random
import time

import anyio

from ..errors import RateLimitError, SpaceUnavailableError
from ..types import describe_seconds

UNREACHABLE = 60.0  # seconds without any sign of life after which a run ends
LONGEST_PAUSE = 10.0  # seconds between two questions to a Space that does not say when to return
WORTH_SAYING = 5.0  # seconds; a longer pause is announced
LONGEST_GAP = 32  # answers before the next attempt to have one more question under way

logger = logging.getLogger("qvq_wrapper")


class Brake:
    """Limits how many questions are under way, and when the next may be asked.

    The limit starts at `concurrency`. A refusal lowers it to the number of questions that the Space
    has accepted. Answers raise it again: quickly to what the Space took before, slowly beyond.
    """

    def __init__(self, concurrency: int, patience: float) -> None:
        self.signs_of_life = 0
        self._patience = patience
        self._concurrency = self._limit = self._ceiling = concurrency
        self._under_way = 0
        self._resume_at = 0.0
        self._since: float | None = None  # the first failure after the last sign of life
        self._failures = 0
        self._episode = 0  # a failure of a question from an earlier episode tells nothing new
        self._gap, self._calm, self._raised = 1, 0, False
        self._announced = self._released = False
        self._changed = anyio.Event()

    async def enter(self) -> int:
        """Wait until a question may be asked. Return the number of the current episode."""
        while True:
            pause = self._resume_at - time.monotonic()
            if self._released or self._under_way < self._limit and pause <= 0:
                self._under_way += 1
                return self._episode
            if self._changed.is_set():
                self._changed = anyio.Event()
            with anyio.move_on_after(pause if pause > 0 else None):
                await self._changed.wait()

    def leave(self) -> None:
        self._under_way -= 1
        self._changed.set()

    def release(self) -> None:
        """Let everyone pass, because the run ends."""
        self._released = True
        self._changed.set()

    def sign_of_life(self) -> None:
        """The Space has answered a question, if only with an error of its app."""
        self.signs_of_life += 1
        self._failures, self._since = 0, None
        if time.monotonic() >= self._resume_at:
            self._announced = False
        if self._limit < self._ceiling:
            self._limit += 1
        elif self._ceiling < self._concurrency:
            self._calm += 1
            if self._calm >= self._gap:
                if self._raised:  # the previous raise was no mistake
                    self._gap = max(1, self._gap // 2)
                self._calm, self._raised = 0, True
                self._ceiling += 1
                self._limit += 1

    def failed(self, error: Exception, episode: int) -> bool:
        """Slow down after a failure of the Space. Return whether the run may go on.

        Called after the failed question has left.
        """
        now = time.monotonic()
        self._since = self._since or now
        refused = isinstance(error, RateLimitError)
        starting = isinstance(error, SpaceUnavailableError) and error.retryable
        waits = refused or starting  # the Space itself asks to come back
        patience = self._patience if waits else min(self._patience, UNREACHABLE)
        left = self._since + patience - now
        retry_after = getattr(error, "retry_after", None) or 0.0
        if self._released or left <= 0 or retry_after > left:
            return False
        if refused:
            self._limit = self._ceiling = max(1, min(self._ceiling, self._under_way))
        else:
            self._limit = 1  # one question finds out whether the Space is back
        if episode == self._episode:
            self._episode += 1
            self._failures += 1
            if refused:
                self._gap, self._calm = min(2 * self._gap, LONGEST_GAP), 0
                self._raised = False
            if not retry_after and not (refused and self._under_way):
                pause = min(LONGEST_PAUSE, 0.5 * 2 ** min(self._failures, 9))
                self._pause(min(left, pause * random.uniform(0.5, 1)), error)
        if retry_after:
            self._pause(retry_after, error)
        return True

    def _pause(self, seconds: float, error: Exception) -> None:
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)
        if seconds > WORTH_SAYING and not self._announced:
            self._announced = True
            logger.warning("waiting %s: %s", describe_seconds(seconds), error)
