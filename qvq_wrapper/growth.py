"""What is new in a text that grows, for a reader who cannot take back what was printed."""

from __future__ import annotations

import os

_PROVISIONAL = "\ufffd\u258c\u258d" + "".join(map(chr, range(0xD800, 0xDC00)))
"""What an app puts at the end of a text and takes back with the next one.

Half a character: U+FFFD, as Python decodes bytes with ``errors="replace"``, perhaps once for each
byte; or the first half of a surrogate pair, as JavaScript cuts a string. A cursor: U+258C, as the
web server of FastChat and LLaVA shows it, or U+258D.
"""


class Growth:
    """Finds what is new in each version of a text."""

    def __init__(self) -> None:
        self._seen = ""

    def next(self, text: str, *, is_last: bool) -> str:
        """Return what follows the longest common prefix of the last version and this one.

        An ending that can only be provisional is held back, unless this is the last version.
        """
        sure = text if is_last else text.rstrip(_PROVISIONAL)
        if len(sure) < len(text) and self._seen.startswith(sure):
            return ""  # what was seen may come again when the rest is known
        start = len(self._seen)
        if not sure.startswith(self._seen):
            start = len(os.path.commonprefix([self._seen, sure]))
        self._seen = sure
        return sure[start:]
