"""A file of questions: lines of JSON, or a table with commas, tabs or another separator."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".jsonl": None, ".ndjson": None}


class TextFile:
    """Iterate over it for the place of each row and its columns, or what is wrong with the row.

    Args:
        path: the file.
        encoding: its encoding, or None for UTF-8, or UTF-16 if it begins with a byte order mark.
        separator: what is between the cells of a table, or None for that of the file's kind.

    Raises:
        ValueError: it is no such file, or an option does not fit it.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, encoding: str | None, separator: str | None) -> None:
        self.path = path
        kind = path.suffix.lower()
        if kind not in _SEPARATORS:
            path.stat()  # raises an error of its own if nothing is there
            raise ValueError(
                f"{path}: questions must be a .jsonl, .csv or .tsv file, or a folder of pictures")
        self._separator = _SEPARATORS[kind]
        if separator:
            if self._separator is None:
                raise ValueError(f"{path.name} is no table, so it has no separator")
            self._separator = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
            if not re.fullmatch(r'[^"\r\n]', self._separator):
                raise ValueError(f"separator must be one character, or tab, not {separator!r}")
        with path.open("rb") as file:
            start = file.read(2)
        marked = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        self.encoding = encoding or ("utf-16" if marked else "utf-8-sig")
        try:
            path.open(encoding=self.encoding).close()
        except LookupError:
            raise ValueError(f"encoding: Python has no {encoding!r}") from None
        csv.field_size_limit(2**28)  # a data: URI is longer than the default, 131,072 characters

    def count(self) -> int:
        """Return the number of rows. Reads all of the file.

        Raises:
            ValueError: a line is not text in the encoding. The message names the first one.
        """
        number = rows = 0
        try:
            # Bytes that are no UTF-8 become surrogates, which cannot be encoded.
            with self.path.open(encoding=self.encoding, errors="surrogateescape") as lines:
                for number, line in enumerate(lines):
                    line.encode()
                    rows += not line.isspace()
        except UnicodeError:
            name = self.encoding.removesuffix("-sig").upper()
            raise ValueError(
                f"{self.path.name}, line {number + 1}, is not {name}; name the file's encoding, "
                'such as encoding="latin-1" (--encoding latin-1)') from None
        return rows if self._separator is None else sum(1 for _ in self)

    def header(self) -> list[str]:
        """Return the names of a table's columns, or an empty list for lines of JSON.

        Raises:
            ValueError: there is none, or a name is there twice.
        """
        if self._separator is None:
            return []
        try:
            with self.path.open(newline="", encoding=self.encoding, errors="replace") as file:
                names = next(csv.reader(file, delimiter=self._separator), [])
        except (csv.Error, UnicodeError) as error:
            raise ValueError(f"{self.path.name} has no header ({error})") from None
        if not names:
            raise ValueError(f"{self.path.name} is empty")
        if len(set(names)) < len(names):
            shown = ", ".join(names)[:200]
            raise ValueError(f"{self.path.name} has two columns of the same name: {shown}")
        return names

    def hint(self, names: list[str]) -> str:
        """Return what to do about a header that seems to have another separator."""
        for other in ";\t|,":
            if self._separator is not None and len(names) == 1 and other in names[0]:
                shown = "tab" if other == "\t" else other
                return f'Name its separator: separator="{shown}" (--separator "{shown}")'
        return ""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._json() if self._separator is None else self._table(self._separator)

    def _json(self) -> Iterator[tuple[str, Any]]:
        with self.path.open(encoding=self.encoding, errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    try:
                        columns = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        columns = ValueError(f"not JSON ({error})")
                    yield f"line {number}", columns

    def _table(self, separator: str) -> Iterator[tuple[str, Any]]:
        with self.path.open(newline="", encoding=self.encoding, errors="replace") as file:
            reader = csv.DictReader(file, delimiter=separator)
            while True:
                place = f"line {max(2, reader.line_num + 1)}"
                try:
                    columns: Any = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    columns = ValueError(f"not CSV ({error})")
                else:
                    if columns.pop(None, None):
                        columns = ValueError("the row has more cells than the header")
                yield place, columns
