"""A model's answer as its reader sees it: the text, and the thoughts apart from it."""

from __future__ import annotations

import codecs
import re

_TITLE = "> *Thinking:*\n>\n> "
# Gradio 6.31 takes formulas out of Markdown before it looks for quotes. One that begins in a
# thought would end in the answer. A zero-width space inside a delimiter makes it text.
_DELIMITER = re.compile(r"\$(?=\$)|\\(?=[\[\]()])")


class Answer:
    """Puts the pieces of an answer together. Its text only grows.

    Args:
        show_thinking: show thoughts in quotes, which every reader of Markdown tells from the
            answer. They are a model's words as the answer is: each of their lines stays a quote.

    Attributes:
        text: what the reader sees.
        heard: all that the model said, thoughts included.
    """

    def __init__(self, show_thinking: bool) -> None:
        self._show_thinking = show_thinking
        self._is_quoting = self._has_text = False
        # Joins the halves of a surrogate pair. A half without the other becomes U+FFFD.
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")
        self.text = self.heard = ""

    def add(self, thought: str, text: str) -> None:
        """Add the next thought and the next text, each of which may be ""."""
        self._add_thought(self._decode(thought))
        self._add_text(self._decode(text))

    def end(self) -> str:
        """Return the whole text."""
        self._add_text(self._decoder.decode(b"", True))
        return self.text

    def note(self, reason: str, limit: int) -> str:
        """Return what the reader has to know of the answer's end.

        Args:
            limit: the longest answer, in tokens.
        """
        only_thought = not self._has_text and self.heard.strip()
        if reason == "length":
            what = "the model was still thinking when it" if only_thought else "the answer"
            return f"Cut off: {what} reached max_tokens ({limit}), or the model's context is full."
        if reason == "repetition":
            return "Stopped: the model repeats itself."
        if reason != "stop":
            return f"The model's server ended the answer: {reason[:50]}."
        if only_thought:
            return "The model thought, and then said nothing."
        return "" if self._has_text else "The model's answer is empty."

    def _decode(self, piece: str) -> str:
        return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"))

    def _add_thought(self, piece: str) -> None:
        self.heard += piece
        if piece and self._show_thinking:
            if not self._is_quoting:
                self.text += f"\n\n{_TITLE}" if self.text else _TITLE
                self._is_quoting = True
            # With the last character, because a delimiter may come in two pieces.
            piece = _DELIMITER.sub("\\g<0>\u200b", self.text[-1] + piece)[1:]
            self.text += re.sub("\r\n?|\n", "\n> ", piece)

    def _add_text(self, piece: str) -> None:
        self.heard += piece
        if piece and self._is_quoting:
            self.text += "\n\n"
            self._is_quoting = False
        self.text += piece
        self._has_text = self._has_text or bool(piece.strip())
