"""Runs the Space in a process of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO

SAMPLE = Path(__file__).with_name("sample.png")
"""A picture of a sign: OPEN DAILY, 9 AM TO 5 PM, MIND THE STEP."""


@contextmanager
def running_space(timeout: float = 120) -> Iterator[str]:
    """Start the Space on a free loopback port; gives its URL. It ends with the block or with this process.

    Args:
        timeout: seconds that the start may take.

    Raises:
        RuntimeError: it did not start; the message holds its last words.
    """
    command = [sys.executable, "-m", "qvq_wrapper.serve", "--port", "0", "--until-stdin-closes"]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        # In a session of its own, so that an interrupt at the terminal or in a notebook is ours alone.
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                         text=True, start_new_session=True) as child,
    ):
        assert child.stdin and child.stdout
        try:
            url = _first_line(child.stdout, timeout)
            if not url:
                errors.seek(0)
                last = "".join(errors.readlines()[-8:]).strip() or f"{timeout:g} s were not enough."
                raise RuntimeError(f"The demo Space did not start. {last}")
            yield url
        finally:
            child.stdin.close()  # then it ends by itself; terminate() on Windows would leave the pictures
            with suppress(subprocess.TimeoutExpired):
                child.wait(5)
            child.kill()


def _first_line(stream: IO[str], timeout: float) -> str:
    """Empty where the stream ends before, or ``timeout`` seconds pass."""
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=lambda: lines.put(stream.readline().strip()), daemon=True).start()
    with suppress(Empty):
        return lines.get(timeout=timeout)
    return ""
