"""Turns the picture that a caller gives, in any supported form, into the bytes of one file."""

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

# PNG to BMP follow https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern, with BMP's
# reserved zeros added. TIFF follows section 2 of TIFF 6.0. AVIF and HEIC are brands in a file type
# box (ISO/IEC 14496-12).
_FORMATS = (  # name, file suffix, pattern of the first bytes
    ("PNG", ".png", rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", ".jpg", rb"\xff\xd8\xff"),
    ("GIF", ".gif", rb"GIF8[79]a"),
    ("WebP", ".webp", rb"RIFF....WEBP"),
    ("BMP", ".bmp", rb"BM....\0\0\0\0"),
    ("TIFF", ".tif", rb"II\*\0|MM\0\*"),
    ("AVIF", ".avif", rb"....ftypavi[fs]"),
    ("HEIC", ".heic", rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)"),
)
HEAD_BYTES = 32  # enough for every pattern above


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture: a URL that the Space fetches itself, or a function that returns the bytes.

    Attributes:
        url: the http(s) URL, or None if there are bytes.
        read: returns the bytes. Blocks while it reads or encodes them, and can raise MediaError.
        filename: the file name that the caller gave, or None.
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
        suffix, size = _detect_suffix(data), len(data)
        if limit is not None and size > limit:
            raise MediaError(f"the picture has {size:,} bytes; the Space's limit is {int(limit):,}")
        return _safe_name(self.filename) or f"image{suffix}", data


def picture_from(source: Any, filename: str | None = None) -> Picture:
    """Return the Picture for ``source``.

    Checks only the first bytes; a file is read and an object is encoded when the picture is sent.

    Args:
        source: bytes, an open binary file, a path, a ``data:`` or http(s) URL, a PIL image, a numpy
            array, a matplotlib figure, or an object with ``_repr_png_`` or ``_repr_jpeg_``.
        filename: the file name to send to the Space.

    Raises:
        MediaError: the picture is empty, cannot be read, or has an unknown format.
        TypeError: ``source`` or ``filename`` has a type that is not supported.
    """
    if filename is not None and not isinstance(filename, str):
        raise TypeError(f"filename must be a str or None, not {type(filename).__name__}")
    if isinstance(source, str) and re.match(r"https?://", source, re.I):
        scheme, _, rest = source.partition(":")
        return Picture(url=f"{scheme.lower()}:{rest}", filename=filename)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _from_data_uri(source, filename)
    if isinstance(source, (str, os.PathLike)):
        if not os.fspath(source):
            raise MediaError("the picture is an empty string")
        path = Path(source)
        if path.is_fifo():  # a shell's <(...), which can be read only once
            return _from_file(path.open("rb"), filename)
        _detect_suffix(_read(path, HEAD_BYTES))
        return Picture(read=lambda: _read(path), filename=filename or path.name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        _detect_suffix(data)
        return Picture(read=lambda: data, filename=filename)
    if hasattr(source, "read"):
        return _from_file(source, filename)
    encode = find_encoder(source)
    if encode is None:
        raise TypeError(
            f"a picture cannot be a {type(source).__name__}; give bytes, an open binary file, "
            "a path, a data: or http(s) URL, a PIL image, a numpy array or a matplotlib figure")
    return Picture(read=_memoize(encode), filename=filename)


def _from_data_uri(uri: str, filename: str | None) -> Picture:
    """Return the picture that a ``data:`` URI holds (https://www.rfc-editor.org/rfc/rfc2397)."""
    header, comma, body = uri.partition(",")
    if not comma:
        raise MediaError("the picture's data: URI has no comma, so it has no data")
    data = unquote_to_bytes(body)
    if header.lower().endswith(";base64"):
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4))
        except binascii.Error:
            raise MediaError("the picture's data: URI has invalid base64") from None
    _detect_suffix(data)
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

    head = read(HEAD_BYTES)
    _detect_suffix(head)
    return Picture(read=_memoize(lambda: head + read()), filename=filename)


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
                except MediaError:
                    raise
                except Exception as error:  # the object's own code can raise anything
                    reason = f"{type(error).__name__}: {error}"
                    raise MediaError(f"the picture cannot be encoded ({reason})") from None
        return loaded[0]

    return load_once


def _detect_suffix(head: bytes) -> str:
    """Return the file suffix for the format of a picture that begins with ``head``."""
    if not head:
        raise MediaError("the picture is empty")
    for _, suffix, start in _FORMATS:
        if re.match(start, head, re.S):
            return suffix
    names = ", ".join(name for name, _, _ in _FORMATS)
    raise MediaError(f"not a picture: the data starts with {head[:8]!r}. Supported: {names}")


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise MediaError(f"the picture {os.fspath(path)!r} cannot be read: {reason}") from None


def _safe_name(filename: str | None) -> str:
    """Return ``filename`` without folders and without characters that a file system may refuse."""
    name = re.split(r"[/\\]", filename or "")[-1]
    return re.sub(r"[^\w .()-]", "", name).strip(" .")[-100:]
