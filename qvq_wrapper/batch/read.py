"""Reads questions: from a JSONL or CSV file, a folder of pictures, a DataFrame, any iterable."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..printable import printable
from ..question.formats import SUFFIXES
from .rows import Row


def open_rows(questions: Any, prompt: str | None = None) -> AsyncIterable[Any] | Iterable[Any]:
    """Return the iterable of rows that `questions` stands for.

    Raises:
        ValueError, TypeError, OSError: it stands for none.
    """
    if isinstance(questions, (str, os.PathLike)):
        return _open_path(Path(questions).absolute(), prompt)  # also for another machine
    if prompt is not None:
        raise ValueError("prompt is for a folder of pictures; other questions bring their own")
    if hasattr(questions, "itertuples"):  # a DataFrame, whose iterator gives column names
        names = list(map(str, questions.columns))
        table: Iterable[tuple[Any, ...]] = questions.itertuples(index=False, name=None)
        return (dict(zip(names, cells)) for cells in table)
    if isinstance(questions, (Iterable, AsyncIterable)):
        if not isinstance(questions, (bytes, Mapping)):
            return questions
    kind = type(questions).__name__
    raise TypeError(f"questions must be an iterable of dicts with a prompt, not {kind}")


def _open_path(path: Path, prompt: str | None) -> Iterator[Row]:
    if path.is_dir():
        if prompt is None:
            raise ValueError(f"{path} is a folder; give the prompt to ask about each picture")
        return _read_folder(path, prompt)
    if prompt is not None:
        raise ValueError(f"{path} is no folder; prompt is for a folder of pictures")
    kind = path.suffix.lower()
    if kind not in (".jsonl", ".ndjson", ".csv"):
        raise ValueError(f"{path}: questions must be a .jsonl or .csv file, or a folder")
    with path.open("rb"):  # raises what is wrong with the path now, not at the first row
        pass
    if kind != ".csv":
        return _read_jsonl(path)
    _check_header(path)
    return _read_csv(path)


def _read_folder(folder: Path, prompt: str) -> Iterator[Row]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in SUFFIXES and not hidden:
            columns = {"prompt": prompt, "image": name.as_posix()}
            yield Row(name.as_posix(), columns, folder)


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            row = Row(f"line {number}", None, path.parent)
            try:
                row.columns = json.loads(line)
            except (ValueError, RecursionError) as error:
                row.columns, row.error = line, ValueError(f"not JSON ({error})")
            yield row


def _check_header(path: Path) -> None:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        names = next(csv.reader(file), [])
    fault = ""
    if not {"prompt", "messages"} & set(names):
        fault = "has no column named prompt; its columns"
    elif len(set(names)) < len(names):
        fault = "has two columns of the same name"
    if fault:
        raise ValueError(printable(f"{path.name} {fault}: {', '.join(names)[:200]}"))


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(2**28)  # a data: URI is longer than the default, 131,072 characters
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        while True:
            row = Row(f"line {max(2, reader.line_num + 1)}", None, path.parent)
            try:
                row.columns = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                row.columns, row.error = str(error), ValueError(f"not CSV ({error})")
            if row.error is None and row.columns.pop(None, None):
                row.error = ValueError("the row has more cells than the header")
            yield row


def count_rows(questions: Any, prompt: str | None) -> int | None:
    """Return the number of rows, or None if only the caller's iterable could tell. Blocks."""
    if isinstance(questions, (str, os.PathLike)):
        return sum(1 for _ in _open_path(Path(questions), prompt))
    return len(questions) if hasattr(questions, "__len__") else None
