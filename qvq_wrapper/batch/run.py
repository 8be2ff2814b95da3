"""Asks the questions of a run, several at a time, and decides what each failure means."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from ..errors import (
    AuthenticationError, RateLimitError, ResponseError, ResponseTimeoutError, SpaceConnectionError,
    SpaceUnavailableError,
)
from ..provider import Qwen_QVQ_72B
from .brake import Brake
from .rows import Row, Rows, missing

Question = dict[str, Any]
Result = dict[str, Any]
Ask = Callable[[Question], Awaitable[str]]

LONGEST_TURN = 0.002  # seconds without a turn for other tasks
MAX_STRIKES = 2
_OWN_COLUMNS = {"answer", "error", "seconds", "attempts", "key"}


def _space_asker(options: dict[str, Any]) -> Ask:
    """Return the function that asks the Space. Options that cannot be used are refused now."""
    options = {"max_retries": 0, **options}  # one brake for all questions asks again
    Qwen_QVQ_72B.ask("Hi", **options).cancel()

    async def ask(question: Question) -> str:
        image = None if question.get("image") == "" else question.get("image")
        image = None if missing(image) else image
        prompt: Any = question.get("prompt")
        if not missing(prompt):
            return await Qwen_QVQ_72B.ask(prompt, image, **options).read()
        media = None if image is None else [image]
        return await Qwen_QVQ_72B.create_async_generator(
            messages=question["messages"], media=media, **options).read()

    return ask


class Run:
    """The workers of one run, and what they share."""

    def __init__(
        self, concurrency: int, ask: Ask | None, patience: float, options: dict[str, Any]
    ) -> None:
        _check_number("concurrency", concurrency, 1, int)
        _check_number("patience", patience, 0, (int, float))
        if ask is None:
            ask = _space_asker(options)
            self._harmless: tuple[type[Exception], ...] = (ValueError, TypeError)  # of bad rows
        elif not callable(ask):
            raise TypeError(f"ask must be a function of a row, not {type(ask).__name__}")
        elif useless := [name for name, value in options.items() if value]:
            raise TypeError(f"with ask= these options have no effect: {', '.join(useless)}")
        else:
            self._harmless = (ValueError,)
        self.concurrency = concurrency
        self._ask = ask
        self._patience = patience
        self._again: deque[Row] = deque()  # questions to be asked again
        self._in_a_row = 0  # failures of a kind that a broken Space or function would give
        self._error: Exception | None = None  # why the run ends
        self._was_cancelled = False
        self._turn = 0.0

    async def answer_all(
        self, rows: Rows, emit: Callable[[Row, Result], Awaitable[object]]
    ) -> None:
        """Ask every row, and hand each result to ``emit``. Raises the error that ends the run."""
        self._rows, self._emit = rows, emit
        self._brake = Brake(self.concurrency, self._patience)
        try:
            async with anyio.create_task_group() as group:
                for _ in range(self.concurrency):
                    group.start_soon(self._work, group)
        finally:
            rows.close()
        if error := self._error or rows.failure:
            raise error
        if self._was_cancelled:
            raise ResponseError("The function given as ask was cancelled by someone else.")

    async def _work(self, group: TaskGroup) -> None:
        try:
            while not self._error and (row := await self._next()):
                if time.monotonic() > self._turn + LONGEST_TURN:
                    await checkpoint()  # gives other tasks a turn, however fast the answers are
                    self._turn = time.monotonic()
                result = await self._answer(row)
                if result is not None:
                    await self._emit(row, result)
        except anyio.get_cancelled_exc_class():
            self._was_cancelled = True
            raise
        except Exception as error:  # the result cannot be handed on
            self._end(error)
            group.cancel_scope.cancel()

    async def _next(self) -> Row | None:
        """Return the next row to ask.

        New rows come before the last ones to fail: if one of these is what breaks the Space, the
        others show that the Space still works.
        """
        if len(self._again) <= self.concurrency and (row := await self._rows.next()):
            return row
        return self._again.popleft() if self._again else None

    async def _answer(self, row: Row) -> Result | None:
        """Return the result, or None if the question is to be asked again later."""
        if row.error:
            return _result(row, time.monotonic(), error=_describe(row.error, row.place))
        episode = await self._brake.enter()
        start = time.monotonic()
        try:
            try:
                if self._error:
                    return None
                row.attempts += 1
                answer = await self._ask(row.question())
            finally:
                self._brake.leave()
            if not isinstance(answer, str):
                raise TypeError(f"ask must give a str, not {type(answer).__name__}")
        except Exception as error:
            if self._is_for_later(row, error, episode):
                return None
            return _result(row, start, error=_describe(error, row.place))
        self._sign_of_life()
        return _result(row, start, answer=answer)

    def _sign_of_life(self) -> None:
        self._in_a_row = 0
        self._brake.sign_of_life()

    def _is_for_later(self, row: Row, error: Exception, episode: int) -> bool:
        """Decide what a failure means for the question, the brake and the run.

        Return whether the question is to be asked again, in this run or in the next.
        """
        match error:
            case AuthenticationError():
                self._end(error)
                return True
            case RateLimitError() | SpaceConnectionError() | SpaceUnavailableError():
                return self._failed_at_space(row, error, episode)
            case ResponseTimeoutError(text=""):
                self._count(error)
            case ResponseError():  # the app's own error, or an answer that took too long
                self._sign_of_life()
            case _ if not isinstance(error, self._harmless):
                self._count(error)
        return False

    def _count(self, error: Exception) -> None:
        """End the run after too many failures of a kind that a dead Space or a bug would give."""
        self._in_a_row += 1
        if self._in_a_row >= max(5, 2 * self.concurrency):
            self._end(error)

    def _failed_at_space(self, row: Row, error: ResponseError, episode: int) -> bool:
        alive = self._brake.signs_of_life
        if not isinstance(error, RateLimitError):
            if row.failed_at is None:
                row.failed_at = alive
            elif alive > row.failed_at:  # the Space answers others: it is this question
                row.strikes += 1
            if row.strikes >= MAX_STRIKES:
                return False
        hopeless = isinstance(error, SpaceUnavailableError) and not error.retryable and not alive
        if hopeless or not self._brake.failed(error, episode):
            self._end(error)
        self._again.append(row)
        return True

    def _end(self, error: Exception) -> None:
        """Ask nothing more. The answers under way may still arrive."""
        if isinstance(error, ResponseError):
            error = error.with_traceback(None)  # its frames hold the token
        self._error = self._error or error
        self._brake.release()


def _check_number(name: str, value: Any, minimum: int, types: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, types):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not minimum <= value or math.isinf(value):
        raise ValueError(f"{name} must be a number from {minimum}, not {value}")


def _result(row: Row, start: float, **outcome: Any) -> Result:
    columns = row.plain or (row.columns if isinstance(row.columns, dict) else {})
    if _OWN_COLUMNS.isdisjoint(columns):
        result = dict(columns)
    else:
        result = {f"given_{name}" if name in _OWN_COLUMNS else name: value
                  for name, value in columns.items()}
    seconds = round(time.monotonic() - start, 3)
    result.update(outcome, seconds=seconds, attempts=row.attempts)
    return result


def _describe(error: Exception, place: str) -> dict[str, Any]:
    message = str(error) or type(error).__name__
    if not isinstance(error, ResponseError):
        message = f"{place}: {message}"
    retryable = bool(getattr(error, "retryable", isinstance(error, TimeoutError)))
    return {"kind": type(error).__name__, "message": message, "retryable": retryable}
