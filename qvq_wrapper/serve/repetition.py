"""Finds out that a model goes round in circles."""

from __future__ import annotations

SHORTEST, LONGEST = 32, 4096
"""Characters of a unit that counts as a repetition. Tables and lines repeat shorter ones."""
TIMES = 4


class Repetition:
    """Looks at a growing text, not more often than once for 32 new characters."""

    def __init__(self) -> None:
        self._next_length = SHORTEST * TIMES

    def found_in(self, text: str) -> bool:
        """Return whether the text ends in a unit that it says four times in a row.

        A unit that is itself made of a shorter repeat does not count.
        """
        if len(text) < self._next_length:
            return False
        self._next_length = len(text) + SHORTEST
        end = text[-LONGEST * TIMES:]
        # Fast, and enough for almost any text. What follows takes milliseconds.
        return end.count(end[-SHORTEST:]) >= TIMES and _repeats(end)


def _repeats(end: str) -> bool:
    """Return whether a suffix of ``end`` is a unit of 32 characters or more, four times.

    ``borders[n - 1]`` is the length of the longest proper prefix of the reversed text's first n
    characters that is also their suffix (Knuth, Morris and Pratt). So ``n - borders[n - 1]`` is
    the length of the shortest unit whose repetition gives these n characters.
    """
    backwards = end[::-1]
    borders = [0]
    border = 0
    for length, character in enumerate(backwards[1:], 2):
        while border and backwards[border] != character:
            border = borders[border - 1]
        border += backwards[border] == character
        borders.append(border)
        if SHORTEST <= length - border <= length / TIMES:
            return True
    return False
