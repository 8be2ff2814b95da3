"""What can go wrong, as a caller sees it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ResponseError(Exception):
    """Something failed between here and the Space, or in the Space.

    Attributes:
        message: what happened, for people.
        status_code: the HTTP status that said so, or None.
        retry_after: seconds after which the Space asked to be tried again, or None.
        retryable: whether the same question may well succeed later.
        text: the part of the answer that had arrived.
    """

    def __init__(
        self, message: str, *, status_code: int | None = None, retry_after: float | None = None,
        retryable: bool = False,
    ) -> None:
        message = _printable(message)  # a Space's words could steer a terminal
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.retry_after = retry_after
        self.retryable = retryable
        self.text = ""


class AuthenticationError(ResponseError):
    """The Space refused the token or login, or wants one (HTTP 401, 403)."""


class RateLimitError(ResponseError):
    """Too many requests (HTTP 429), a full queue, or a GPU quota used up."""


class SpaceConnectionError(ResponseError):
    """The Space could not be reached, or the line to it broke off or went bad."""


class SpaceUnavailableError(ResponseError):
    """There is no usable Space at the address: asleep, paused, building, another app, another endpoint."""


class ResponseTimeoutError(ResponseError, TimeoutError):
    """``timeout`` passed, or the line was silent for ``read_timeout``."""


class MediaError(ValueError):
    """What was given as a picture is none, is empty, cannot be read, or is larger than the Space takes."""


class ModelNotSupportedError(ValueError):
    """The provider has no model of that name."""


def discreet(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Keeps the arguments, among them a token and a picture, out of tracebacks that show local variables."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            refusal = error.with_traceback(None)
            refusal.__cause__ = refusal.__context__ = None
        del args, kwargs
        raise refusal

    return call


def plain(text: str, limit: int = 500) -> str:
    """``text`` in one line, without HTML tags and control characters, cut at ``limit`` characters."""
    text = html.unescape(re.sub(r"</?[A-Za-z][^<>]*>", " ", text))
    text = " ".join(_printable(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
