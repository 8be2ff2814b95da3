"""Reads questions: from a file, a folder of pictures, a DataFrame, any iterable."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from ..question.files import path_in_url
from ..question.formats import SUFFIXES
from .rows import Row, missing
from .textfile import TextFile

SAMPLE = 20  # rows that show which columns there are

logger = logging.getLogger("qvq_wrapper")


class Source:
    """Questions in any form, and how to read them.

    Args:
        questions: a path, a DataFrame, or an iterable of rows.
        prompt: the question about each picture, or None if each row has its own.
        prompt_column, image_column: where a row has its prompt and its picture.
        encoding, separator: of a file, or None to see for itself.

    Attributes:
        path: of the file or the folder, or None.

    Raises:
        ValueError, TypeError, OSError: these are no questions.
    """

    def __init__(
        self, questions: Any, prompt: str | None, prompt_column: str, image_column: str,
        encoding: str | None, separator: str | None,
    ) -> None:
        self._questions, self._prompt = questions, prompt
        self._prompt_column, self._image_column = prompt_column, image_column
        self._numbers = count(1)
        self.path: Path | None = None
        if not isinstance(questions, (str, os.PathLike)):
            if encoding or separator:
                raise ValueError("encoding and separator are for a file of questions")
            self._check_iterable()
            return
        self.path = Path(questions).expanduser().absolute()  # also for another machine
        self._is_folder = self.path.is_dir()
        self._folder = self.path if self._is_folder else self.path.parent
        if not self._is_folder:
            self._file = TextFile(self.path, encoding, separator)
            names = self._file.header() or _names(row for _, row in islice(self._file, SAMPLE))
            self._check_columns(names, self.path.name, self._file.hint(names))
        elif prompt is None:
            raise ValueError(f"{self.path} is a folder; give the prompt to ask about each picture")

    def open(self) -> tuple[AsyncIterable[Any] | Iterable[Any], int | None]:
        """Return what the rows are made of, and their number if that is known. Blocks.

        Raises:
            ValueError: a file is not text in its encoding, or a folder has no pictures.
        """
        questions = self._questions
        if self.path and self._is_folder:
            names = _find_pictures(self.path)
            return zip(names, names), len(names)
        if self.path:
            return self._file, self._file.count()
        total = len(questions) if hasattr(questions, "__len__") else None
        if hasattr(questions, "itertuples"):  # a DataFrame iterates over its columns
            names = list(map(str, questions.columns))
            cells = questions.itertuples(index=False, name=None)
            return (dict(zip(names, each)) for each in cells), total
        return questions, total

    def row(self, item: Any) -> Row:
        """Return the row of an item. What is wrong with it becomes its ``error``."""
        place, item = item if self.path else (f"row {next(self._numbers)}", item)
        row = Row(place, image_column=self._image_column)
        try:
            row.columns = self._columns(item)
            row.question = self._question(row)
        except Exception as error:  # a mapping's own code can raise anything
            row.error = error.with_traceback(None)
        return row

    def _columns(self, item: Any) -> dict[Any, Any]:
        if isinstance(item, Exception):
            raise item
        if self._prompt is None:
            if not isinstance(item, Mapping):
                kind = type(item).__name__
                raise TypeError(f"a question must be a dict with a prompt, not {kind}")
            return dict(item)
        if not isinstance(item, Mapping) or _is_picture(item):
            item = {self._image_column: item}
        return {self._prompt_column: self._prompt, **item}

    def _question(self, row: Row) -> dict[Any, Any]:
        """Return the columns to ask with: ``prompt``, ``image``, and the others.

        A picture's path starts from the file's folder.
        """
        columns = dict(row.columns)
        if self._prompt is not None and columns[self._prompt_column] is not self._prompt:
            raise ValueError("the row has a prompt of its own, beside the one for all")
        for wanted, own in (("prompt", self._prompt_column), ("image", self._image_column)):
            if wanted != own:
                columns[wanted] = columns.get(own)
        if missing(columns.get("prompt")) and missing(columns.get("messages")):
            raise ValueError(f"the question has neither {self._prompt_column} nor messages")
        image = columns.get("image")
        if isinstance(image, Mapping) and _is_picture(image):
            name = None if missing(image["path"]) else image["path"]
            image = name if missing(image["bytes"]) else (image["bytes"], name)
        if self.path and (path := row.place if self._is_folder else local_path(image)):
            image = os.path.join(self._folder, path)
        return {**columns, "image": image}

    def _check_iterable(self) -> None:
        questions = self._questions
        if hasattr(questions, "itertuples"):
            self._check_columns(map(str, questions.columns), "the DataFrame")
        elif not isinstance(questions, (Iterable, AsyncIterable)) or isinstance(
                questions, (bytes, Mapping)):
            kind = type(questions).__name__
            raise TypeError(f"questions must be an iterable of dicts with a prompt, not {kind}")
        elif isinstance(questions, Sequence):
            rows = [row for row in questions[:SAMPLE] if isinstance(row, Mapping)]
            if rows and not (self._prompt is not None and _is_picture(rows[0])):
                self._check_columns(_names(rows), "the list of questions")

    def _check_columns(self, columns: Iterable[str], where: str, hint: str = "") -> None:
        """Refuse questions in which no row has a prompt, or a picture that it seems to have."""
        names = list(columns)
        shown = f"its columns: {', '.join(names)[:200]}"
        if not names:
            return
        if self._prompt is None and not {self._prompt_column, "messages"} & set(names):
            raise ValueError(
                f"{where} has no column named {self._prompt_column}; {shown}. "
                + (hint or "Name the right one: prompt_column=... (--prompt-column)"))
        if self._prompt is not None and self._prompt_column in names:
            raise ValueError(f"{where} has prompts of its own, beside the one for all; {shown}")
        likely = [name for name in names if re.search("image|img|picture|photo", name, re.I)]
        wanted = likely or self._prompt is not None or self._image_column not in ("image", "")
        if wanted and self._image_column not in ("", *names) and "messages" not in names:
            raise ValueError(
                f"{where} has no column named {self._image_column}; {shown}. Name the right one: "
                "image_column=... (--image-column). An empty name is for no pictures")


def _is_picture(cell: Mapping[Any, Any]) -> bool:
    """Tell whether this is a picture of Hugging Face's ``datasets``.

    https://huggingface.co/docs/datasets/about_dataset_features#image-feature
    """
    return cell.keys() == {"bytes", "path"}


def _names(rows: Iterable[Any]) -> list[str]:
    names = {str(name): None for row in rows if isinstance(row, Mapping) for name in row}
    return list(names)


def local_path(image: Any) -> str | None:
    """Return the path of a picture on this machine, or None for another picture."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    path = os.fsdecode(image)
    if local := path_in_url(path):
        return local
    if not path or re.match(r"\s*(data:|[a-z][a-z0-9+.-]+://)", path, re.I):
        return None
    return os.path.expanduser(path)


def _find_pictures(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder, and say what is left out."""
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
    if left_out:
        logger.warning(
            "%s: left out %d that are no pictures by their names, or linked folders, such as %s",
            folder, len(left_out), left_out[0])
    return names
