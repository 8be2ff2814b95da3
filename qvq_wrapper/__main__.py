"""The command ``qvq``: asks one question about a picture and prints the answer as it arrives."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from inspect import signature
from typing import Any

from . import (
    AnswerStream, EndpointInfo, ImageType, MediaListType, Qwen_QVQ_72B, ResponseError,
    __version__, ask, endpoints,
)
from .arguments import Parser, add_space_options, parameters_from, space_options
from .printable import printable
from .printing import (
    print_answer, print_answer_as_json, print_endpoints, print_error, print_json, status_line,
)
from .question.options import api_name_of
from .reading import read_input

DESCRIPTION = """Ask QVQ-72B's Space, or another one, about a picture.

  qvq "What is the area of this triangle?" triangle.png
  qvq -i photo.jpg < question.txt > answer.md
  qvq "What is this?" -i - --url owner/name < photo.jpg
  qvq "What does the sign say?" --demo
"""
# The names that a parameter for the system message has in Spaces: `system` in those of
# qvq_wrapper.serve, the others in gradio's own examples (https://www.gradio.app/guides).
SYSTEM_NAMES = ("system", "system_prompt", "system_message")
NOBODY_READS = 141  # as a shell shows the end of other commands by SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Return 0, 1 for a failed answer, 130 for Ctrl-C, or 141 if nobody reads the output any more.

    Args:
        arguments: the arguments after the program's name, or None for those of this process.

    Raises:
        SystemExit: with status 2, the usage is wrong.
    """
    args = _parser().parse(arguments)
    if sys.stdout is None:
        print("qvq: standard output is closed", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    stream: AnswerStream | None = None
    try:
        with ExitStack() as demo:
            try:
                question, image = read_input(args)
                options = space_options(args)
                if args.demo:
                    options["url"], image = _start_demo(demo, image)
                offers = _endpoints(options) if args.list else []
                stream = None if args.list else _ask(args, question, image, options)
            except ResponseError:  # one that is a TimeoutError is an OSError too
                raise
            except (ValueError, OSError) as error:
                print(f"qvq: {printable(str(error))}", file=sys.stderr)
                return 2
            if stream is None:
                print_endpoints(offers, args.json)
            elif args.json:
                print_answer_as_json(stream, args.final)
            else:
                print_answer(stream, args.final, _size(image))
        return 0
    except (ResponseError, ValueError, RuntimeError) as error:  # RuntimeError: running_space()
        if args.json:
            print_error(error, str(error))
        print(f"qvq: {printable(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:
        # Python would report it at exit once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return NOBODY_READS
        print(f"qvq: the answer cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        if args.json:
            length = len(stream.text) if stream else 0
            print_error(error, f"Ctrl-C cancelled the answer after {length} characters.")
        return 130


def _parser() -> Parser:
    parser = Parser(
        "QVQ_API_KEY", prog="qvq", usage="%(prog)s [options] [question] [picture]",
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("question", nargs="?", help="what to ask; without it, or as -, it comes from stdin")
    add("picture", nargs="?", help="a file or a URL; as -, it comes from stdin")
    add("-i", "--image", action="append", default=[], metavar="P", help="the picture, as an option")
    add("--final", action="store_true", help="print only the final text, at the end")
    add("--json", action="store_true", help="one JSON object per line: status, chunk, done, error")
    add("--list", action="store_true", help="show the endpoints of the Space, and ask nothing")
    add("--demo", action="store_true", help="start a local Space for this question")
    add("--version", action="version", version=f"qvq_wrapper {__version__}")
    add_for_space, add_limit = add_space_options(parser)
    add_for_space(
        "--param", action="append", default=[], metavar="P",
        help="NAME=VALUE of the endpoint; the value is JSON or a text")
    add_for_space(
        "--system", metavar="TEXT", help="a system message, or the endpoint's parameter for it")
    add_limit("--max-retries", type=int, metavar="N", help="how often to ask again; 2 by default")
    add_limit("--max-chars", type=int, metavar="N", help="the longest answer, in characters")
    return parser


def _start_demo(demo: ExitStack, image: ImageType | None) -> tuple[str, ImageType]:
    """Start the local Space. Return its URL, and a picture for it if there is none."""
    from .serve import SAMPLE, running_space

    with status_line(lambda: "starting a local Space"):
        url = demo.enter_context(running_space())
    return url, SAMPLE if image is None else image


def _endpoints(options: dict[str, Any]) -> list[EndpointInfo]:
    known = signature(endpoints).parameters.keys() & options.keys()
    with status_line(lambda: "Connecting to the Space"):
        return endpoints(**{name: options[name] for name in known})


def _ask(
    args: argparse.Namespace, question: str, image: ImageType | None, options: dict[str, Any]
) -> AnswerStream:
    """Return the answer. Only for a system message, this asks what the endpoint takes."""
    parameters = parameters_from(args.param)
    limits = {"max_retries": args.max_retries, "max_chars": args.max_chars}
    options |= {name: value for name, value in limits.items() if value is not None}
    options["parameters"] = parameters
    if args.json:
        options["on_status"] = lambda status: print_json(status=asdict(status))
    stream = ask(question, image, **options)
    if args.system is None:
        return stream
    stream.cancel()  # it has checked the arguments, and nothing was sent
    if name := _system_parameter(image, options):
        options["parameters"] = {name: args.system} | parameters
        return ask(question, image, **options)
    messages = [
        {"role": "system", "content": args.system}, {"role": "user", "content": question}]
    media: MediaListType | None = None if image is None else [image]
    return Qwen_QVQ_72B.create_async_generator("", messages, media, **options)


def _system_parameter(image: ImageType | None, options: dict[str, Any]) -> str | None:
    """Return the name of the endpoint's parameter for a system message, or None."""
    name = api_name_of(options["api_name"] or "generate")
    offers = _endpoints(options)
    fitting = (
        [each for each in offers if each.name == name] or [each for each in offers if each.fits]
        or [each for each in offers if each.prompt and (each.picture or image is None)])
    names = {each.name for offer in fitting[:1] for each in offer.parameters}
    return next((name for name in SYSTEM_NAMES if name in names), None)


def _size(image: ImageType | None) -> int:
    """Return the bytes of a picture that has to be uploaded, or 0 if that is not known."""
    if isinstance(image, bytes):
        return len(image)
    if isinstance(image, (str, os.PathLike)) and os.path.isfile(image):
        return os.path.getsize(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
