"""How far a run is: the figures, and a bar in a terminal or a notebook."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

from ..printable import printable


@dataclass
class Summary:
    """How far a run is.

    Attributes:
        total: the number of questions, or None if that is not known.
        skipped: questions that earlier runs had answered.
        answered: questions that this run has answered.
        failed: the number of failed questions by the kind of the error.
        errors: the first message of each kind, with the place of its question.
        asked_again: how often a question was asked once more.
        seconds: since the start.
    """

    total: int | None = None
    skipped: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)
    asked_again: int = 0
    seconds: float = 0.0

    def add_error(self, place: str, kind: str, message: str, **more: object) -> None:
        """Count a failed question, which was found at this place."""
        self.failed[kind] += 1
        if kind not in self.errors:
            message = message if message.startswith(f"{place}: ") else f"{place}: {message}"
            self.errors[kind] = printable(message[:500])

    @property
    def done(self) -> int:
        return self.skipped + self.answered + self.failed.total()

    @property
    def a_minute(self) -> float:
        return 60 * self.answered / self.seconds if self.seconds else 0.0

    @property
    def figures(self) -> str:
        """One line, without the errors."""
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.failed.most_common())
        failed = f"{self.failed.total()} failed ({kinds})" if kinds else "0 failed"
        earlier = f" and {self.skipped} earlier" if self.skipped else ""
        return (f"{self.answered} answered{earlier}, {failed}, {self.asked_again} asked again, "
                f"{self.a_minute:.1f} a minute")

    def __str__(self) -> str:
        errors = (f"first {kind}: {message}" for kind, message in self.errors.items())
        return "\n".join([self.figures, *errors])


class Bar:
    """A bar with the answers a minute, the failures and the time that is left."""

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError('the progress bar needs: pip install "qvq_wrapper[batch]"') from None
        self._bar = tqdm(
            unit=" questions", smoothing=0, dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]")

    def __call__(self, summary: Summary) -> None:
        bar, failed = self._bar, summary.failed.total()
        bar.total, bar.initial = summary.total, summary.skipped
        bar.set_postfix_str(f"{summary.a_minute:.1f} a minute, {failed} failed", refresh=False)
        bar.update(summary.done - bar.n)

    def write(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
