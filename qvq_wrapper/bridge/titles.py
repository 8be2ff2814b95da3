"""What a Space says in the title of its ``gr.Error``: whether to come back, and when.

A Space in front of a model's server knows more than its words can tell a program. Any Space may
say it in one of these titles:

- ``Busy, retry later`` or ``Busy, retry after 30 s``: a ``RateLimitError``;
- ``Unavailable, retry later`` or ``Unavailable, retry after 30 s``: a ``SpaceUnavailableError``
  that is ``retryable``;
- ``Unavailable``: one that is not.

Any other title says nothing, as gradio's own "Error" does.
"""

from __future__ import annotations

import re

from ..errors import RateLimitError, ResponseError, SpaceUnavailableError

_TITLE = re.compile(r"(Busy|Unavailable)(?:, retry (?:later|after (\d{1,7}) s))?", re.ASCII)


def title_of(error: ResponseError) -> str:
    """Return the title that passes this error on."""
    if not isinstance(error, (RateLimitError, SpaceUnavailableError)):
        return "Error"
    title = "Busy" if isinstance(error, RateLimitError) else "Unavailable"
    if error.retry_after is not None:
        return f"{title}, retry after {min(error.retry_after, 9_999_999):.0f} s"
    return f"{title}, retry later" if error.retryable else title


def error_from(title: object, message: str) -> ResponseError | None:
    """Return the error that a Space passes on, or None if its title says nothing."""
    found = isinstance(title, str) and _TITLE.fullmatch(title)
    if not found:
        return None
    wait = float(found[2]) if found[2] else None
    retryable = found[0] != found[1]
    kind = RateLimitError if found[1] == "Busy" else SpaceUnavailableError
    return kind(message, retry_after=wait, retryable=retryable)
