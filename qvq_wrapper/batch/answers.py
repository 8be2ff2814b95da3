"""The file of answers: what earlier runs left there, and what this one adds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..question.address import is_loopback
from .keys import KEY, STAMP, Keys, set_text, to_line
from .ownfile import OwnFile
from .progress import Summary
from .rows import Row
from .run import Result

logger = logging.getLogger("qvq_wrapper")


class AnswerFile(OwnFile):
    """The answers in a file, locked and open for more while a ``with`` block is active.

    Args:
        path: the file.
        keys: gives each row its key.
        url: the Space of this run, or "" if that is not known.
        only_failed: ask no rows but those that failed in earlier runs.

    Attributes:
        summary: what this run has done.
    """

    def __init__(self, path: Path, keys: Keys, url: str = "", only_failed: bool = False) -> None:
        if path.suffix.lower() in (".csv", ".json", ".parquet", ".tsv", ".xlsx"):
            raise ValueError(f"answers are lines of JSON; give {path.with_suffix('.jsonl').name}")
        if path.exists() and not path.is_file():
            raise ValueError(f"answers must be a file, and {path} is none")
        super().__init__(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path.parent}")
        self.summary = Summary()
        self._keys, self._url, self._only_failed = keys, url, only_failed
        self._answered: set[str] = set()
        self._failed: dict[str, int] = {}  # the hash of the line to keep for each key
        self._failed_now: set[str] = set()
        self._earlier = 0  # answers of earlier runs
        self._lines = 0  # with those that nobody needs any more

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self.check()
            is_outdated = self._lines > len(self._answered) + len(self._failed)
            if is_outdated and not self.is_changed():  # nor while it has been read in part
                self.replace(self._kept_lines())
        finally:
            super().__exit__()

    def read(self) -> None:
        """Read the answers that are there, and mend a last line that was cut off.

        Raises:
            ValueError: the file holds something else. It has not been changed.
        """
        urls: set[str] = set()
        line = b"\n"
        with open(self.path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    key, answered, asked = _read_line(line)
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    cut_off = line.startswith(b"{") and not line.endswith(b"\n")
                    if not cut_off or not isinstance(error, ValueError):
                        raise ValueError(
                            f"{self.path}, line {number}, is no answer of an earlier run, or one "
                            "of another version of this package; give another file for the "
                            "answers, or remove that line") from None
                    logger.warning("%s: the cut-off last line was removed", self.path)
                    self.cut()
                    break
                self.size += len(line)
                self._note(key, answered, line)
                self._remember(asked, urls)
                if answered:
                    self._keys.answered(key)
            else:
                if not line.endswith(b"\n"):
                    self.append(b"\n")
        self._earlier = len(self._answered)
        others = {url for url in urls if _place(url) != _place(self._url)}
        if self._url and others:
            logger.warning(
                "%s has answers of %s, and this run asks %s; to keep them apart, give another file "
                "for the answers", self.path, " and ".join(sorted(others)[:3]), self._url)

    def _remember(self, asked: Any, urls: set[str]) -> None:
        """Remember where an answer came from and what its picture was, if the line says so."""
        asked = asked if isinstance(asked, dict) else {}
        if url := asked.get("url"):
            urls.add(str(url))
        if isinstance(picture := asked.get("picture"), dict):
            with suppress(LookupError, TypeError, ValueError):
                size, changed, inode = (int(picture[name]) for name in STAMP)
                self._keys.pictures[size, changed, inode] = str(picture["digest"])

    def _note(self, key: str, answered: bool, line: bytes) -> None:
        """Remember which line to keep: the first answer, or else the last failure."""
        self._lines += 1
        if answered:
            self._answered.add(key)
            self._failed.pop(key, None)
        elif key not in self._answered:
            self._failed[key] = hash(line)

    def accept(self, row: Row) -> Row | None:
        """Give the row its key. Return it if this run is to ask it."""
        self._keys.set_key(row)
        if row.key in self._answered:
            self.summary.skipped += 1
            return None
        failed = row.key in self._failed
        row.tried = failed and not self._only_failed
        if not row.key or self._only_failed and not failed:
            return None
        set_text(row)
        return row

    def write(self, row: Row, result: Result) -> None:
        """Append a result.

        Raises:
            OSError: it cannot be written, or someone else has changed the file.
        """
        asked = {**result.pop("asked", {}), **({"picture": row.picture} if row.picture else {})}
        result = {**result, **({"asked": asked} if asked else {}), "key": row.key}
        line = to_line(row.text, result)
        self.append(line)
        self._note(row.key, "answer" in result, line)
        if "answer" in result:
            self.summary.answered += 1
        else:
            self._failed_now.add(row.key)
            self.summary.add_error(row.place, **result["error"])

    def forget_old_failures(self) -> None:
        """Every row has been asked, so earlier failures of others belong to no row any more."""
        self._failed = {key: self._failed[key] for key in self._failed_now & self._failed.keys()}
        if (others := self._earlier - self.summary.skipped) > 0:
            logger.warning(
                "%s: %d answers belong to no row of this run: their questions have changed, or are "
                "elsewhere", self.path, others)

    def _kept_lines(self) -> Iterator[bytes]:
        """Yield the lines that are to stay: the first answer to each question, or its failure."""
        kept: set[str] = set()
        with open(self.path, "rb") as lines:
            for line in lines:
                key, answered, _ = _read_line(line)
                if key not in kept and (answered or self._failed.get(key) == hash(line)):
                    kept.add(key)
                    yield line


def _read_line(line: bytes) -> tuple[str, bool, Any]:
    """Return the key, whether it is an answer, and where it came from.

    Other tools write null, or an empty text, for a column that a line does not have.

    Raises:
        ValueError, LookupError, TypeError: it is no line of an answer file.
    """
    columns = json.loads(line)
    key = str(columns["key"])
    if not KEY.fullmatch(key) or "answer" not in columns and "error" not in columns:
        raise LookupError
    answered = not columns.get("error") and columns.get("answer") is not None
    return key, answered, columns.get("asked")


def _place(url: str) -> str:
    """Return what tells two addresses apart. Ports of this machine do not."""
    return "" if is_loopback(urlsplit(url).hostname or "") else url.rstrip("/")
