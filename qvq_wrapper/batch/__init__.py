"""Asks many questions: `ask_many` yields the results, `answer_file` writes them to a file."""

from .ask_many import ask_many
from .asking import answer_row
from .cluster import on_dask
from .files import answer_file
from .progress import Summary

__all__ = ["Summary", "answer_file", "answer_row", "ask_many", "on_dask"]
