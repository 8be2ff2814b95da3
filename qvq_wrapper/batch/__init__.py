"""Asks many questions: `ask_many` yields the results, `answer_file` writes them to a file."""

from .answers import Summary
from .ask_many import ask_many
from .files import answer_file

__all__ = ["Summary", "answer_file", "ask_many"]
