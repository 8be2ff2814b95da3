"""What ``qvq`` prints: answers, a Space's endpoints, errors as JSON, and the status line."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from itertools import chain

from .printable import printable
from .stream import AnswerStream
from .types import EndpointInfo, Status

REWRITTEN = (
    "qvq: the Space has rewritten its answer while it was printed. What was printed is not the "
    "final text; --final prints only that.")
WIDEST = 60  # characters of a cell in the table of endpoints


def print_json(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")  # at once: Ctrl-C must not come before the newline
    sys.stdout.flush()


def print_error(error: BaseException, message: str) -> None:
    names = ("status_code", "retry_after", "retryable")
    details = {name: getattr(error, name, None) for name in names}
    print_json(error={"kind": type(error).__name__, "message": message, **details})


def print_answer_as_json(stream: AnswerStream, final: bool) -> None:
    """Print a line for each chunk, unless only the final text is wanted, and one for the end."""
    start = time.monotonic()
    with closing(stream.iterate()) as chunks:
        for chunk in chunks:
            if not final:
                print_json(chunk=chunk)
    print_json(done={"text": stream.text, "seconds": round(time.monotonic() - start, 3)})


def print_answer(stream: AnswerStream, final: bool, size: int) -> None:
    """Print the answer as it arrives. Its Markdown stays, for people and programs to read.

    Args:
        final: print only the final text.
        size: the bytes of the picture, or 0 if that is not known.
    """
    last, printed, on_terminal = "\n", 0, sys.stdout.isatty()
    with closing(stream.iterate()) as chunks:
        with status_line(lambda: _describe(stream.status, size)):
            first = next(chunks, "")
            if final:
                for _ in chunks:
                    pass
                first = stream.text
        try:
            for chunk in chain([first], chunks):  # with ``final``, the first is all
                shown = printable(chunk, "\n\t") if on_terminal else chunk
                print(shown, end="", flush=True)
                last = shown or last
                printed += len(chunk)
        finally:
            if not last.endswith("\n"):
                print(flush=True)
    if printed > len(stream.text) and not on_terminal:
        print(REWRITTEN, file=sys.stderr)


def print_endpoints(offers: list[EndpointInfo], as_json: bool) -> None:
    """Print what a Space offers, as a table or with a line of JSON for each endpoint."""
    if not offers:
        print("qvq: the Space has no endpoint with a name", file=sys.stderr)
    for offer in offers:
        if as_json:
            print_json(endpoint=asdict(offer))
            continue
        problem = offer.problem.split(" It takes: ")[0]  # the rows below say what it takes
        _print_line(f"{offer.name}: {problem or 'takes a picture and a question'}")
        rows = []
        for each in offer.parameters:
            places = (("picture", offer.picture), ("question", offer.prompt))
            use = " and ".join(use for use, name in places if name == each.name)
            default = "required" if each.required else json.dumps(each.default)
            rows.append([cell[:WIDEST] for cell in (each.name, use or default, each.type)])
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            padded = (cell.ljust(width) for cell, width in zip(row, widths))
            _print_line("  " + "  ".join(padded).rstrip())


def _print_line(line: str) -> None:
    print(printable(line), flush=True)


@contextmanager
def status_line(describe: Callable[[], str]) -> Iterator[None]:
    """Show a description and the seconds so far in a terminal's last line while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    start = time.monotonic()
    done = threading.Event()

    def draw() -> None:
        drawn = ""
        while not done.wait(0.1):
            line = f"{printable(describe())} ... {int(time.monotonic() - start)} s"
            if line != drawn:  # ESC[?7l: the terminal cuts off a long line and does not wrap it
                print(f"\r\x1b[K\x1b[?7l{line}\x1b[?7h", end="", file=sys.stderr, flush=True)
            drawn = line
        if drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()  # the line is erased before the answer is printed


def _describe(status: Status, size: int) -> str:
    """Return the status in words. gradio_client does not tell how much of an upload is done."""
    words = status.describe()
    if status.stage == "uploading" and size:
        words.insert(1, f"{size / 1000:,.0f} kB")
    return ", ".join(words)
