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
    """Start the Space on a free port of the loopback; gives its URL, and stops it on the way out.

    It ends with this process too, however that ends.

    Args:
        timeout: seconds that the start may take.

    Raises:
        RuntimeError: it did not start; the message holds its last words.
    """
    command = [sys.executable, "-m", "qvq_wrapper.demo", "--port", "0", "--until-stdin-closes"]
    with (
        tempfile.TemporaryFile() as errors,
        # In a session of its own, so that an interrupt at the terminal or in a notebook is ours alone.
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                         text=True, start_new_session=True) as child,
    ):
        try:
            url = _first_line(child, timeout)
            if not url:
                child.kill()
                child.wait()
                raise RuntimeError(f"The demo Space did not start within {timeout:g} s. {_tail(errors)}".strip())
            yield url
        finally:
            assert child.stdin
            child.stdin.close()  # it ends by itself, and deletes the pictures, which Windows' terminate() forbids
            with suppress(subprocess.TimeoutExpired):
                child.wait(5)
            child.kill()


def _first_line(child: subprocess.Popen[str], timeout: float) -> str:
    """The first line that the child prints; empty if it ended, or the time is up."""
    lines: SimpleQueue[str] = SimpleQueue()

    def drain() -> None:
        assert child.stdout
        for line in child.stdout:
            lines.put(line.strip())
        lines.put("")

    Thread(target=drain, daemon=True).start()
    with suppress(Empty):
        return lines.get(timeout=timeout)
    return ""


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return "\n".join(errors.read().decode(errors="replace").strip().splitlines()[-8:])
