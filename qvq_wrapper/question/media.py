"""Turns the picture that a caller gives, in any supported form, into the bytes of one file."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from ..errors import MediaError
from .files import file_name, path_in_url, read_file, read_path, safe_name
from .formats import HEAD_BYTES, check_head, decode_data_uri
from .pixels import find_encoder


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture: a URL that the Space fetches itself, or a function that returns the bytes.

    Attributes:
        url: the http(s) URL, or None if there are bytes.
        read: returns the bytes. Blocks while it reads or encodes them, and can raise MediaError.
        filename: the file name that the Space gets, or an empty string if there is none.
        format: the name of the file's format, or None if it is not known yet.
    """

    url: str | None = None
    read: Callable[[], bytes] = bytes
    filename: str = ""
    format: str | None = None

    def load(self, limit: float | None) -> tuple[str, bytes]:
        """Return the file name and the bytes to upload. Blocks while it reads or encodes them.

        Args:
            limit: the largest file that the Space takes, in bytes. None is no limit.

        Raises:
            MediaError: the picture cannot be read or encoded, or is larger than ``limit``.
        """
        data = self.read()
        _, suffix = check_head(data, self.filename)
        size = len(data)
        if limit is not None and size > limit:
            raise MediaError(f"the picture has {size:,} bytes; the Space's limit is {int(limit):,}")
        return self.filename or f"image{suffix}", data


def picture_of(given: Any) -> Picture:
    """Return the Picture for a source, or for a tuple ``(source, filename)``.

    Args:
        given: what ``find_picture`` takes, or a dict with ``bytes`` and ``path``.

    Raises:
        MediaError: as ``find_picture``.
        TypeError: this is not one picture.
    """
    is_pair = isinstance(given, tuple) and len(given) == 2
    source, name = given if is_pair else (given, None)
    has_name = isinstance(name, (str, type(None))) and not _is_another_file(source, name or "")
    if isinstance(source, (list, tuple)) or not has_name:
        raise TypeError(
            f"this {type(given).__name__} is not one picture; give one, or a tuple (picture, "
            "filename) with a str or None as its file name; only one picture is taken")
    if isinstance(source, Mapping) and source.keys() == {"bytes", "path"}:
        # https://huggingface.co/docs/datasets/image_load, with decode=False
        path = source["path"]
        source = path if source["bytes"] is None else source["bytes"]
        name = name or path and os.path.basename(path)
    if picture := find_picture(source, name):
        return picture
    raise TypeError(
        f"a picture cannot be of type {type(source).__name__}; give bytes, an open binary "
        "file, a path, a data: or http(s) URL, a PIL image, an array or a matplotlib figure")


def _is_another_file(source: Any, name: str) -> bool:
    """Return whether a file name is one of another picture than ``source``, a path."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    is_url = re.match(r"data:|https?://", name, re.I) is not None
    return is_url or os.path.isfile(name) and os.path.basename(os.fsdecode(source)) != name


def find_picture(source: Any, filename: str | None = None) -> Picture | None:
    """Return the Picture for ``source``, or None if ``source`` has a type that is not supported.

    An open file is read to its end, and a pipe can block. Of any other source, only what takes
    little time is checked; a path is read and an object is encoded when the picture is sent.

    Args:
        source: bytes, an open binary file, a path, a ``file:``, ``data:`` or http(s) URL, a PIL
            image, an array or a tensor, a matplotlib figure or Axes, or an object with
            ``_repr_png_`` or ``_repr_jpeg_``.
        filename: the file name to send to the Space.

    Raises:
        MediaError: the picture is empty, cannot be read, or has an unknown format.
    """
    name = safe_name(filename)
    if isinstance(source, str):
        return _from_text(source, name)
    if isinstance(source, os.PathLike):
        return _from_path(os.fsdecode(source), name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source), name)
    if hasattr(source, "read"):
        return _from_bytes(read_file(source), name or file_name(source))
    encode = find_encoder(source)
    return encode and Picture(read=_memoize(encode), filename=name)


def _from_text(text: str, name: str) -> Picture:
    """Return the picture at a URL or a path."""
    scheme = re.match(r"\s*(data:|file:|[a-z][a-z0-9+.-]+://)", text, re.I)
    if not scheme:
        return _from_path(text, name)
    kind = scheme[1].lower()
    if text[0].isspace() or kind.startswith("http") and text[-1].isspace():
        raise MediaError(
            "the picture's URL has a blank or a line break around it; remove it: .strip()")
    if kind in ("http://", "https://"):
        return Picture(url=kind + text[len(kind):])
    if kind == "data:":
        return _from_bytes(decode_data_uri(text), name)
    if kind != "file:":
        raise MediaError(f"the picture's URL must be http, https, data or file, not {kind}")
    path = path_in_url(text)
    if path is None:
        raise MediaError("the picture's file: URL must have the form file:///folder/name.png")
    return _from_path(path, name)


def _from_path(path: str, name: str) -> Picture:
    name = name or safe_name(path)
    kind, _ = check_head(read_path(path, HEAD_BYTES), name)
    return Picture(read=partial(read_path, path), filename=name, format=kind)


def _from_bytes(data: bytes, name: str) -> Picture:
    kind, _ = check_head(data, name)
    return Picture(read=lambda: data, filename=name, format=kind)


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
