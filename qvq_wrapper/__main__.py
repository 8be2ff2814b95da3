"""The command ``qvq``: asks one question about a picture and prints the answer as it arrives."""

from __future__ import annotations

import argparse
import codecs
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

# Control a terminal (C0 and C1, without tab and newline) or reorder its text (Unicode's UAX 9).
_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return 0, 1 for a failed answer, or 130 for Ctrl-C.

    Args:
        arguments: the arguments after the program's name, or None for those of this process.

    Raises:
        SystemExit: with status 2, the usage is wrong.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        return _run(args)
    except BrokenPipeError:  # nobody reads stdout any more; Python would report that at exit
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
    add = parser.add_argument
    add("question", help="what to ask; - reads it from stdin")
    add("--image", action="append", default=[], metavar="FILE-or-URL", help="the picture")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="SPACE", help="another Space: a URL, or owner/name")
    where.add_argument("--demo", action="store_true", help="start a local Space for this question")
    add("--api-key-file", metavar="FILE", help="a file with a token; or set QVQ_API_KEY")
    add("--proxy", metavar="URL", help="an HTTP or SOCKS proxy for every connection")
    add("--timeout", type=float, metavar="S", help="seconds for the whole answer")
    add("--json", action="store_true", help="a JSON object a line: status, chunk, done, error")
    add("--version", action="version", version=f"qvq_wrapper {__version__}")
    return parser


def _run(args: argparse.Namespace) -> int:
    if len(args.image) > 1:
        raise ValueError(f"--image was given {len(args.image)} times; the Space takes one picture")
    image = args.image[0] if args.image else None
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with ExitStack() as demo:
            if args.demo:
                from .serve import SAMPLE, running_space

                with _status_line(lambda: "starting a local Space"):
                    args.url = demo.enter_context(running_space())
                image = image or str(SAMPLE)
            _answer(args, image)
        return 0
    except (ResponseError, RuntimeError) as error:  # running_space() raises RuntimeError
        if args.json:
            names = ("status_code", "retry_after", "retryable")
            details = {name: getattr(error, name, None) for name in names}
            _print_json(error={"kind": type(error).__name__, "message": str(error), **details})
        print(f"qvq: {error}", file=sys.stderr)
        return 1


def _answer(args: argparse.Namespace, image: str | None) -> None:
    question = sys.stdin.read().rstrip("\n") if args.question == "-" else args.question
    environment_key = os.environ.get("QVQ_API_KEY") or None
    api_key = _token_in(args.api_key_file) if args.api_key_file else environment_key
    start = time.monotonic()
    stream = Qwen_QVQ_72B.ask(
        question, image, api_key=api_key, url=args.url, proxy=args.proxy, timeout=args.timeout,
        on_status=(lambda status: _print_json(status=asdict(status))) if args.json else None)
    with closing(stream.iterate()) as chunks:
        if args.json:
            for chunk in chunks:
                _print_json(chunk=chunk)
            _print_json(done={"text": stream.text, "seconds": round(time.monotonic() - start, 3)})
        else:
            size = os.path.getsize(image) if image and os.path.isfile(image) else 0
            _print_text(chunks, lambda: _describe(stream.status, size))


def _token_in(file: str) -> str:
    """Return the token in a file. Refuse a file that holds something else, without showing it."""
    data = Path(file).read_bytes().removeprefix(codecs.BOM_UTF8).strip()
    if not re.fullmatch(rb"[!-~]+", data):
        raise ValueError(f"--api-key-file {file} must hold one token and nothing else")
    return data.decode()


def _print_json(**line: object) -> None:
    print(json.dumps(line), flush=True)


def _print_text(chunks: Iterable[str], describe: Callable[[], str]) -> None:
    """Print the answer as it arrives. Its Markdown stays, for people and programs to read."""
    last = "\n"
    with ExitStack() as waiting:
        waiting.enter_context(_status_line(describe))
        try:
            for chunk in chunks:
                waiting.close()
                last = _CONTROL_CHARACTERS.sub("", chunk) if sys.stdout.isatty() else chunk
                print(last, end="", flush=True)
        finally:
            if not last.endswith("\n"):
                print(flush=True)


@contextmanager
def _status_line(describe: Callable[[], str]) -> Iterator[None]:
    """Show a description and the seconds so far in a terminal's last line while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    start = time.monotonic()
    done = threading.Event()

    def draw() -> None:
        drawn = ""
        while not done.wait(0.1):
            status = " ".join(_CONTROL_CHARACTERS.sub("", describe()).split())
            line = f"{status} ... {int(time.monotonic() - start)} s"
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


if __name__ == "__main__":
    sys.exit(main())
