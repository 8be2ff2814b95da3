"""Asks the questions of a run, several at a time, and decides what each failure means."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from ..errors import (
    AuthenticationError, RateLimitError, ResponseError, SpaceConnectionError, SpaceUnavailableError,
)
from ..question.options import count, seconds
from .brake import Brake
from .rows import Row, Rows, answer_row, check_options, error_text

Result = dict[str, Any]
Ask = Callable[[dict[str, Any]], Awaitable[Any]]

LONGEST_TURN = 0.002  # seconds without a turn for other tasks
MAX_RETRIES = 2
FEWEST_SAME = 10  # equal errors that end a run, or twice `concurrency`


class Run:
    """The workers of one run, and what they share."""

    def __init__(
        self, concurrency: int, ask: Ask | None, patience: float, options: dict[str, Any]
    ) -> None:
        self.concurrency = count("concurrency", concurrency, 1)
        self._patience = seconds("patience", patience, 0)
        self._ask: Ask = ask or partial(answer_row, **options)
        self.options: dict[str, Any] = getattr(ask, "options", options)  # of on_dask
        is_ours = ask is None or hasattr(ask, "options")
        self._of_the_row = (ValueError, TypeError) if is_ours else (ValueError,)
        if ask is None:
            check_options(options)
        elif not callable(ask):
            raise TypeError(f"ask must be a function of a row, not {type(ask).__name__}")
        elif useless := [name for name, value in options.items() if value]:
            raise TypeError(f"with ask= these options have no effect: {', '.join(useless)}")
        self._again: deque[Row] = deque()  # questions to be asked again
        self._same: Counter[int] = Counter()  # equal errors since the last answer
        self._turn = 0.0
        self._error: Exception | None = None  # why the run ends

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

    async def _work(self, group: TaskGroup) -> None:
        try:
            while not self._error and (row := await self._next()):
                if time.monotonic() > self._turn + LONGEST_TURN:
                    await checkpoint()  # gives other tasks a turn, however fast the answers are
                    self._turn = time.monotonic()
                if result := await self._answer(row):
                    await self._emit(row, result)
        except anyio.get_cancelled_exc_class():
            # If the run itself is cancelled, nobody sees this error.
            self._end(ResponseError("The function given as ask was cancelled by someone else."))
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
        start, error = time.monotonic(), row.error
        outcome: Result = {}
        if error is None:
            await self._brake.enter()
            start = time.monotonic()
            try:
                if self._error:
                    return None
                row.attempts += 1
                outcome = _outcome(await self._ask(dict(row.question)))
                self._same.clear()
                self._brake.answered()
            except Exception as failure:
                error = failure
            finally:
                self._brake.leave()
            if error and self._is_for_later(row, error):
                return None
        if error:
            outcome = {"error": _describe(error, row.place)}
        return {**outcome, "seconds": round(time.monotonic() - start, 3), "attempts": row.attempts}

    def _is_for_later(self, row: Row, error: Exception) -> bool:
        """Decide what a failure means for the question, the brake and the run.

        Return whether the question is to be asked again, in this run or in the next.
        """
        answers = self._brake.answers
        match error:
            case AuthenticationError():
                self._end(error)
            case SpaceUnavailableError(retryable=False) if not answers:
                self._end(error)
            case SpaceConnectionError() | SpaceUnavailableError():
                row.answers = answers if row.answers is None else row.answers
                row.retries += answers > row.answers  # only while the Space answers others
                if row.retries == MAX_RETRIES:
                    return False
            case RateLimitError():
                pass
            case _:
                if not isinstance(error, self._of_the_row):
                    self._count(error)
                return False
        if not self._brake.failed(error):
            self._end(error)
        self._again.append(row)
        return True

    def _count(self, error: Exception) -> None:
        """End the run when the same error has come again and again: the app is broken."""
        words = re.sub(r"""\d+|'[^']*'|"[^"]*"|“[^”]*”""", "", error_text(error)[:2000])
        same = hash((type(error), words))
        self._same[same] += 1
        left = max(FEWEST_SAME, 2 * self.concurrency) - self._same[same]
        if left <= 0:
            self._end(error)
        self._brake.narrow(left)

    def _end(self, error: Exception) -> None:
        """Ask nothing more. The answers under way may still arrive."""
        if isinstance(error, ResponseError):
            error = error.with_traceback(None)  # its frames hold the token
        self._error = self._error or error
        self._brake.release()


def _outcome(answer: Any) -> Result:
    """Return the columns that `ask` gave."""
    columns = answer if isinstance(answer, Mapping) else {"answer": answer}
    if not isinstance(columns.get("answer"), str):
        kind = type(columns.get("answer")).__name__
        raise TypeError(f"ask must give a str, or a dict with a str as answer, not {kind}")
    return {name: columns[name] for name in ("answer", "asked") if columns.get(name) is not None}


def _describe(error: Exception, place: str) -> dict[str, Any]:
    message = error_text(error)
    if not isinstance(error, ResponseError):
        message = f"{place}: {message}"
    retryable = bool(getattr(error, "retryable", isinstance(error, TimeoutError)))
    return {"kind": type(error).__name__, "message": message, "retryable": retryable}
