"""Bounds on what a Space can make this process hold and compute."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import httpx

from ..errors import ResponseError, SpaceConnectionError
from .failures import nonsense

MAX_BODY_BYTES = 2**23  # of a response that is not an answer
PIECE = 2**16  # bytes that are unpacked at once
MAX_JSON_BYTES = 2**26  # of memory for the objects in one piece of JSON, estimated
MAX_EDIT_WORK = 2**30  # characters that one message can make gradio_client copy


class BoundBody(httpx.SyncByteStream):
    """The body of a response: bounded, and unpacked if a proxy on the way has compressed it.

    Args:
        endless: the response is a stream of any length, whose reader bounds each part of it.
        is_wanted: called with each piece. If it returns False, the body ends.
    """

    def __init__(
        self, response: httpx.Response, *, endless: bool, is_wanted: Callable[[Any], bool]
    ) -> None:
        self._stream: Any = response.stream
        self._endless, self._is_wanted = endless, is_wanted
        # httpx would unpack each piece that arrives as a whole, whatever its size is then.
        self._coding = response.headers.pop("content-encoding", "").strip().lower()

    def __iter__(self) -> Iterator[bytes]:
        pieces: Iterator[bytes] = takewhile(self._is_wanted, self._stream)
        if self._coding not in ("", "identity"):
            pieces = _unpacked(pieces, self._coding)
        return pieces if self._endless else _bounded(pieces)

    def close(self) -> None:
        self._stream.close()


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield up to ``MAX_BODY_BYTES`` of a body."""
    size = 0
    for data in pieces:
        size += len(data)
        if size > MAX_BODY_BYTES:
            raise nonsense(f"a response of more than {MAX_BODY_BYTES} bytes")
        yield data


def _unpacked(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """Yield the unpacked body, in pieces of ``PIECE`` bytes at most."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise SpaceConnectionError(
            f"The response is compressed as {coding!r}, though uncompressed data was asked for. "
            "A proxy on the way may do that; it must not, or use gzip.")
    unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # 32: gzip or zlib
    try:
        for data in pieces:
            piece = b""
            while not unpacker.eof and (data or len(piece) == PIECE):
                piece = unpacker.decompress(data, PIECE)
                data = unpacker.unconsumed_tail
                yield piece
    except zlib.error as error:
        raise nonsense(f"no {coding} data ({error})") from None


def drop_unsendable(cookies: httpx.Cookies) -> None:
    """Drop the cookies that httpx reads but cannot send: those that are not ASCII."""
    for cookie in list(cookies.jar):
        if not f"{cookie.name}{cookie.value}".isascii():
            cookies.jar.clear(cookie.domain, cookie.path, cookie.name)


def weigh_json(data: bytes) -> int:
    """Return an upper bound of the memory that the parsed JSON takes, in bytes."""
    parts = sum(map(data.count, (b"[", b"{", b",", b":")))
    return 4 * len(data) + 30 * data.count(b'"') + 72 * parts


def load_json(data: bytes, most: int = MAX_JSON_BYTES) -> Any:
    """Return what JSON holds. None if it is not JSON, or would take more bytes than ``most``."""
    if 85 * len(data) > most and weigh_json(data) > most:  # it weighs no more than that
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def check_outputs(message: dict[str, Any], sizes: list[int], limit: int) -> None:
    """Bound what gradio_client keeps and computes of a job's outputs, before it gets them.

    ``MAX_EDIT_WORK`` bounds the characters that gradio_client copies for one message: an output for
    each of its edits.

    Args:
        sizes: characters of each output so far. The message's are added to it.
        limit: characters of all outputs together.

    Raises:
        ResponseError: the outputs are too large, or cannot be understood.
    """
    output = message.get("output")
    data = output.get("data") if isinstance(output, dict) else None
    if not isinstance(data, list):
        return
    first = not sizes
    for index, value in enumerate(data):
        if index == len(sizes):
            sizes.append(0)
        edits = value if isinstance(value, list) and not first else [["replace", [], value]]
        for edit in edits:
            if not isinstance(edit, list) or len(edit) != 3:
                raise ResponseError("The Space's answer could not be understood (no edit).")
            size = len(edit[2] if isinstance(edit[2], str) else json.dumps(edit[2]))
            is_whole = edit[0] == "replace" and not edit[1]
            sizes[index] = size if is_whole else sizes[index] + size
        if sizes[index] * len(edits) > MAX_EDIT_WORK:
            raise ResponseError("The Space edits its answer in too many places at once.")
    if sum(sizes) > limit:
        raise ResponseError(f"The Space's outputs grew past {limit} characters.")
