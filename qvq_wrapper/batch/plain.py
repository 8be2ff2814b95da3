"""A row as JSON, whatever it holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..printable import UNFIT
from .asking import missing

OWN_COLUMNS = {"answer", "error", "seconds", "attempts", "asked", "key"}
_BYTES = (bytes, bytearray, memoryview)


def own_names(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns of a row, renamed where a result has its own."""
    if OWN_COLUMNS.isdisjoint(columns):
        return dict(columns)
    return {f"given_{name}" if name in OWN_COLUMNS else name: value
            for name, value in columns.items()}


def to_line(text: str, outcome: Mapping[str, Any]) -> bytes:
    """Return one line of JSON: a row's text and what has become of it."""
    more = _encode(outcome)
    text = more if text == "{}" else f"{text[:-1]}, {more[1:]}"
    return UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"


def dumps(value: Any) -> str:
    """Return a value as JSON. Objects that JSON does not have become text or lists."""
    try:
        return _encode(value)
    except ValueError:  # NaN and infinity become null
        value = json.loads(json.dumps(value, default=_odd), parse_constant=lambda name: None)
        return _encode(value)


def digest_of(data: bytes | bytearray | memoryview) -> str:
    """Return what stands for the bytes of a picture."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_object(image: Any) -> bool:
    return not missing(image) and not isinstance(image, (str, os.PathLike, Mapping, *_BYTES))


def shown(image: Any) -> Any:
    """Return a picture without the objects that JSON does not have."""
    if isinstance(image, tuple) and image:
        return [shown(image[0]), *image[1:]]
    return f"<{type(image).__name__}>" if is_object(image) else image


def readable(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns that JSON can hold, and the types of the others."""
    result = {}
    for name, value in columns.items():
        with suppress(Exception):
            result[str(name)] = f"<{type(value).__name__}>"
            result[str(name)] = json.loads(dumps([value]))[0]
    return result


def _odd(value: Any) -> Any:
    """Return what stands in JSON for a value that JSON does not have."""
    if missing(value):
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, _BYTES):
        return digest_of(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "isoformat"):  # dates, also pandas'
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return value.tolist()
    shows_itself = "__str__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    return str(value) if shows_itself else f"<{type(value).__name__}>"


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_odd).encode
