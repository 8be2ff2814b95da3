"""Turns the picture that a caller gives, in any supported form, into the bytes of one file."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.request import url2pathname

from ..errors import MediaError
from .datauri import decode_data_uri
from .encode import find_encoder
from .filename import safe_name
from .files import file_name, read_file, read_path
from .formats import HEAD_BYTES, check_head


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture: a URL that the Space fetches itself, or a function that returns the bytes.

    Attributes:
        url: the http(s) URL, or None if there are bytes.
        read: returns the bytes. Blocks while it reads or encodes them, and can raise MediaError.
        filename: the file name that the caller gave or that the file has, or None.
        format: the name of the file's format, or None if it is not known yet.
    """

    url: str | None = None
    read: Callable[[], bytes] = bytes
    filename: str | None = None
    format: str | None = None

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


def picture_of(given: Any) -> Picture:
    """Return the Picture for a source, or for a tuple ``(source, filename)``.

    Raises:
        MediaError, TypeError: as ``picture_from``.
    """
    if isinstance(given, list):
        raise TypeError(
            "a picture cannot be a list; give one picture, or a tuple (picture, filename)")
    if not isinstance(given, tuple):
        return picture_from(given)
    if len(given) != 2:
        raise TypeError("a picture given as a tuple must be (picture, filename)")
    source, name = given
    if not isinstance(name, (str, type(None))) or _is_another_file(source, name):
        raise TypeError(
            "a tuple is one picture and its file name, a str or None: (picture, filename). The "
            f"second is a {type(name).__name__} that seems to be a picture; only one is taken")
    return picture_from(source, name)


def _is_another_file(source: Any, name: str | None) -> bool:
    """Return whether a file name is one of another picture than ``source``, a path."""
    if not name or not isinstance(source, (str, os.PathLike)):
        return False
    is_url = re.match(r"data:|https?://", name, re.I) is not None
    return is_url or os.path.isfile(name) and os.path.basename(os.fsdecode(source)) != name


def is_source(thing: Any) -> bool:
    """Return whether ``thing`` has a type that ``picture_from`` takes. Any str counts."""
    types = (str, bytes, bytearray, memoryview, os.PathLike)
    return isinstance(thing, types) or hasattr(thing, "read") or find_encoder(thing) is not None


def picture_from(source: Any, filename: str | None = None) -> Picture:
    """Return the Picture for ``source``.

    An open file is read to its end, and a pipe can block. Of any other source, only what takes
    little time is checked; a path is read and an object is encoded when the picture is sent.

    Args:
        source: bytes, an open binary file, a path, a ``file:``, ``data:`` or http(s) URL, a PIL
            image, an array or a tensor, a matplotlib figure or Axes, an object with
            ``_repr_png_`` or ``_repr_jpeg_``, or a dict with ``bytes`` and ``path``.
        filename: the file name to send to the Space.

    Raises:
        MediaError: the picture is empty, cannot be read, or has an unknown format.
        TypeError: ``source`` has a type that is not supported.
    """
    if isinstance(source, Mapping) and source.keys() == {"bytes", "path"}:
        # https://huggingface.co/docs/datasets/image_load, with decode=False
        path = source["path"]
        source = path if source["bytes"] is None else source["bytes"]
        filename = filename or path and os.path.basename(path)
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
    name = filename or os.path.basename(path)
    kind, _ = check_head(read_path(path, HEAD_BYTES), safe_name(name))
    return Picture(read=partial(read_path, path), filename=name, format=kind)


def _from_bytes(data: bytes, filename: str | None) -> Picture:
    kind, _ = check_head(data, safe_name(filename))
    return Picture(read=lambda: data, filename=filename, format=kind)


def _from_file(file: Any, filename: str | None) -> Picture:
    data = read_file(file)
    if not data:
        raise MediaError("the picture's file is empty, or was read before: call seek(0) first")
    return _from_bytes(data, filename or file_name(file))


def _memoize(load: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return a function that calls ``load`` once and returns the same bytes each time.

    A figure must not be drawn in two threads at a time.
    """
    lock, cached = threading.Lock(), cache(load)

    def load_once() -> bytes:
        try:
            with lock:
                return cached()
        except (MediaError, MemoryError):  # a lack of memory has an error of its own
            raise
        except Exception as error:  # the object's own code can raise anything
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise MediaError(f"the picture cannot be encoded ({reason})") from None

    return load_once
