"""The text in the outputs of an endpoint."""

from __future__ import annotations

from typing import Any


class TextFinder:
    """Finds the answer's text in the outputs of one job, step by step.

    Args:
        places: positions of the outputs that can be text. The first one that is text counts.
    """

    def __init__(self, places: list[int]) -> None:
        self._places = places
        self._latest: tuple[int, str] | None = None  # where the text was, and the text

    def find(self, outputs: Any, *, final: bool = False) -> str | None:
        """Return the whole text so far, or None if there is none. Takes anything.

        An update without a value, such as ``gr.skip()``, leaves a text as it was.
        """
        # gradio_client gives one output alone, and several as a tuple, which no JSON has.
        values = outputs if isinstance(outputs, tuple) else (outputs,)
        for place in self._places:
            value = values[place] if place < len(values) else None
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" not in value:
                    if self._latest and self._latest[0] == place:
                        return self._latest[1]
                    continue
                value = value["value"]
            text = _text_of(value, final)
            if text is not None:
                self._latest = place, text
                return text
        return None


def _text_of(value: Any, final: bool) -> str | None:
    """Return the text of a value: a string, a message, or the last message of a chat.

    A thought is a message with a title. It counts only in the final output, and only if there is no
    other text (https://www.gradio.app/guides/agents-and-tool-usage).
    """
    if isinstance(value, str):
        return value
    thought = None
    for message in reversed(value if isinstance(value, list) else [value]):
        if isinstance(message, list) and len(message) == 2:  # a pair of question and answer
            if isinstance(message[1], str) or message[0] is not None:
                return message[1] if isinstance(message[1], str) else None
            continue
        if isinstance(message, dict) and message.get("role") == "user":
            break
        text = _content(message)
        if text is None:
            continue
        metadata = message.get("metadata") if isinstance(message, dict) else None
        if not (isinstance(metadata, dict) and metadata.get("title")):
            return text
        thought = thought or text
    return thought if final else None


def _content(message: Any) -> str | None:
    """Return a message's text: of a string, or a dict whose content is a string or has parts."""
    if isinstance(message, dict):
        message = message.get("content", message.get("text"))
    if isinstance(message, dict):
        message = [message]
    if isinstance(message, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in message]
        texts = [text for text in parts if isinstance(text, str)]
        message = "\n".join(texts) if texts else None
    return message if isinstance(message, str) else None
