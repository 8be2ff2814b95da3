"""What an answer file has of a row: the key by which a run finds it again, and its columns."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..printable import UNFIT
from ..provider import Qwen_QVQ_72B
from ..question.options import api_name_of
from .read import local_path
from .rows import Row, error_text, missing

# An id, the options that decide an answer and the question, or a count for equal questions. With a
# letter in front, no other tool takes a key for a number.
KEY = re.compile(r"(.*/)?q[0-9a-f]{8}-[0-9a-f]{24}(-\d+)?", re.S)
STAMP = ("size", "changed", "inode")  # of a file: bytes, microseconds, number
_BYTES = (bytes, bytearray, memoryview)


class Keys:
    """Gives each question its key.

    Args:
        options: those of the run. A longer timeout or another proxy makes no other question.

    Attributes:
        pictures: the digests of files that have been read, by size, time of change and inode.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        api_name, model = options.get("api_name") or "/generate", options.get("model")
        decisive = [
            api_name_of(api_name), Qwen_QVQ_72B.get_model(model), options.get("parameters") or {}]
        self._options = "q" + _digest(decisive, 4)
        self._counts: dict[str, int] = {}
        self._answered: dict[str, str] = {}  # the question of each id in the answer file
        self._ids: dict[str, tuple[str, str]] = {}  # and in this run, with its row's place
        self.pictures: dict[tuple[int, int, int], str] = {}

    def answered(self, key: str) -> None:
        """Remember which question of an id has an answer."""
        name, slash, question = key.rpartition("/")
        if slash:
            self._answered[name] = question

    def set_key(self, row: Row) -> None:
        """Set the row's ``key`` and ``picture``. A row that repeats another has no key.

        Raises:
            ValueError: two rows have the same id but different questions, or a picture that has no
                content to compare (an array, an image object) has no id.
        """
        name, question, path, needs_id = "", "", None, False
        if not row.error:
            try:
                name = _name(row.columns.get("id"))
                prompt, messages, image = map(row.question.get, ("prompt", "messages", "image"))
                picture = image[0] if isinstance(image, tuple) and image else image
                needs_id = not name and _is_object(picture)
                if path := local_path(picture):
                    row.picture = self._stamp(path)
                    picture = row.picture["digest"] if row.picture else path
                question = _digest([prompt, messages, _shown(picture) or None], 12)
            except Exception as error:  # a row can hold objects whose own code raises anything
                row.error = _not_json(error)
        if needs_id:
            raise ValueError(
                f"{row.place}: a picture that is no path, URL or bytes needs an id in its row, by "
                "which a later run knows it")
        if row.error:
            name, question = "", _digest(_readable(row.columns) or error_text(row.error), 12)
        key = f"{self._options}-{question}"
        if not name:
            count = self._counts[key] = self._counts.get(key, 0) + 1
            row.key = key + (f"-{count}" if count > 1 else "")
            return
        before = self._answered.get(name, key)
        if path and row.picture is None:  # the file is gone: nothing is known to have changed
            key = before
        known, place = self._ids.setdefault(name, (key, row.place))
        if known != key:
            raise ValueError(
                f"{row.place} and {place} have the same id, {name!r}, but different questions")
        if not before.startswith(self._options):
            raise ValueError(
                f"{row.place}: the answer to its id, {name!r}, was given with another model, "
                "api_name or parameters; give another file for the answers of this run")
        if before != key:
            raise ValueError(
                f"{row.place}: its id, {name!r}, was answered with another prompt or picture; give "
                "the row another id, or remove the old line from the answers to ask again")
        row.key = f"{name}/{key}" if place == row.place else ""

    def _stamp(self, path: str) -> dict[str, Any] | None:
        """Return what tells whether a file has changed, or None if it cannot be read.

        That of a pipe or a folder is empty. A file that has not changed is not read again.
        """
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would empty it
                return {}
            known = status.st_size, status.st_ctime_ns // 1000, status.st_ino
            if known not in self.pictures:
                self.pictures[known] = _digest_of(Path(path).read_bytes())
        except (OSError, ValueError):  # asking will say why
            return None
        return dict(zip(STAMP, known), digest=self.pictures[known])


def set_text(row: Row) -> None:
    """Set the row's ``text``: its columns in JSON, as far as JSON can hold them."""
    columns = row.renamed()
    try:
        if row.image_column in columns:
            columns[row.image_column] = _shown(columns[row.image_column])
        row.text = _dumps(columns)
    except Exception as error:
        row.error = row.error or _not_json(error)
        row.text = _dumps(_readable(columns))


def to_line(text: str, outcome: Mapping[str, Any]) -> bytes:
    """Return one line of JSON: a row's text and what has become of it."""
    more = _encode(outcome)
    text = more if text == "{}" else f"{text[:-1]}, {more[1:]}"
    return UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"


def _not_json(error: Exception) -> ValueError:
    return ValueError(f"cannot be written as JSON: {error_text(error)}")


def _digest(value: Any, size: int) -> str:
    text = _dumps(value).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=size).hexdigest()


def _name(value: Any) -> str:
    """Return an id as text. Other tools turn 7 into 7.0."""
    if missing(value):
        return ""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return str(value) if isinstance(value, (str, int)) else _dumps(value)


def _dumps(value: Any) -> str:
    """Return a value as JSON. Objects that JSON does not have become text or lists."""
    try:
        return _encode(value)
    except ValueError:  # NaN and infinity become null
        value = json.loads(json.dumps(value, default=_odd), parse_constant=lambda name: None)
        return _encode(value)


def _digest_of(data: bytes | bytearray | memoryview) -> str:
    """Return what stands for the bytes of a picture."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _is_object(image: Any) -> bool:
    return not missing(image) and not isinstance(image, (str, os.PathLike, Mapping, *_BYTES))


def _shown(image: Any) -> Any:
    """Return a picture without the objects that JSON does not have."""
    if isinstance(image, tuple) and image:
        return [_shown(image[0]), *image[1:]]
    return f"<{type(image).__name__}>" if _is_object(image) else image


def _readable(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the columns that JSON can hold, and the types of the others."""
    result = {}
    for name, value in columns.items():
        with suppress(Exception):
            result[str(name)] = f"<{type(value).__name__}>"
            result[str(name)] = json.loads(_dumps([value]))[0]
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
        return _digest_of(value)
    for method in ("__fspath__", "isoformat", "tolist"):  # of paths, dates, numpy's arrays
        if hasattr(value, method):
            return getattr(value, method)()
    shows_itself = "__str__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    return str(value) if shows_itself else f"<{type(value).__name__}>"


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_odd).encode
