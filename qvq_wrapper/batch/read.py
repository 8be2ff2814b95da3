"""Reads questions: from a file, a folder of pictures, a DataFrame, any iterable."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..question.formats import SUFFIXES
from .rows import Layout, Row
from .textfile import TextFile

SAMPLE = 20  # rows that show which columns there are

logger = logging.getLogger("qvq_wrapper")


@dataclass(frozen=True)
class Source:
    """Questions in any form, and how to read them.

    Args:
        questions: a path, a DataFrame, or an iterable of rows.
        prompt: the question about each picture, or None if each row has its own.
        prompt_column, image_column: where a row has its prompt and its picture.
        encoding, separator: of a file, or None to see for itself.

    Raises:
        ValueError, TypeError, OSError: these are no questions.
    """

    questions: Any
    prompt: str | None = None
    prompt_column: str = "prompt"
    image_column: str = "image"
    encoding: str | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        if self.path is None:
            if self.encoding or self.separator:
                raise ValueError("encoding and separator are for a file of questions")
            self._check_iterable()
        elif self.path.is_dir():
            if self.prompt is None:
                raise ValueError(f"{self.path} is a folder; give the prompt to ask about each "
                                 "picture")
        else:
            file = self._file(self.path)
            names = file.header() or _names(columns for _, columns in islice(file, SAMPLE))
            self._check_columns(names, self.path.name, file.hint(names))

    @property
    def path(self) -> Path | None:
        if isinstance(self.questions, (str, os.PathLike)):
            return Path(self.questions).expanduser().absolute()  # also for another machine
        return None

    def rows(self) -> AsyncIterable[Row] | Iterable[Row]:
        """Return the rows. Reading them can block."""
        if self.path is None:
            if isinstance(self.questions, AsyncIterable):
                return self._async_rows(self.questions)
            layout = Layout(self.prompt_column, self.image_column)
            items = enumerate(self._items(), 1)
            return (self._row(f"row {number}", item, layout) for number, item in items)
        if self.path.is_dir():
            return self._pictures(self.path)
        return self._lines(self._file(self.path))

    def count(self) -> int | None:
        """Return the number of rows, or None if only the caller's iterable could tell. Blocks.

        Raises:
            ValueError: a file is not text in its encoding, or a folder has no pictures.
        """
        if self.path is None:
            return len(self.questions) if hasattr(self.questions, "__len__") else None
        if self.path.is_dir():
            return len(_find_pictures(self.path)[0])
        return self._file(self.path).count()

    def _file(self, path: Path) -> TextFile:
        return TextFile(path, self.encoding, self.separator)

    def _lines(self, file: TextFile) -> Iterator[Row]:
        file.count()  # raises ValueError before anything is asked
        layout = Layout(self.prompt_column, self.image_column, str(file.path.parent))
        for place, columns in file:
            yield self._row(place, columns, layout)

    def _pictures(self, folder: Path) -> Iterator[Row]:
        names, left_out = _find_pictures(folder)
        if left_out:
            logger.warning(
                "%s: left out %d that are no pictures by their names, or linked folders, such as "
                "%s", folder, len(left_out), left_out[0])
        layout = Layout(self.prompt_column, self.image_column, str(folder))
        for name in names:
            columns = {self.prompt_column: self.prompt, self.image_column: name}
            yield Row(name, columns, layout, path=name)

    def _items(self) -> Iterable[Any]:
        items: Any = self.questions
        if not hasattr(items, "itertuples"):
            return items  # type: ignore[no-any-return]
        names = list(map(str, self.questions.columns))  # a DataFrame iterates over these
        cells = items.itertuples(index=False, name=None)
        return (dict(zip(names, each)) for each in cells)

    async def _async_rows(self, items: AsyncIterable[Any]) -> AsyncIterator[Row]:
        number, layout = 0, Layout(self.prompt_column, self.image_column)
        async for item in items:
            number += 1
            yield self._row(f"row {number}", item, layout)

    def _row(self, place: str, columns: Any, layout: Layout) -> Row:
        error = columns if isinstance(columns, Exception) else None
        if error or self.prompt is None:
            return Row(place, columns, layout, error=error)
        if not isinstance(columns, Mapping) or columns.keys() == {"bytes", "path"}:
            columns = {self.image_column: columns}
        elif self.prompt_column in columns:
            error = ValueError("the row has a prompt of its own, beside the one for all")
        return Row(place, {self.prompt_column: self.prompt, **columns}, layout, error=error)

    def _check_iterable(self) -> None:
        questions = self.questions
        if hasattr(questions, "itertuples"):
            self._check_columns(map(str, questions.columns), "the DataFrame")
        elif not isinstance(questions, (Iterable, AsyncIterable)) or isinstance(
                questions, (bytes, Mapping)):
            kind = type(questions).__name__
            raise TypeError(f"questions must be an iterable of dicts with a prompt, not {kind}")
        elif isinstance(questions, Sequence):
            rows = [row for row in questions[:SAMPLE] if isinstance(row, Mapping)]
            if rows and not (self.prompt is not None and rows[0].keys() == {"bytes", "path"}):
                self._check_columns(_names(rows), "the list of questions")

    def _check_columns(self, columns: Iterable[str], where: str, hint: str = "") -> None:
        """Refuse questions in which no row has a prompt, or a picture that it seems to have."""
        names = list(columns)
        shown = f"its columns: {', '.join(names)[:200]}"
        if not names:
            return
        if self.prompt is None and not {self.prompt_column, "messages"} & set(names):
            raise ValueError(
                f"{where} has no column named {self.prompt_column}; {shown}. "
                + (hint or "Name the right one: prompt_column=... (--prompt-column)"))
        if self.prompt is not None and self.prompt_column in names:
            raise ValueError(f"{where} has prompts of its own, beside the one for all; {shown}")
        likely = [name for name in names if re.search("image|img|picture|photo", name, re.I)]
        wanted = likely or self.prompt is not None or self.image_column not in ("image", "")
        if wanted and self.image_column and self.image_column not in names:
            if "messages" not in names:
                raise ValueError(
                    f"{where} has no column named {self.image_column}; {shown}. Name the right "
                    "one: image_column=... (--image-column). An empty name is for no pictures")


def _names(rows: Iterable[Any]) -> list[str]:
    names = {str(name): None for row in rows if isinstance(row, Mapping) for name in row}
    return list(names)


def _find_pictures(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the pictures in a folder, and of what is left out."""
    names, left_out = [], []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            names.append(name)
        elif path.is_symlink() or not path.is_dir():
            left_out.append(name)
    if not names:
        also = f"; it has other files, such as {left_out[0]}" if left_out else ""
        raise ValueError(f"no pictures found in {folder}{also}")
    return names, left_out
