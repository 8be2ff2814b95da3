"""Makes text that others have written fit for a terminal."""

from __future__ import annotations

import re

# Control characters (C0 and C1 of ISO/IEC 6429), which steer a terminal; separators of lines and
# paragraphs; embeddings, overrides and isolates, which change the order of letters
# (https://www.unicode.org/reports/tr9/#Table_1); and lone surrogates, which UTF-8 does not have.
UNFIT = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    """Return the text in one line and without characters that steer a terminal.

    Line breaks and tabs become spaces, a lone surrogate becomes ``?``, and the rest of ``UNFIT`` is
    removed. Characters without a width stay: they move nothing, and emoji and several scripts need
    them.

    Args:
        keep: characters that stay all the same, such as ``"\\n\\t"`` of an answer.
    """

    def replacement(found: re.Match[str]) -> str:
        character = found[0]
        if character in keep:
            return character
        if character.isspace():
            return " "
        return "?" if "\ud800" <= character <= "\udfff" else ""

    return UNFIT.sub(replacement, text.replace("\r\n", "\n"))
