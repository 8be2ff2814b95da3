"""Reads pictures from open files, also from some that are asynchronous."""

from __future__ import annotations

import inspect
import io
import os
from typing import Any

from ..errors import MediaError
from .formats import HEAD_BYTES

_ASYNC = "the picture's file is read asynchronously; give its bytes: await file.read()"


def synchronous(file: Any) -> Any:
    """Return the file that an asynchronous one wraps, or ``file`` itself.

    Starlette's UploadFile has it in ``file`` (https://www.starlette.io/requests/#request-files).
    The files of anyio and trio have it in ``wrapped``
    (https://anyio.readthedocs.io/en/stable/api.html#anyio.AsyncFile).

    Raises:
        MediaError: the file's ``read`` is asynchronous, and no other file is behind it.
    """
    if not inspect.iscoroutinefunction(file.read):
        return file
    for name in ("file", "wrapped"):
        wrapped = getattr(file, name, None)
        if wrapped and not inspect.iscoroutinefunction(getattr(wrapped, "read", None)):
            return wrapped
    raise MediaError(_ASYNC)


def file_name(file: Any) -> str | None:
    """Return the name of an uploaded or open file, or None if it does not look like one.

    Temporary files and standard input have names without a suffix, which say nothing.
    """
    for name in (getattr(file, "filename", None), getattr(file, "name", None)):
        if isinstance(name, str) and os.path.splitext(name)[1]:
            return os.path.basename(name)
    return None


def can_block(file: Any) -> bool:
    """Return whether a read can wait for someone, as a pipe, a socket and a terminal do."""
    try:
        return not file.seekable()
    except (AttributeError, ValueError):  # not all objects have it; a closed file raises ValueError
        return False


def position(file: Any) -> int:
    """Return how many bytes lie before the next read, or 0 if the file does not tell."""
    try:
        return int(file.tell())
    except (AttributeError, TypeError, OSError, ValueError):
        return 0


def read_head(file: Any) -> bytes:
    """Return the first bytes of an open file: ``HEAD_BYTES``, or all of a shorter file.

    Raises:
        MediaError: the file cannot be read, or is not open for reading bytes.
    """
    head = b""
    while len(head) < HEAD_BYTES and (part := _read(file, HEAD_BYTES - len(head))):
        head += part  # a raw file can return less than it is asked for
    return head


def read_all(file: Any) -> bytes:
    """Return everything from here to the end of an open file.

    Raises:
        MediaError: as ``read_head``.
    """
    parts = []
    while part := _read(file, -1):
        parts.append(part)
    return b"".join(parts)


def _read(file: Any, size: int) -> bytes:
    try:
        data = file.read(size)
    except UnicodeDecodeError:
        data = ""
    except io.UnsupportedOperation:
        raise MediaError("the picture's file is not open for reading; use mode 'rb'") from None
    except (OSError, ValueError) as error:
        reason = "it is closed" if getattr(file, "closed", False) else type(error).__name__
        raise MediaError(f"the picture's file cannot be read: {reason}") from None
    if isinstance(data, str):
        raise MediaError("the picture's file is open as text; open it with mode 'rb'")
    if data is None:  # https://docs.python.org/3/library/io.html#io.RawIOBase.read
        raise MediaError(
            "the picture's file is non-blocking and has no data yet; read it and give the bytes")
    if inspect.isawaitable(data):
        if inspect.iscoroutine(data):
            data.close()  # or Python warns that it was never awaited
        raise MediaError(_ASYNC)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        kind = type(data).__name__
        raise MediaError(f"the picture's file gives {kind} and not bytes; open it with mode 'rb'")
    return bytes(data)
