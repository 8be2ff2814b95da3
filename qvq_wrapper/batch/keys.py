"""Says by which key an answer file finds a question again."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..provider import Qwen_QVQ_72B
from ..question.options import api_name_of
from .asking import missing
from .plain import digest_of, dumps, is_object, own_names, readable, shown
from .rows import Row, error_text, local_path

# An id, the options that decide an answer and the question, or a count for equal questions. With a
# letter in front, no other tool takes a key for a number.
KEY = re.compile(r"(?:(.*)/)?(q[0-9a-f]{8}-[0-9a-f]{24})(?:-\d+)?", re.S)
STAMP = ("size", "changed", "inode")  # of a file: bytes, microseconds, number


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
        if (found := KEY.fullmatch(key)) and found[1] is not None:
            self._answered[found[1]] = found[2]

    def set_key(self, row: Row) -> None:
        """Set the row's ``key`` and ``picture``. A row that repeats another has no key.

        Raises:
            ValueError: two rows have the same id but different questions, or a picture that has no
                content to compare (an array, an image object) has no id.
        """
        columns = dict(row.columns) if isinstance(row.columns, Mapping) else {}
        try:
            name = "" if row.error else _name(columns.get("id"))
            question: Any = self._question(row, name) if columns else str(row.error)
            key = f"{self._options}-{_digest(question, 12)}"
        except _NeedsId:
            raise ValueError(
                f"{row.place}: a picture that is no path, URL or bytes needs an id in its row, by "
                "which a later run knows it") from None
        except Exception as error:  # a row can hold objects whose own code raises anything
            row.error = row.error or _not_json(error)
            name, key = "", f"{self._options}-{_digest(readable(columns), 12)}"
        if not name:
            count = self._counts[key] = self._counts.get(key, 0) + 1
            row.key = key + (f"-{count}" if count > 1 else "")
            return
        before = self._answered.get(name, key)
        if row.unreadable:  # the file is gone, so nothing is known to have changed
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

    def _question(self, row: Row, name: str) -> list[Any]:
        """Return what makes the row a question of its own."""
        question = row.question()
        image = question.get("image")
        picture = image[0] if isinstance(image, tuple) and image else image
        if path := local_path(picture):
            picture = self._content(row, path)
        elif is_object(picture) and not name:
            raise _NeedsId
        return [question.get("prompt"), question.get("messages"), shown(picture) or None]

    def _content(self, row: Row, path: str) -> str:
        """Return the digest of a file. A file that has not changed is not read again."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would empty it
                return path
            known = status.st_size, status.st_ctime_ns // 1000, status.st_ino
            if known not in self.pictures:
                self.pictures[known] = digest_of(Path(path).read_bytes())
        except (OSError, ValueError):  # asking will say why
            row.unreadable = True
            return path
        row.picture = dict(zip(STAMP, known), digest=self.pictures[known])
        return self.pictures[known]


def set_text(row: Row) -> None:
    """Set the row's ``text``: its columns in JSON, as far as JSON can hold them."""
    columns = dict(row.columns) if isinstance(row.columns, Mapping) else {}
    try:
        if (image_column := row.layout.image_column) in columns:
            columns[image_column] = shown(columns[image_column])
        row.text = dumps(own_names(columns))
    except Exception as error:
        row.error = row.error or _not_json(error)
        row.text = dumps(own_names(readable(columns)))


def _not_json(error: Exception) -> ValueError:
    return ValueError(f"cannot be written as JSON: {error_text(error)}")


class _NeedsId(Exception):
    """Nothing in a row tells its picture from another one."""


def _digest(value: Any, size: int) -> str:
    text = dumps(value).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=size).hexdigest()


def _name(value: Any) -> str:
    """Return an id as text. Other tools turn 7 into 7.0."""
    if missing(value):
        return ""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return str(value) if isinstance(value, (str, int)) else dumps(value)
