"""The command ``qvq``: asks one question about a picture and prints the answer as it arrives."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict

from . import AnswerStream, ImageType, ResponseError, Status, __version__, ask
from .arguments import Parser, add_space_options, space_options
from .printable import printable

EXAMPLES = """examples:
  qvq "What is the area of this triangle?" --image triangle.png
  qvq "What does the sign say?" --demo
  cat question.txt | qvq - --image x.png > answer.md
  qvq "What is this?" --image - --url owner/name < photo.jpg
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return 0, 1 for a failed answer, or 130 for Ctrl-C.

    Args:
        arguments: the arguments after the program's name, or None for those of this process.

    Raises:
        SystemExit: with status 2, the usage is wrong.
    """
    parser = _parser()
    args = parser.parse(arguments)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    stream: AnswerStream | None = None
    try:
        with ExitStack() as demo:
            try:
                question, image = _read_input(args)
                options = space_options(args)
                if args.demo:
                    options["url"], image = _start_demo(demo, image)
                on_status = _print_status if args.json else None
                stream = ask(question, image, on_status=on_status, **options)
            except (ValueError, OSError) as error:
                print(f"qvq: {printable(str(error))}", file=sys.stderr)
                return 2
            _print_answer(stream, image, args.json)
        return 0
    except (ResponseError, ValueError, RuntimeError) as error:  # RuntimeError: running_space()
        if args.json:
            _print_error(error, str(error))
        print(f"qvq: {printable(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # nobody reads stdout any more; Python would report that at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"qvq: the answer cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        if args.json:
            length = len(stream.text) if stream else 0
            _print_error(error, f"Ctrl-C cancelled the answer after {length} characters.")
        return 130


def _parser() -> Parser:
    parser = Parser(
        "QVQ_API_KEY", prog="qvq", usage="%(prog)s [options] question", epilog=EXAMPLES,
        description="Ask QVQ-72B's Space, or another one, about a picture.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("question", help="what to ask; - reads it from stdin")
    add("--image", action="append", default=[], metavar="FILE-or-URL",
        help="the picture; - reads it from stdin")
    add("--demo", action="store_true", help="start a local Space for this question")
    add("--json", action="store_true", help="one JSON object per line: status, chunk, done, error")
    add_space_options(parser)
    add("--version", action="version", version=f"qvq_wrapper {__version__}")
    return parser


def _read_input(args: argparse.Namespace) -> tuple[str, ImageType | None]:
    """Return the question and the picture."""
    if len(args.image) > 1:
        raise ValueError(f"--image was given {len(args.image)} times; the Space takes one picture")
    if args.demo and args.url:
        raise ValueError("--demo starts a Space of its own; leave out --url")
    image: ImageType | None = args.image[0] if args.image else None
    if image == "-":
        if args.question == "-":
            raise ValueError("stdin cannot be both the question and the picture")
        image = sys.stdin.buffer.read()
    question = sys.stdin.read().rstrip("\n") if args.question == "-" else args.question
    return question, image


def _start_demo(demo: ExitStack, image: ImageType | None) -> tuple[str, ImageType]:
    """Start the local Space. Return its URL, and a picture for it if there is none."""
    from .serve import SAMPLE, running_space

    with _status_line(lambda: "starting a local Space"):
        url = demo.enter_context(running_space())
    return url, SAMPLE if image is None else image


def _print_answer(stream: AnswerStream, image: ImageType | None, as_json: bool) -> None:
    start = time.monotonic()
    with closing(stream.iterate()) as chunks:
        if as_json:
            for chunk in chunks:
                _print_json(chunk=chunk)
            _print_json(done={"text": stream.text, "seconds": round(time.monotonic() - start, 3)})
        else:
            _print_text(chunks, lambda: _describe(stream.status, _size(image)))


def _size(image: ImageType | None) -> int:
    """Return the bytes of a picture that has to be uploaded, or 0 if that is not known."""
    if isinstance(image, bytes):
        return len(image)
    if isinstance(image, (str, os.PathLike)) and os.path.isfile(image):
        return os.path.getsize(image)
    return 0


def _print_json(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")  # at once: Ctrl-C must not come before the newline
    sys.stdout.flush()


def _print_status(status: Status) -> None:
    _print_json(status=asdict(status))


def _print_error(error: BaseException, message: str) -> None:
    names = ("status_code", "retry_after", "retryable")
    details = {name: getattr(error, name, None) for name in names}
    _print_json(error={"kind": type(error).__name__, "message": message, **details})


def _print_text(chunks: Iterable[str], describe: Callable[[], str]) -> None:
    """Print the answer as it arrives. Its Markdown stays, for people and programs to read."""
    last = "\n"
    with ExitStack() as waiting:
        waiting.enter_context(_status_line(describe))
        try:
            for chunk in chunks:
                waiting.close()
                shown = printable(chunk, "\n\t") if sys.stdout.isatty() else chunk
                print(shown, end="", flush=True)
                last = shown or last
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


if __name__ == "__main__":
    sys.exit(main())
