"""Displays an answer in IPython's terminal, where nothing on the screen can be replaced."""

from __future__ import annotations

import signal

import anyio
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from ..growth import Growth
from ..printable import printable
from ..stream import AnswerStream

INTERVAL = 0.1  # seconds between two looks at the answer


def is_terminal(shell: InteractiveShell) -> bool:
    """Tell whether displays are printed."""
    # IPython's own publisher does that. Each notebook has another one.
    return type(shell.display_pub) is DisplayPublisher


class TerminalOutput:
    """The answer of one stream, printed once, as it grows, and how it ended.

    Where the Space rewrites its answer, what follows the longest common prefix is printed.
    """

    picture = None  # no place for one

    def __init__(self, stream: AnswerStream) -> None:
        self._stream = stream
        self._growth = Growth()
        self._last = "\n"
        self._interrupted = False

    async def keep_refreshing(self, ended: anyio.Event) -> None:
        # Ctrl-C would only stop IPython's event loop: the answer would go on with the next cell.
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            while not ended.is_set():
                with anyio.move_on_after(INTERVAL):
                    await anext(signals)
                    self._interrupted = True
                    self._stream.cancel()
                self._print_new_text(is_last=False)

    def finish(self, status: dict[str, str]) -> None:
        self._print_new_text(is_last=True)
        if not self._last.endswith("\n"):
            print()
        print(status["text/plain"], flush=True)
        if self._interrupted:
            raise KeyboardInterrupt

    def _print_new_text(self, *, is_last: bool) -> None:
        news = printable(self._growth.next(self._stream.text, is_last=is_last), "\n\t")
        print(news, end="", flush=True)
        self._last = news or self._last
