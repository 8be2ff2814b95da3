"""Reads pictures from paths and open files."""

from __future__ import annotations

import inspect
import os
import re
import stat
from contextlib import suppress
from typing import Any

from ..errors import MediaError
from .formats import check_base64

MAX_SHOWN = 255  # characters of a path in a message
MAX_FILE_BYTES = 2**28  # of an open file, which is read at the call
_PIECE = 2**20
_ASYNC = "the picture's file is read asynchronously; give its bytes: await file.read()"


def read_path(path: str, size: int = -1) -> bytes:
    """Return the first ``size`` bytes of a file, or all of it.

    Raises:
        MediaError: it cannot be read, or is a pipe or a device, where a read can wait for ever.
    """
    try:
        path = os.path.expanduser(path)
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):  # open() refuses a folder in its own words
            with open(path, "rb") as file:
                return file.read(size)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    raise MediaError(f"the picture {path!r} is a pipe or a device; read it and give the bytes")


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
    if len(path) > MAX_SHOWN or "\n" in path.strip():
        words = f"the picture cannot be read: a text of {len(path):,} characters is no path"
        return MediaError(f"{words} ({reason}). {prompt}")
    hint, stripped = "", path.strip()
    if " " in stripped and not re.search(r"\.\w+$", stripped):
        hint = f". {prompt}"
    elif path != stripped:
        hint = ". The path has a blank or a line break around it; remove it: .strip()"
    elif isinstance(error, FileNotFoundError) and not os.path.isabs(path):
        with suppress(OSError):  # the folder itself may be gone
            hint = f", looked for in {os.getcwd()}"
    return MediaError(f"the picture {path!r} cannot be read: {reason}{hint}")


def read_file(file: Any) -> bytes:
    """Return what an open file holds, from its position to its end. A pipe blocks the caller.

    Of an asynchronous file, the synchronous one that it wraps is read. Starlette's UploadFile has
    it in ``file`` (https://www.starlette.io/requests/#request-files). The files of anyio and trio
    have it in ``wrapped`` (https://anyio.readthedocs.io/en/stable/api.html#anyio.AsyncFile).

    Raises:
        MediaError: the file cannot be read, or is larger than ``MAX_FILE_BYTES``.
    """
    for name in ("file", "wrapped"):
        if inspect.iscoroutinefunction(file.read):
            file = getattr(file, name, file)
    if inspect.iscoroutinefunction(file.read):
        raise MediaError(_ASYNC)
    data = bytearray()
    while piece := _read_piece(file):
        data += piece
        if len(data) > MAX_FILE_BYTES:
            raise MediaError(
                f"the picture's file has more than {MAX_FILE_BYTES:,} bytes; give its path")
    return bytes(data)


def _read_piece(file: Any) -> bytes | bytearray | memoryview:
    try:
        data = file.read(_PIECE)
    except MemoryError:
        raise
    except Exception as error:  # the object's own code can raise anything
        reason = "it is closed" if getattr(file, "closed", False) else type(error).__name__
        raise MediaError(
            f"the picture's file cannot be read: {reason}. Open it with mode 'rb'") from None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return data
    if inspect.iscoroutine(data):
        data.close()  # or Python warns that it was never awaited
        raise MediaError(_ASYNC)
    if data is None:  # https://docs.python.org/3/library/io.html#io.RawIOBase.read
        raise MediaError(
            "the picture's file is non-blocking and has no data yet; read it and give the bytes")
    kind = type(data).__name__
    raise MediaError(f"the picture's file gives {kind} and not bytes; open it with mode 'rb'")


def file_name(file: Any) -> str | None:
    """Return the name of an uploaded or open file, or None if it does not look like one.

    Temporary files and standard input have names without a suffix, which say nothing.
    """
    for name in (getattr(file, "filename", None), getattr(file, "name", None)):
        if isinstance(name, str) and os.path.splitext(name)[1]:
            return os.path.basename(name)
    return None
