"""What can go wrong, as a caller sees it."""

from __future__ import annotations

from .printable import printable


class ResponseError(Exception):
    """Something failed in the Space, or on the way to it.

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
        message = printable(message)  # it may have a Space's words
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
    """The Space could not be reached, or the connection broke off or brought nonsense."""


class SpaceUnavailableError(ResponseError):
    """The address has no usable Space: asleep, paused, building, another app, another endpoint."""


class ResponseTimeoutError(ResponseError, TimeoutError):
    """``timeout`` passed, or the Space was silent for ``read_timeout``."""


class MediaError(ValueError):
    """The picture cannot be used: not an image, empty, unreadable, or too large for the Space."""


class ModelNotSupportedError(ValueError):
    """The provider has no model of that name."""
