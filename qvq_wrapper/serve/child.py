"""Runs a local Space in a child process while a ``with`` block is active."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO

from ..printable import printable
from ..question.options import own_spaces

SECRETS = {"QVQ_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}  # not for a Space to see
UPSTREAM_SECRETS = {"OPENAI_API_KEY", "OPENAI_ADMIN_KEY"}  # for the model's server alone

SAMPLE = Path(__file__).with_name("sample.png")
"""A picture of a sign: OPEN DAILY, 9 AM TO 5 PM, MIND THE STEP."""


@contextmanager
def running_space(
    timeout: float = 120, *, base_url: str = "", model: str = "", api_key: str | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[str]:
    """Start a local Space on a free loopback port and yield its URL.

    The Space stops at the end of the block, or when this process ends. Without ``base_url`` it is
    the text reader.

    Args:
        timeout: seconds that the start may take.
        base_url: a server with OpenAI's chat completions, such as ``http://127.0.0.1:8000/v1``.
        model: the model's name on that server.
        api_key: that server's key. None is ``OPENAI_API_KEY`` from the environment, if it is set.
        arguments: further options of ``python -m qvq_wrapper.serve``.

    Raises:
        RuntimeError: the Space did not start. The message holds the last lines of its stderr.
    """
    command = [sys.executable, "-m", "qvq_wrapper.serve", "--port", "0", "--until-stdin-closes"]
    secrets = SECRETS if base_url else SECRETS | UPSTREAM_SECRETS
    env = {name: value for name, value in os.environ.items() if name not in secrets}
    if base_url or model:
        command += ["--base-url", base_url, "--model", model]
    if api_key is not None:
        env["OPENAI_API_KEY"] = api_key  # other users of the machine can see a command's arguments
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        # A session of its own keeps Ctrl-C and a notebook's interrupt away from the child.
        subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=errors, text=True, start_new_session=True, env=env) as child,
    ):
        assert child.stdin and child.stdout
        url: str | None = ""
        try:
            url = _first_line(child.stdout, timeout)
            if not url:
                why = f"no address within {timeout:g} s"
                with suppress(subprocess.TimeoutExpired):
                    if url == "":
                        why = f"it ended with exit status {child.wait(5)}"
                errors.seek(0)
                last = printable("".join(errors.readlines()[-8:]).strip(), "\n")
                raise RuntimeError(f"The local Space did not start: {why}. {last}".strip())
            own_spaces.add(url)
            yield url
        finally:
            own_spaces.discard(url or "")
            # The child then ends and deletes its pictures. terminate() would leave them on Windows.
            child.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                child.wait(5 if url else 0)
            child.kill()


def _first_line(stream: IO[str], timeout: float) -> str | None:
    """Return the first line: "" if the stream ends before it, None after ``timeout`` seconds."""
    lines: list[str] = []
    reading = Thread(target=lambda: lines.append(stream.readline().strip()), daemon=True)
    reading.start()
    reading.join(timeout)
    return lines[0] if lines else None
