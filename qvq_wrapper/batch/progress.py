"""Shows how far a run is: a bar in a terminal or a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answers import Summary


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
