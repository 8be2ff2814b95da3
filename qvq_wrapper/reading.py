"""What ``qvq`` reads: the question and the picture, from its arguments or from standard input."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
from contextlib import suppress

from .errors import MediaError
from .question.formats import SUFFIXES, check_head
from .types import ImageType

USAGE = 'qvq "What is this?" photo.jpg'


def read_input(args: argparse.Namespace) -> tuple[str, ImageType | None]:
    """Return the question and the picture. With ``--list`` there is neither.

    Raises:
        ValueError: they do not fit together, or a text is not in UTF-8.
    """
    for given in filter(None, [args.question, args.system, *args.param]):
        _decode("an argument", given.encode(errors="surrogateescape"))
    pictures = args.image + ([] if args.picture is None else [args.picture])
    if len(pictures) > 1:
        raise ValueError(f"{len(pictures)} pictures were given; the Space takes one")
    picture: str | None = pictures[0] if pictures else None
    question: str | None = args.question
    if args.demo and args.url:
        raise ValueError("--demo starts a Space of its own; leave out --url")
    if args.list and (pictures or question is not None):
        raise ValueError("--list asks nothing: leave out the question and the picture")
    if args.list:
        return "", None
    on_terminal = sys.stdin is None or sys.stdin.isatty()
    if picture == "-":
        if question in (None, "-"):
            raise ValueError(
                "standard input cannot be both the question and the picture. Write the question "
                "as an argument")
        if on_terminal:
            raise ValueError(f"standard input is no file with a picture. Write: {USAGE}")
        return str(question), _read_stdin()
    if question is None and on_terminal:
        raise ValueError(f"there is no question. Write: {USAGE}")
    if question is None or question == "-":
        text = _decode("standard input", _read_stdin()).replace("\r\n", "\n").rstrip("\n")
        if not text.strip():
            raise ValueError(f"standard input is empty: there is no question. Write: {USAGE}")
        return text, picture
    if picture is None and question.lower().endswith(tuple(SUFFIXES)) and os.path.isfile(question):
        raise ValueError(f"the question comes before the picture. Write: {USAGE}")
    return question, picture


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read() if sys.stdin else b""  # None: it is closed


def _decode(name: str, data: bytes) -> str:
    """Return the text that is in UTF-8. Raise a ValueError that says what it may be instead."""
    with suppress(UnicodeDecodeError):
        text = data.decode("utf-8-sig")
        if "\0" not in text:
            return text
    with suppress(MediaError):
        kind, _ = check_head(data)
        raise ValueError(f"{name} is a picture ({kind}), not a text. Write: {USAGE}")
    has_mark = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "UTF-16" if has_mark or b"\0" in data else "ISO-8859-1"
    raise ValueError(
        f"{name} is not in UTF-8. If it is in {encoding}, convert it: iconv -f {encoding} -t UTF-8")
