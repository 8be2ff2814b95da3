"""Takes the key of the model's server out of that server's words."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

from ..bridge.failures import one_line

_SHORTEST = 8  # characters; a shorter key is a placeholder, such as EMPTY, and also a word
_MAX_CHARS = 100_000  # of an error that is looked at; far less of it is shown
_MAX_LAYERS = 20
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_HIDDEN = "[key]"


class Secret:
    """A key that nobody may read, or "" if there is none."""

    def __init__(self, key: str) -> None:
        self._key = key = key if len(key) >= _SHORTEST else ""
        # Also with spaces or marks between its characters, as removed HTML tags leave them.
        letters = r"[\W_]*".join(re.escape(letter) for letter in key if letter.isalnum())
        self._pattern = re.compile(
            "|".join(filter(None, [re.escape(key), letters, f"(?i:{key.encode().hex()})"])))

    def out_of_error(self, words: str) -> str:
        """Return the words of an error in one line, without the key.

        HTML, percent and backslash escapes are undone first, layer by layer: another program would
        undo them later and put the key together again.
        """
        if not self._key:
            return one_line(words)
        plain = words[:_MAX_CHARS]
        for _ in range(_MAX_LAYERS):
            plain, before = _decode(plain), plain
            if plain == before:
                break
        else:
            return "(words that cannot be read)"
        without = _BASE64.sub(self._hide_base64, self._pattern.sub(_HIDDEN, plain))
        return one_line(words if without == plain else without)

    def out_of_answer(self, text: str, *, is_whole: bool) -> str:
        """Return an answer, or its beginning, without the key.

        A beginning is cut before what may become the key.
        """
        if not self._key:
            return text
        text = text.replace(self._key, _HIDDEN)
        for length in range(min(len(self._key), len(text)), 0, -1):
            if not is_whole and text.endswith(self._key[:length]):
                return text[:-length]
        return text

    def _hide_base64(self, match: re.Match[str]) -> str:
        digits = match[0]
        if len(digits) % 4 == 1:  # base64 has no such length
            digits = digits[:-1]
        data = base64.urlsafe_b64decode(f"{digits}==")
        return _HIDDEN if self._key.encode() in data else match[0]


def _decode(text: str) -> str:
    text = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), unquote(text))
    return one_line(text, _MAX_CHARS)
