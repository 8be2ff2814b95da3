"""Makes the name under which a picture is uploaded."""

from __future__ import annotations

import re

from ..printable import printable

# Windows refuses them: https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file.
_REFUSED = re.compile('[<>:"|?*]')
MAX_NAME_BYTES = 255  # NAME_MAX of Linux; https://man7.org/linux/man-pages/man0/limits.h.0p.html
MAX_SUFFIX_BYTES = 20  # more after the last dot is no suffix


def safe_name(filename: str | None) -> str:
    """Return ``filename`` without folders and control characters, in 255 bytes of UTF-8 at most.

    The suffix is kept, also if it does not fit the picture. A name that is only a suffix gets the
    stem "image". An empty string means that nothing is left.
    """
    name = _REFUSED.sub("", printable(re.split(r"[/\\]", filename or "")[-1]))
    name = name.strip().rstrip(" .")
    stem, dot, suffix = name.rpartition(".")
    suffix = dot + suffix
    if not dot or len(suffix.encode()) > MAX_SUFFIX_BYTES:
        stem, suffix = name, ""
    room = MAX_NAME_BYTES - len(suffix.encode())
    stem = stem.encode()[:room].decode(errors="ignore")
    return (stem.strip(" .") or "image") + suffix if name else ""
