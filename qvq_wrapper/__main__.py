"""The command line: one question about a picture, the answer on stdout as it comes."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from pathlib import Path

from . import Qwen_QVQ_72B, ResponseError, Status, __version__

EXAMPLES = """examples:
  qvq "What is the area of this triangle?" --image triangle.png
  qvq "What does the sign say?" --demo
  cat question.txt | qvq - --image x.png > answer.md
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, 1 for a failed answer, 130 for Ctrl-C. Wrong usage exits with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.demo:
            from .demo import SAMPLE, running_space

            with running_space() as url:
                _answer(options, url, options.image or str(SAMPLE))
        else:
            _answer(options, options.url, options.image)
    except (ResponseError, RuntimeError) as error:  # the other is a local Space that does not start
        print(f"qvq: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has left; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qvq", description="Ask QVQ-72B's Space, or another one, about a picture.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", help="what to ask; - reads it from stdin")
    parser.add_argument("--image", metavar="FILE-or-URL", help="the picture")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", metavar="SPACE", help="another Space: a URL, or owner/name")
    where.add_argument("--demo", action="store_true", help="start a local Space for this question")
    parser.add_argument(
        "--api-key-file", metavar="FILE", help="a file with a token; or set QVQ_API_KEY in the environment")
    parser.add_argument("--proxy", metavar="URL", help="an HTTP or SOCKS proxy for every connection")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for the whole answer")
    parser.add_argument("--version", action="version", version=f"qvq_wrapper {__version__}")
    return parser


def _answer(options: argparse.Namespace, url: str | None, image: str | None) -> None:
    question = sys.stdin.read() if options.question == "-" else options.question
    key_file = options.api_key_file
    api_key = Path(key_file).read_text() if key_file else os.environ.get("QVQ_API_KEY")
    terminal = sys.stdout.isatty()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    stream = Qwen_QVQ_72B.ask(
        question, image, api_key=api_key, proxy=options.proxy, url=url, timeout=options.timeout,
        on_status=_show_status if sys.stderr.isatty() else None)
    with closing(stream.iterate()) as chunks:
        for chunk in chunks:
            print(_printable(chunk) if terminal else chunk, end="", flush=True)
    print()


def _printable(text: str) -> str:
    """``text`` without what could steer a terminal."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t ")


def _show_status(status: Status) -> None:
    """The status in the terminal's last line; the answer's first word takes its place."""
    words: list[str] = [status.stage]
    if status.position:
        words.append(f"place {status.position} of {status.queue_size or status.position}")
    if status.eta:
        words.append(f"some {status.eta:.0f} s to wait")
    if status.log:
        words.append(_printable(status.log))
    waiting = status.stage in ("connecting", "uploading", "queued", "processing")
    shown = ", ".join(words) + " ..." if waiting else ""
    print(f"\r\x1b[K{shown}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
