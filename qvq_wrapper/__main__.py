"""The command line: one question about a picture, the answer on stdout as it comes."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from . import Qwen_QVQ_72B, ResponseError, Status, __version__

EXAMPLES = """examples:
  qvq "What is the area of this triangle?" --image triangle.png
  qvq "What does the sign say?" --demo
  cat question.txt | qvq - --image x.png > answer.md
"""

# What could steer a terminal (C0 and C1, without tab and newline), or show its text in another order.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Gives 0, 1 for a failed answer, 130 for Ctrl-C; wrong usage exits with 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except BrokenPipeError:  # the reader of our output has left; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        parser.exit(2, f"qvq: {error}\n")
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qvq", usage="%(prog)s [options] question", epilog=EXAMPLES,
        description="Ask QVQ-72B's Space, or another one, about a picture.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", help="what to ask; - reads it from stdin")
    parser.add_argument("--image", action="append", default=[], metavar="FILE-or-URL", help="the picture")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="SPACE", help="another Space: a URL, or owner/name")
    where.add_argument("--demo", action="store_true", help="start a local Space for this question")
    parser.add_argument("--api-key-file", metavar="FILE", help="a file with a token; or set QVQ_API_KEY")
    parser.add_argument("--proxy", metavar="URL", help="an HTTP or SOCKS proxy for every connection")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for the whole answer")
    parser.add_argument("--json", action="store_true", help="a JSON object a line: status, chunk, done, error")
    parser.add_argument("--version", action="version", version=f"qvq_wrapper {__version__}")
    return parser


def _run(options: argparse.Namespace) -> int:
    if len(options.image) > 1:
        raise ValueError(f"--image was given {len(options.image)} times; the Space takes one picture")
    image = options.image[0] if options.image else None
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if not options.demo:
            _answer(options, options.url, image)
            return 0
        from .serve import SAMPLE, running_space

        with ExitStack() as space:
            with _status_line(lambda: "starting a local Space"):
                url = space.enter_context(running_space())
            _answer(options, url, image or str(SAMPLE))
        return 0
    except (ResponseError, RuntimeError) as error:  # the other is a local Space that does not start
        if options.json:
            facts = {name: getattr(error, name, None) for name in ("status_code", "retry_after", "retryable")}
            _print_json(error={"kind": type(error).__name__, "message": str(error), **facts})
        print(f"qvq: {error}", file=sys.stderr)
        return 1


def _answer(options: argparse.Namespace, url: str | None, image: str | None) -> None:
    question = sys.stdin.read().rstrip("\n") if options.question == "-" else options.question
    api_key = Path(options.api_key_file).read_text() if options.api_key_file else os.environ.get("QVQ_API_KEY") or None
    start = time.monotonic()
    stream = Qwen_QVQ_72B.ask(
        question, image, api_key=api_key, url=url, proxy=options.proxy, timeout=options.timeout,
        on_status=(lambda status: _print_json(status=asdict(status))) if options.json else None)
    with closing(stream.iterate()) as chunks:
        if options.json:
            for chunk in chunks:
                _print_json(chunk=chunk)
            _print_json(done={"text": stream.text, "seconds": round(time.monotonic() - start, 3)})
        else:
            size = os.path.getsize(image) if image and os.path.isfile(image) else 0
            _print_text(chunks, lambda: _words(stream.status, size))


def _print_json(**line: object) -> None:
    print(json.dumps(line), flush=True)


def _print_text(chunks: Iterable[str], words: Callable[[], str]) -> None:
    """The answer as it comes. Its Markdown is left: that is made to be read, and a reader may pipe it on."""
    last = "\n"
    with ExitStack() as waiting:
        waiting.enter_context(_status_line(words))
        try:
            for chunk in chunks:
                waiting.close()
                last = _STEERING.sub("", chunk) if sys.stdout.isatty() else chunk
                print(last, end="", flush=True)
        finally:
            if not last.endswith("\n"):
                print(flush=True)


@contextmanager
def _status_line(words: Callable[[], str]) -> Iterator[None]:
    """``words`` and the seconds so far in a terminal's last line, for as long as the block lasts."""
    if not sys.stderr.isatty():
        yield
        return
    start = time.monotonic()
    done = threading.Event()

    def draw() -> None:
        drawn = ""
        while not done.wait(0.1):
            said = " ".join(_STEERING.sub("", words()).split())
            line = f"{said} ... {int(time.monotonic() - start)} s"
            if line != drawn:  # with automatic margins off: what is too long is cut off, not wrapped
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
        thread.join()  # nothing is written beside the answer


def _words(status: Status, size: int) -> str:
    """The status in words. How much of an upload is done is not known: gradio_client does not say."""
    words = status.describe()
    if status.stage == "uploading" and size:
        words.insert(1, f"{size / 1000:,.0f} kB")
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
