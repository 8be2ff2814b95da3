"""The options of ``python -m qvq_wrapper.serve``."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ..arguments import Parser


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line, and the files that it names.

    The key is then in ``api_key``, and the users with their passwords are in ``auth``.

    Raises:
        SystemExit: with status 2, an option or a file is wrong.
    """
    parser = Parser(
        "OPENAI_API_KEY", prog="python -m qvq_wrapper.serve",
        description="Serve a Space. Without --base-url it reads the text in a picture; with it, a "
        "model on your server answers. Ctrl-C ends it.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=7860, help="port, or 0 for any free port (%(default)s)")
    add("--auth-file", type=_users, dest="auth", metavar="FILE",
        help="users of the page, one user:password per line")
    add("--until-stdin-closes", action="store_true", help="end with standard input")
    model = parser.add_argument_group("a model on a server with OpenAI's chat completions")
    add = model.add_argument
    add("--base-url", type=_url, metavar="URL", help="such as http://127.0.0.1:8000/v1")
    add("--model", metavar="NAME", help="the model's name on that server")
    add("--api-key-file", type=_key_file, dest="api_key", metavar="FILE",
        help="a file with the server's key; or set OPENAI_API_KEY")
    add("--system", default="", help="system message; the page shows it")
    add("--max-tokens", type=_positive(int), default=8192, metavar="N",
        help="longest answer (%(default)s)")
    add("--temperature", type=_positive(float, 0), metavar="T", help="the server's own if not set")
    add("--stop-repetition", action="store_true",
        help="end an answer that says the same words (32 characters or more) four times in a row")
    add("--show-thinking", action="store_true",
        help="show a model's thoughts too, in quotes; some servers send them apart from the answer")
    add("--max-pixels", type=_positive(int), default=1_003_520, metavar="N",
        help="make larger pictures smaller (%(default)s)")
    add("--concurrency", type=_positive(int), default=100, metavar="N",
        help="answers at once (%(default)s)")
    options = parser.parse(arguments)
    if bool(options.base_url) != bool(options.model):
        parser.error("--base-url and --model need each other")
    for action in model._group_actions:
        if not options.base_url and getattr(options, action.dest) != action.default:
            parser.error(f"{action.option_strings[0]} needs --base-url")
    if options.base_url and not options.api_key and (key := os.environ.get("OPENAI_API_KEY")):
        try:
            options.api_key = _key(key)
        except argparse.ArgumentTypeError as error:
            parser.error(f"OPENAI_API_KEY: {error}")
    return options


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        if parts.scheme in ("http", "https") and parts.hostname and not parts.username:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("must begin with http:// or https:// and name a host, no user")


def _positive(kind: Callable[[str], float], least: float = 1) -> Callable[[str], float]:
    def number(value: str) -> float:
        found = kind(value)
        if not least <= found < math.inf:
            raise argparse.ArgumentTypeError(f"must be {least:g} or more")
        return found

    return number


def _key(text: str) -> str:
    if not re.fullmatch("[!-~]+", text.strip()):
        raise argparse.ArgumentTypeError("has no key, or one with spaces or other characters")
    return text.strip()


def _key_file(name: str) -> str:
    return _key(_read(name))


def _users(name: str) -> list[tuple[str, str]]:
    users = []
    for number, line in enumerate(_read(name).splitlines(), 1):
        user, colon, password = line.strip().partition(":")
        if line.strip() and not (user and password):
            raise argparse.ArgumentTypeError(f"line {number} of {name} is not user:password")
        if colon:
            users.append((user, password))
    if not users:
        raise argparse.ArgumentTypeError(f"{name} has no user:password")
    return users


def _read(name: str) -> str:
    try:
        return Path(name).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        # It does not repeat the name: people may give the secret itself.
        raise argparse.ArgumentTypeError(
            f"that file cannot be read ({type(error).__name__})") from None
