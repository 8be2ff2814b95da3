"""Puts a question into JSON, and says by which key an answer file finds it again."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

from ..printable import UNFIT
from .rows import Row, missing

# What decides the answer. A longer timeout or another proxy does not make another question.
_DECISIVE_OPTIONS = ("url", "api_name", "model", "parameters")
_PLAIN = (str, int, type(None))  # bool is an int


class Keys:
    """Gives each question its key: its id, or else a hash with a count for equal questions.

    Raises:
        ValueError: two rows have the same id but different questions, or a picture that has no
            text (an array, an image object) has no id.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        decisive = {name: options.get(name) or None for name in _DECISIVE_OPTIONS}
        text = json.dumps(decisive, sort_keys=True, default=str)
        self._options = hashlib.blake2b(text.encode(), digest_size=12)
        self._counts: dict[bytes, int] = {}
        self._ids: dict[str, tuple[bytes, str]] = {}

    def answered(self, columns: Mapping[str, Any], place: str) -> None:
        """Remember the question of an id from the answer file."""
        if _has_id(columns):
            self._ids[str(columns["id"])] = self._digest(columns), place

    def set_key(self, row: Row) -> None:
        """Set the row's ``plain`` and ``key``. The key is empty if the row repeats another one."""
        if isinstance(row.columns, Mapping):
            row.plain = to_plain(row.columns)
        if row.error or not _has_id(row.plain):
            digest = self._digest(row.plain or {"prompt": repr(row.columns)})
            image = row.plain.get("image")
            if not row.error and isinstance(image, str) and image.startswith("<"):
                raise ValueError(
                    f"{row.place}: a picture that is no path, URL or bytes, but {image}, needs an "
                    "id in its row, by which a later run knows it")
            count = self._counts[digest] = self._counts.get(digest, 0) + 1
            row.key = digest.hex() + (f"-{count}" if count > 1 else "")
            return
        row.key = str(row.plain["id"])
        digest = self._digest(row.plain)
        known, place = self._ids.get(row.key, (digest, ""))
        if known != digest:
            raise ValueError(
                f"{row.place} and {place} have the same id, {row.key!r}, but different questions")
        self._ids[row.key] = digest, row.place
        if place and not place.startswith("answer"):
            row.key = ""

    def _digest(self, columns: Mapping[str, Any]) -> bytes:
        question = [columns.get(name) for name in ("prompt", "messages", "image")]
        found = self._options.copy()
        found.update(json.dumps(question).encode())
        return found.digest()


def _has_id(columns: Mapping[str, Any]) -> bool:
    return columns.get("id") not in (None, "")


def to_line(columns: Mapping[str, Any]) -> bytes:
    """Return one line of JSON, fit for a terminal and for readers with their own ends of lines."""
    text = json.dumps(columns, ensure_ascii=False, allow_nan=False)
    return UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"


def to_plain(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as JSON can hold it. Bytes become their hash, image objects their type."""
    if all(type(name) is str and type(value) in _PLAIN for name, value in columns.items()):
        return dict(columns)
    result = {str(name): _plain(value) for name, value in columns.items() if name != "image"}
    if "image" in columns:
        image = columns["image"]
        is_object = not isinstance(image, (str, bytes, bytearray, memoryview, os.PathLike))
        opaque = is_object and not missing(image)
        result["image"] = f"<{type(image).__name__}>" if opaque else _plain(image)
    return result


def _plain(value: Any) -> Any:
    if missing(value):
        return None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "isoformat"):  # dates, also pandas'
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(value.tolist())
    shows_itself = "__str__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    return str(value) if shows_itself else f"<{type(value).__name__}>"
