"""Asks many questions: `ask_many` yields the results, `answer_file` writes them to a file."""

from .cluster import on_dask
from .many import answer_file, ask_many
from .progress import Summary
from .rows import answer_row

__all__ = ["Summary", "answer_file", "answer_row", "ask_many", "on_dask"]
