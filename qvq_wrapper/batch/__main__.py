"""The command ``qvq-batch``: answers the questions of a file, or about a folder's pictures."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from types import FrameType

import anyio

from .. import ResponseError, __version__
from ..arguments import Parser, add_space_options, space_options
from ..printable import printable
from .brake import logger
from .cluster import run_on_dask
from .many import answer_file
from .progress import Bar, Summary

Run = Callable[[], Awaitable[Summary]]

EXAMPLES = """examples:
  qvq-batch questions.jsonl answers.jsonl --concurrency 4
  qvq-batch --images scans --prompt "What is the invoice number?" answers.jsonl

Started again, it goes on where it has ended. The exit status is 0; 1 if a
question failed or the run was ended; 2 for wrong usage; 130 for Ctrl-C.
"""
LOG_INTERVAL = 10.0  # seconds between two lines where there is no terminal


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return its exit status.

    Args:
        arguments: the arguments after the program's name, or None for those of this process.

    Raises:
        SystemExit: with status 2, the usage is wrong.
    """
    parser = _parser()
    args = parser.parse(arguments)
    report = _Report(args.quiet)
    try:
        signals = anyio.run(_run_until_signal, _prepare(args, report))
    except (ValueError, OSError, ImportError) as error:
        return report.end(str(error), 1 if report.summary else 2)  # 1: the run had begun
    except ResponseError as error:
        return report.end(f"the run was ended: {error}", 1)
    if signals:
        return report.end("stopped", 128 + signals[0])
    return report.end("", 1 if report.summary and report.summary.failed else 0)


def _parser() -> Parser:
    parser = Parser(
        "QVQ_API_KEY", prog="qvq-batch", epilog=EXAMPLES,
        usage="%(prog)s [options] questions.jsonl answers.jsonl\n"
              "       %(prog)s [options] --images FOLDER --prompt TEXT answers.jsonl",
        description="Answer many questions with QVQ-72B's Space, or another one.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("questions", nargs="?", help="a .jsonl, .csv or .tsv file with columns prompt and image")
    add("answers", help="the file for the answers, one JSON object per line")
    add("--images", metavar="FOLDER", help="ask about each picture in this folder")
    add("--prompt", metavar="TEXT", help="the question about each of them")
    add("--prompt-column", default="prompt", metavar="C", help="the column with the questions")
    add("--image-column", default="image", metavar="C", help="the column with the pictures")
    add("--encoding", metavar="E", help="of the file of questions, UTF-8 by default")
    add("--separator", metavar="C", help="between the cells of a table: ';', tab")
    add("--concurrency", type=int, default=4, metavar="N", help="questions at once, 4 by default")
    add("--patience", type=float, default=900, metavar="S",
        help="seconds to wait for a Space that refuses questions, 900 by default")
    add("--limit", type=int, metavar="N", help="ask N questions at most")
    add("--retry-failed", action="store_true", help="ask only what failed in earlier runs")
    add("--quiet", action="store_true", help="print only errors")
    add("--dask", metavar="ADDRESS", help="ask on the cluster of this scheduler")
    add_space_options(parser)
    add("--version", action="version", version=f"qvq_wrapper {__version__}")
    return parser


def _prepare(args: argparse.Namespace, report: _Report) -> Run:
    """Return the function that runs, with all arguments."""
    if bool(args.images) != bool(args.prompt):
        raise ValueError("--images FOLDER and --prompt TEXT belong together")
    if bool(args.images) == bool(args.questions):
        raise ValueError("give either a file of questions or --images FOLDER")
    run = partial(
        answer_file, args.images or args.questions, args.answers, prompt=args.prompt,
        concurrency=args.concurrency, patience=args.patience, limit=args.limit,
        retry_failed=args.retry_failed, progress=report, prompt_column=args.prompt_column,
        image_column=args.image_column, encoding=args.encoding, separator=args.separator)
    options = space_options(args)
    if not args.dask:
        return partial(run, **options)
    if not args.api_key_file:  # each worker has a QVQ_API_KEY of its own
        del options["api_key"]
    return partial(run_on_dask, args.dask, lambda ask: run(ask=ask), **options)


async def _run_until_signal(run: Run) -> list[int]:
    """Cancel the run at Ctrl-C or SIGTERM, and return the signal. A second one ends at once."""
    signals: list[int] = []
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:

        def stop(number: int, frame: FrameType | None) -> None:
            if signals:
                os._exit(128 + number)
            signals.append(number)
            loop.call_soon_threadsafe(scope.cancel)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        await run()
    return signals


class _Report(logging.Handler):
    """Shows on stderr how far the run is, and what the library logs: by a bar, or in lines."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(logging.CRITICAL if quiet else logging.WARNING)
        self.summary: Summary | None = None
        self._quiet = quiet
        self._bar: Bar | None = None
        self._next_line = time.monotonic() + LOG_INTERVAL
        logger.addHandler(self)

    def __call__(self, summary: Summary) -> None:
        if self.summary is None and not self._quiet and sys.stderr.isatty():
            self._bar = Bar()
        self.summary = summary
        if self._bar:
            self._bar(summary)
        elif time.monotonic() > self._next_line and not self._quiet:
            self._next_line = time.monotonic() + LOG_INTERVAL
            of_all = "" if summary.total is None else f" of {summary.total}"
            _say(f"{summary.done}{of_all}: {summary.figures}")

    def emit(self, record: logging.LogRecord) -> None:
        line = f"qvq-batch: {printable(record.getMessage())}"
        if self._bar:
            self._bar.write(line)
        else:
            _say(line)

    def end(self, error: str, status: int) -> int:
        """Print the last lines. Return the exit status."""
        if self._bar:
            self._bar.close()
        if self.summary and not self._quiet:
            _say(str(self.summary))
        if error:
            if self.summary:
                error = f"{error.rstrip('.')}. The same command goes on from here."
            _say(f"qvq-batch: {printable(error)}")
        return status


def _say(line: str) -> None:
    with suppress(OSError):  # the log's disk may be full, and the answers' disk not
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
