"""Tells formulas between dollar signs from money, variables of a shell, and patterns."""

from __future__ import annotations

import re

_PRICE = re.compile(r"[-+]?\.?\d+(?:[.,]\d+)*(?:[KMBkmb]|bn)?(?![A-Za-z\d\\^_{(]|[.,]\d)")
_WORD = r"[^\W\d_]{2,}"
# A word before another or before a number, or Chinese, Japanese or Korean.
_PROSE = re.compile(rf"\s{_WORD}\s+[\w(]|[\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\{[^{}]*\})?")
_LAST = re.compile(r"(?:[\w)\]}|!%°′″]|\\.)'*\Z")
"""How a formula ends: not with an operator, a comma or an open bracket."""
_FIRST = re.compile(r"[A-Za-zΑ-ω(\[|\\+-]")
"""How a formula begins. A digit is left out: a ``$`` before a digit never ends a formula."""
_OTHER = re.compile(r"""
    (?<=\d)\$[-–—~,;/]\s*[\d.,]+\$      # 5$-10$
    | \$[,;)\]}/]                       # s/a$/b$/
    | \$\|[^|$]*\$                      # a$|b$
    | \$[A-Z_]{2,}\$[A-Z]               # $HOME$USER
    | \$[^$]*\$\{                       # ${a}${b}""", re.X)
_PRICE_LEVEL = re.compile(rf"[^\w\\]*|(?:\s+{_WORD}){{2,}}\s*")


def is_formula(text: str, start: int, end: int) -> bool:
    """Return whether ``text[start:end]``, which begins and ends with ``$``, is a formula."""
    body = text[start + 1:end - 1]
    # If a formula could begin right after it, the second $ may be an opening one.
    is_start = _FIRST.match(text, end)
    plain = _COMMAND.sub("", body)
    if _OTHER.match(text, start) or is_start and not _LAST.search(body):
        return False
    if is_start and _PROSE.search(plain):
        return False
    return not _PRICE.match(body) or _is_sum(plain, text[max(0, start - 1):start], bool(is_start))


def _is_sum(body: str, before: str, is_start: bool) -> bool:
    """Return whether text that begins like a price is a formula, such as ``5 + 3 = 8``."""
    has_words = _PROSE.search(body) or is_start and re.search(_WORD, body)
    is_balanced = len(re.findall(r"[(\[]", body)) == len(re.findall(r"[)\]]", body))
    is_currency = before.isupper()  # US$5
    return not has_words and not is_currency and is_balanced and body.count("|") % 2 == 0


def is_price_level(body: str) -> bool:
    """Return whether text between ``$$`` and ``$$`` is prose, as in ``from $$ to $$``."""
    return _PRICE_LEVEL.fullmatch(body) is not None


def is_price(text: str) -> bool:
    """Return whether text that begins with ``$`` is a price and words, whatever follows."""
    known = re.split(r"[\\\n]", text, maxsplit=1)[0]
    return bool(_PRICE.match(known, 1) and _PROSE.search(known))
