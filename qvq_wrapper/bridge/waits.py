"""Reads when a Space wants to be asked again."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime

_WAIT = re.compile(r"\bin (?:(\d{1,4}) days?, )?(\d{1,4}):(\d\d):(\d\d)\b")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3).

    Without one, return those of the IETF draft's RateLimit field
    (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/), the longest of the
    policies that are used up.
    """
    value = headers.get("retry-after", "")
    with suppress(ValueError, OverflowError):  # int() takes neither nan nor inf
        return max(0.0, float(int(value)))
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    with suppress(ImportError, ValueError, OverflowError):
        # Not every version has it.
        from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

        fields = headers.get("ratelimit", "").split(",")
        policies = [parse_ratelimit_headers({"ratelimit": field}) for field in fields]
        return max(
            (float(each.reset_in_seconds) for each in policies if each and not each.remaining),
            default=None)
    return None


def wait_in(message: str) -> float | None:
    """Return the seconds of "Try again in 1 day, 0:09:48", which has a timedelta's words."""
    found = _WAIT.search(message)
    return found and float(timedelta(
        days=int(found[1] or 0), hours=int(found[2]), minutes=int(found[3]), seconds=int(found[4])
    ).total_seconds())
