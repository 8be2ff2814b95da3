"""Reads pictures from paths and open files, and names them."""

from __future__ import annotations

import inspect
import os
import re
from contextlib import suppress
from typing import Any
from urllib.request import url2pathname

from ..errors import MediaError
from ..printable import printable
from .formats import picture_in_base64

MAX_SHOWN = 255  # characters of a path in a message
MAX_FILE_BYTES = 2**28  # of an open file, which is read at the call
_PIECE = 2**20
_ASYNC = "the picture's file is read asynchronously; give its bytes: await file.read()"
# Folders, and what Windows refuses: learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file.
_REMOVED = re.compile(r'.*[/\\]|[<>:"|?*]')
MAX_NAME_BYTES = 255  # NAME_MAX of Linux; https://man7.org/linux/man-pages/man0/limits.h.0p.html


def path_in_url(url: str) -> str | None:
    """Return the path in a ``file:`` URL, or None if ``url`` is not one of this machine.

    https://www.rfc-editor.org/rfc/rfc8089#section-2
    """
    local = re.fullmatch(r"file:(?://(?:localhost)?)?(/(?!/).*)", url, re.I | re.S)
    return url2pathname(local[1]) if local else None


def read_path(path: str, size: int = -1) -> bytes:
    """Return the first ``size`` bytes of a file, or all of it.

    Raises:
        MediaError: it cannot be read, or is a pipe or a device, where a read can wait for ever.
    """
    try:
        path = os.path.expanduser(path)
        if os.path.isfile(path) or not os.path.exists(path):
            with open(path, "rb") as file:
                return file.read(size)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    raise MediaError(f"the picture {path!r} is a folder, a pipe or a device; give a file")


def _unreadable(path: str, error: Exception) -> MediaError:
    """Return the error for a path that cannot be opened. It may be another text by mistake."""
    if found := picture_in_base64(path.rpartition(";base64,")[2]):
        return MediaError(f"the given text is {found}")
    hint, stripped = "", path.strip()
    is_long = len(path) > MAX_SHOWN
    if re.match(r"https?:/", path, re.I):
        hint = ". pathlib has taken a slash out of the URL; give a str"
    elif is_long or "\n" in stripped or " " in stripped and not re.search(r"\.\w+$", stripped):
        hint = ". Is it the prompt? ask(prompt, image) takes the picture second"
    elif path != stripped:
        hint = ". The path has a blank or a line break around it; remove it: .strip()"
    elif isinstance(error, FileNotFoundError) and not os.path.isabs(path):
        with suppress(OSError):  # the folder itself may be gone
            hint = f", looked for in {os.getcwd()}"
    # A URL can hold a secret, and a long text, or base64, can be the picture itself.
    is_hidden = is_long or re.match(r"https?:/", path, re.I) or ";base64," in path
    shown = f"given as a text of {len(path):,} characters" if is_hidden else repr(path)
    reason = getattr(error, "strerror", None) or "not a valid path"
    return MediaError(f"the picture {shown} cannot be read: {reason}{hint}")


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
    if not data:
        raise MediaError("the picture's file is empty, or was read before: call seek(0) first")
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


def file_name(file: Any) -> str:
    """Return the name of an uploaded or open file, or an empty string if it does not look like one.

    Temporary files and standard input have names without a suffix, which say nothing.
    """
    for name in (getattr(file, "filename", None), getattr(file, "name", None)):
        if isinstance(name, str) and os.path.splitext(name)[1]:
            return safe_name(name)
    return ""


def safe_name(filename: str | None) -> str:
    """Return ``filename`` without folders and control characters, in 255 bytes of UTF-8 at most.

    The suffix is kept, also if it does not fit the picture. A name that is only a suffix gets the
    stem "image". An empty string means that nothing is left.
    """
    name = _REMOVED.sub("", printable(filename or "")).strip().rstrip(" .")
    suffix = "".join(re.findall(r"\.[^.]{1,20}$", name))  # more after the last dot is no suffix
    room = MAX_NAME_BYTES - len(suffix.encode())
    stem = name.removesuffix(suffix).encode()[:room].decode(errors="ignore")
    return (stem.strip(" .") or "image") + suffix if name else ""
