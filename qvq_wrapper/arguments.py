"""The command-line options that say which Space to ask and how. All commands share them."""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from .printable import printable

# What people try for a secret: --api-key, --hf_token, --auth, --bearer, ..., also with one hyphen.
_SECRET = re.compile(
    r"-{1,2}(?!max)(\w+-)*\w*?"
    r"(key|token|auth|authorization|bearer|password|passwd|passphrase|pass|pwd|secret|credentials?"
    r"|login|user|username|hf)(?![\w-])", re.IGNORECASE | re.ASCII)
_NAME = re.compile("--[a-z_-]+|-[A-Za-z]")  # no more of it: it could be a secret too

Add = Callable[..., object]


class Parser(ArgumentParser):
    """A parser that repeats no secret, and takes no shortened option.

    Args:
        key_variable: the environment variable that holds a token, for messages.
        **options: of ``argparse.ArgumentParser``.
    """

    def __init__(self, key_variable: str, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._key_variable = key_variable

    def parse(self, arguments: list[str] | None) -> Namespace:
        """Read the arguments, or those of this process.

        Raises:
            SystemExit: with status 2, they are wrong. The message has no value of an option that
                holds a secret or that is not known.
        """
        sys.stderr = sys.stderr or open(os.devnull, "w")  # 2>&- leaves None, and stdout is no place
        arguments = sys.argv[1:] if arguments is None else arguments
        for argument in takewhile("--".__ne__, arguments):
            if _SECRET.match(argument):
                self.error(
                    "no option takes a secret itself, because others can see the arguments of a "
                    "command. Give a token by --api-key-file FILE or in the environment variable "
                    f"{self._key_variable}, and a login by --auth-file FILE")
        # Intermixed: an option may stand between two arguments of which one may be left out.
        # It forgets what "--" means, so a mark hides the hyphens behind that.
        start = arguments.index("--") if "--" in arguments else len(arguments)
        marked = arguments[:start] + [f"\0{each}" for each in arguments[start + 1:]]
        found, unknown = self.parse_known_intermixed_args(marked)
        for key, value in vars(found).items():
            setattr(found, key, value.removeprefix("\0") if isinstance(value, str) else value)
        if names := [name[0] for each in unknown if (name := _NAME.match(each))]:
            close = get_close_matches(names[0], self._option_string_actions, 1)
            hint = f"Did you mean {close[0]}?" if close else "Options are written in full"
            self.error(f"unknown option: {', '.join(names)}. {hint}")
        if unknown:
            self.error("too many arguments. A text with spaces needs quotes around it")
        return found

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with status 2."""
        message = re.sub("(ignored explicit argument) .*", r"\1", message)
        super().error(printable(message))


def add_space_options(parser: ArgumentParser) -> tuple[Add, Add]:
    """Add the options to a parser. ``space_options`` reads their values.

    Return the functions that add more options about the Space, and more limits.
    """
    add = add_for_space = parser.add_argument_group("the Space").add_argument
    add("--url", metavar="SPACE", help="another Space: a URL, or owner/name")
    add("--api-name", metavar="NAME", help="another endpoint of the Space, such as /describe")
    add = add_limit = parser.add_argument_group("limits").add_argument
    add("--timeout", type=float, metavar="S", help="seconds for the whole answer")
    add("--read-timeout", type=float, metavar="S", help="seconds of silence; 0 is no limit")
    add = parser.add_argument_group("the way to the Space").add_argument
    add("--api-key-file", metavar="FILE", help="a file with a token; or set QVQ_API_KEY")
    add("--auth-file", metavar="FILE", help="a file with user:password of the Space's login")
    add("--proxy", metavar="URL", help="an HTTP or SOCKS proxy for every connection")
    add("--header", action="append", default=[], metavar="H", help="a header, as 'NAME: VALUE'")
    add("--cafile", metavar="FILE", help="certificates to trust, in PEM format")
    return add_for_space, add_limit


def space_options(args: Namespace) -> dict[str, Any]:
    """Return the options for ``ask()``.

    Raises:
        ValueError, OSError: a file or a header cannot be used. No message contains a secret.
    """
    options: dict[str, Any] = {
        "url": args.url, "api_name": args.api_name, "proxy": args.proxy, "timeout": args.timeout,
        "api_key": os.environ.get("QVQ_API_KEY")}
    if args.api_key_file:
        options["api_key"] = read_secret("--api-key-file", args.api_key_file)
    if args.auth_file:
        user, colon, password = read_secret("--auth-file", args.auth_file).partition(":")
        if not colon:
            raise ValueError(f"--auth-file {args.auth_file} must hold one line, user:password")
        options["auth"] = (user, password)
    if args.header:
        headers = [header.partition(":") for header in args.header]
        if not all(colon for _, colon, _ in headers):
            raise ValueError("--header must be 'NAME: VALUE'")
        options["headers"] = {name.strip(): value.strip() for name, _, value in headers}
    if args.cafile:
        try:
            options["verify"] = ssl.create_default_context(cafile=args.cafile)
        except ssl.SSLError:
            raise ValueError(f"--cafile {args.cafile} holds no certificates (PEM)") from None
        except OSError as error:
            raise ValueError(f"--cafile {args.cafile}: {error.strerror}") from None
    if args.read_timeout is not None:
        options["read_timeout"] = args.read_timeout or None
    return options


def parameters_from(given: list[str]) -> dict[str, Any]:
    """Return the values of ``NAME=VALUE`` by name. What is not JSON is a string."""
    parameters: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name.strip() and equals):
            raise ValueError("--param must be NAME=VALUE")
        parameters[name.strip()] = value
        with suppress(ValueError, RecursionError):
            parameters[name.strip()] = json.loads(value)
    return parameters


def read_secret(option: str, path: str) -> str:
    """Return the one line of a file.

    Raises:
        ValueError: it cannot be read, or is not one line of text. The message names the file only
            if there is one: people may give the secret itself.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(10_000)
    except OSError as error:
        raise ValueError(f"{option} must name a file: {error.strerror}") from None
    lines = data.decode("utf-8", "replace").split("\n")
    text = lines[0].strip()
    if not text or not text.isprintable() or "\ufffd" in text or any(map(str.strip, lines[1:])):
        raise ValueError(f"{option} {path} must hold one line of text")
    return text
