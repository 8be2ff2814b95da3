"""Asks many questions: `ask_many` yields results, `answer_file` writes them to a file."""

from .ask_many import ask_many
from .files import Summary, answer_file

__all__ = ["Summary", "answer_file", "ask_many"]
