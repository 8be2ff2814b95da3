"""Whatever picture a person holds, made into the bytes of one file."""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import MediaError
from .encode import find_encoder

_KINDS = (  # name, suffix, how its data starts
    ("PNG", ".png", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", ".jpg", rb"\xff\xd8\xff"),
    ("GIF", ".gif", rb"GIF8[79]a"),
    ("WebP", ".webp", rb"RIFF....WEBP"),
    ("BMP", ".bmp", rb"BM....\0\0\0\0"),
    ("TIFF", ".tif", rb"II\*\0|MM\0\*"),
    ("AVIF", ".avif", rb"....ftypavi[fs]"),
    ("HEIC", ".heic", rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)"),
)
_HEAD = 32  # bytes that tell a picture's kind


@dataclass(frozen=True, repr=False)
class Picture:
    """One picture: a URL that the Space fetches itself, or a way to get the bytes.

    ``read`` blocks while the picture is read or encoded, and raises a MediaError where it cannot be.
    """

    url: str | None = None
    read: Callable[[], bytes] = bytes
    filename: str | None = None

    def load(self, limit: float | None) -> tuple[str, bytes]:
        """The name and the bytes that are uploaded. Blocks while the picture is read or encoded.

        Args:
            limit: the largest file that the Space takes, in bytes.

        Raises:
            MediaError: there is no picture, or it is larger than ``limit``.
        """
        data = self.read()
        suffix, size = _suffix(data), len(data)
        if limit is not None and size > limit:
            raise MediaError(f"the picture has {size:,} bytes, and the Space takes {int(limit):,} at most")
        return _safe_name(self.filename) or f"image{suffix}", data


def picture_from(source: Any, filename: str | None = None) -> Picture:
    """The picture that ``source`` is, looked at as far as that does not take long.

    Args:
        source: bytes, an open binary file, a path, a ``data:`` or http(s) URL, a PIL image, a numpy
            array, a matplotlib figure, or an object with ``_repr_png_`` or ``_repr_jpeg_``.
        filename: the name that the Space is told.

    Raises:
        MediaError: it is empty or no picture by its first bytes, or there is no such file.
        TypeError: it is nothing that a picture can be made from.
    """
    if filename is not None and not isinstance(filename, str):
        raise TypeError(f"a picture's filename must be a str or None, not {type(filename).__name__}")
    if isinstance(source, str) and re.match(r"https?://", source, re.I):
        scheme, _, rest = source.partition(":")
        return Picture(url=f"{scheme.lower()}:{rest}", filename=filename)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _from_data_uri(source, filename)
    if isinstance(source, (str, os.PathLike)):
        if not os.fspath(source):
            raise MediaError("the picture is an empty string")
        path = Path(source)
        if path.is_fifo():  # a shell's <(...), which can be read but once
            return _from_file(path.open("rb"), filename)
        _suffix(_read(path, _HEAD))
        return Picture(read=lambda: _read(path), filename=filename or path.name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        _suffix(data)
        return Picture(read=lambda: data, filename=filename)
    if hasattr(source, "read"):
        return _from_file(source, filename)
    encode = find_encoder(source)
    if encode is None:
        raise TypeError(
            f"a picture cannot be a {type(source).__name__}; give bytes, an open binary file, a path, "
            "a data: or http(s) URL, a PIL image, a numpy array or a matplotlib figure")
    return Picture(read=_once(encode), filename=filename)


def _from_data_uri(uri: str, filename: str | None) -> Picture:
    """https://datatracker.ietf.org/doc/html/rfc2397"""
    header, comma, body = uri.partition(",")
    if not comma:
        raise MediaError("the data: URI of a picture has no comma, and so no data")

    def decode(text: str) -> bytes:
        data = unquote_to_bytes(text)
        if not header.lower().endswith(";base64"):
            return data
        try:
            return base64.b64decode(data + b"=" * (-len(data) % 4))
        except binascii.Error:
            raise MediaError("the data: URI of a picture holds no valid base64") from None

    data = decode(body)
    _suffix(data)
    return Picture(read=lambda: data, filename=filename)


def _from_file(file: Any, filename: str | None) -> Picture:
    def read(size: int = -1) -> bytes:
        try:
            data = file.read(size)
        except (OSError, ValueError) as error:
            raise MediaError(f"the picture's file cannot be read: {type(error).__name__}") from None
        if not isinstance(data, bytes):
            raise MediaError("the picture's file is open as text; open it with mode 'rb'")
        return data

    head = read(_HEAD)
    _suffix(head)
    return Picture(read=_once(lambda: head + read()), filename=filename)


def _once(load: Callable[[], bytes]) -> Callable[[], bytes]:
    """``load``, done once for all: a file can be read but once, and an object is drawn in one thread at a time."""
    lock = threading.Lock()
    loaded: list[bytes] = []

    def once() -> bytes:
        with lock:
            if not loaded:
                try:
                    loaded.append(load())
                except MediaError:
                    raise
                except Exception as error:  # of the object that was to be drawn
                    raise MediaError(f"the picture cannot be encoded ({type(error).__name__}: {error})") from None
        return loaded[0]

    return once


def _suffix(head: bytes) -> str:
    """Return the file suffix of the picture that begins with ``head``."""
    if not head:
        raise MediaError("the picture is empty")
    for _, suffix, start in _KINDS:
        if re.match(start, head, re.S):
            return suffix
    names = ", ".join(name for name, _, _ in _KINDS)
    raise MediaError(f"not a picture: the data starts with {head[:8]!r}. Supported: {names}")


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise MediaError(f"the picture {os.fspath(path)!r} cannot be read: {reason}") from None


def _safe_name(filename: str | None) -> str:
    """``filename`` without folders and without what no file system takes."""
    name = re.split(r"[/\\]", filename or "")[-1]
    return re.sub(r"[^\w .()-]", "", name).strip(" .")[-100:]
