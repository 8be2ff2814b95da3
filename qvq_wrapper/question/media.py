"""Turns the picture that a caller gives, in any supported form, into the bytes of one file."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.request import url2pathname

from ..errors import MediaError
from .datauri import decode_data_uri
from .encode import find_encoder
from .filename import safe_name
from .files import can_block, file_name, position, read_all, read_head, synchronous
from .formats import HEAD_BYTES, check_base64, check_head

MAX_SHOWN = 255  # characters of a path in a message


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture: a URL that the Space fetches itself, or a function that returns the bytes.

    Attributes:
        url: the http(s) URL, or None if there are bytes.
        read: returns the bytes. Blocks while it reads or encodes them, and can raise MediaError.
        filename: the file name that the caller gave or that the file has, or None.
    """

    url: str | None = None
    read: Callable[[], bytes] = bytes
    filename: str | None = None

    def load(self, limit: float | None) -> tuple[str, bytes]:
        """Return the file name and the bytes to upload. Blocks while it reads or encodes them.

        Args:
            limit: the largest file that the Space takes, in bytes. None is no limit.

        Raises:
            MediaError: the picture cannot be read or encoded, or is larger than ``limit``.
        """
        data = self.read()
        _, suffix = check_head(data, safe_name(self.filename))
        size = len(data)
        if limit is not None and size > limit:
            raise MediaError(f"the picture has {size:,} bytes; the Space's limit is {int(limit):,}")
        return safe_name(self.filename) or f"image{suffix}", data


def picture_from(source: Any, filename: str | None = None) -> Picture:
    """Return the Picture for ``source``.

    Checks only the first bytes; a file is read and an object is encoded when the picture is sent.

    Args:
        source: bytes, an open binary file, a path, a ``file:``, ``data:`` or http(s) URL, a PIL
            image, an array or a tensor, a matplotlib figure or Axes, or an object with
            ``_repr_png_`` or ``_repr_jpeg_``.
        filename: the file name to send to the Space.

    Raises:
        MediaError: the picture is empty, cannot be read, or has an unknown format.
        TypeError: ``source`` or ``filename`` has a type that is not supported.
    """
    if filename is not None and not isinstance(filename, str):
        raise TypeError(f"filename must be a str or None, not {type(filename).__name__}")
    if isinstance(source, str):
        return _from_text(source, filename)
    if isinstance(source, os.PathLike):
        return _from_path(os.fsdecode(source), filename)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), filename)
    if hasattr(source, "read"):
        return _from_file(source, filename)
    encode = find_encoder(source)
    if encode is None:
        raise TypeError(
            f"a picture cannot be of type {type(source).__name__}; give bytes, an open binary "
            "file, a path, a data: or http(s) URL, a PIL image, an array or a matplotlib figure")
    return Picture(read=_memoize(encode), filename=filename)


def _from_text(text: str, filename: str | None) -> Picture:
    """Return the picture at a URL or a path."""
    scheme = re.match(r"\s*(data:|file:|[a-z][a-z0-9+.-]+://)", text, re.I)
    kind = scheme[1].lower() if scheme else ""
    if scheme and text[0].isspace() or kind.startswith("http") and text[-1].isspace():
        raise MediaError(
            "the picture's URL has a blank or a line break around it; remove it: .strip()")
    if kind in ("http://", "https://"):
        return Picture(url=kind + text[len(kind):], filename=filename)
    if kind == "data:":
        return _from_bytes(decode_data_uri(text), filename)
    if kind == "file:":  # https://www.rfc-editor.org/rfc/rfc8089#section-2
        local = re.fullmatch(r"file:(?://(?:localhost)?)?(/(?!/).*)", text, re.I | re.S)
        if not local:
            raise MediaError("the picture's file: URL must have the form file:///folder/name.png")
        return _from_path(url2pathname(local[1]), filename)
    if kind:
        raise MediaError(f"the picture's URL must be http, https, data or file, not {kind}")
    if not text.strip():
        raise MediaError("the picture is an empty string")
    return _from_path(text, filename)


def _from_path(path: str, filename: str | None) -> Picture:
    try:
        path = os.path.expanduser(path)
        is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if is_pipe:  # a shell's <(...). Opening it waits for someone who writes.
        return Picture(read=_memoize(partial(_read_pipe, path)), filename=filename)
    name = filename or os.path.basename(path)
    check_head(_read_path(path, HEAD_BYTES), safe_name(name))
    return Picture(read=partial(_read_path, path), filename=name)


def _read_path(path: str, size: int = -1) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _read_pipe(path: str) -> bytes:
    with open(path, "rb") as file:
        return _read_file(file)


def _unreadable(path: str, error: Exception) -> MediaError:
    """Return the error for a path that cannot be opened. It may be another text by mistake.

    A long text is not shown: it can be the picture itself.
    """
    reason = getattr(error, "strerror", None) or "not a valid path"
    try:
        check_base64(path)
    except MediaError as found:
        return found
    if ";base64," in path[:MAX_SHOWN]:
        return MediaError("the picture's data: URI does not begin with data:")
    if re.match(r"https?:/", path, re.I):
        return MediaError("the picture is a URL with one slash, as pathlib makes it; give a str")
    prompt = "Is it the prompt? ask(prompt, image) takes the picture second"
    if len(path) > MAX_SHOWN or "\n" in path:
        words = f"the picture cannot be read: a text of {len(path):,} characters is no path"
        return MediaError(f"{words} ({reason}). {prompt}")
    hint = f". {prompt}" if " " in path and not re.search(r"\.\w+$", path) else ""
    return MediaError(f"the picture {path!r} cannot be read: {reason}{hint}")


def _from_bytes(data: bytes, filename: str | None) -> Picture:
    check_head(data, safe_name(filename))
    return Picture(read=lambda: data, filename=filename)


def _from_file(file: Any, filename: str | None) -> Picture:
    filename = filename or file_name(file)
    file = synchronous(file)
    if can_block(file):  # the caller may be an event loop
        return Picture(read=_memoize(partial(_read_file, file, filename)), filename=filename)
    start = position(file)
    head = read_head(file)
    try:
        check_head(head, safe_name(filename))
    except MediaError as error:
        if not start:
            raise
        raise MediaError(
            f"{error}. The file was given at byte {start:,}: call seek(0) first") from None
    return Picture(read=_memoize(lambda: head + read_all(file)), filename=filename)


def _read_file(file: Any, filename: str | None = None) -> bytes:
    """Return what an open file holds. Its first bytes are checked before the rest is read."""
    head = read_head(file)
    check_head(head, safe_name(filename))
    return head + read_all(file)


def _memoize(load: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return a function that calls ``load`` once and returns the same bytes each time.

    A file can be read only once, and a figure must not be drawn in two threads at a time.
    """
    lock = threading.Lock()
    loaded: list[bytes] = []

    def load_once() -> bytes:
        with lock:
            if not loaded:
                try:
                    loaded.append(load())
                except (MediaError, MemoryError):  # a lack of memory has an error of its own
                    raise
                except Exception as error:  # the object's own code can raise anything
                    reason = f"{type(error).__name__}: {str(error)[:200]}"
                    raise MediaError(f"the picture cannot be encoded ({reason})") from None
        return loaded[0]

    return load_once
