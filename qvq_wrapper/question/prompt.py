"""Converts a list of messages to the one prompt that the Space takes, and finds the picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .media import Picture, picture_from

_PICTURE_URL = re.compile(r"https?://[^\s/]+/[^\s?#]*\.(png|jpe?g|gif|webp|bmp)([?#]\S*)?", re.I)


def read_messages(messages: Any, *, needed: bool = True) -> tuple[str, Picture | None]:
    """Return the prompt and the latest picture of a conversation.

    A single message gives its text. Several give a line ``Role: text`` each, and ``Assistant:`` at
    the end. A picture is an ``image_url`` part with a ``data:`` or http(s) URL, or a user message
    that contains only an http(s) URL with a picture's suffix. Text is never read as a local path.

    Args:
        messages: dicts with ``role`` and ``content`` in OpenAI's form
            (https://platform.openai.com/docs/api-reference/chat/create). ``content`` is a text, a
            list of texts and parts, or None.
        needed: refuse messages without text and picture.

    Raises:
        TypeError: a message or one of its parts has the wrong type.
        ValueError: there is neither text nor a picture, or a part is of an unknown kind.
        MediaError: a picture in a message cannot be used.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise TypeError("messages must be a list of {'role': ..., 'content': ...} dicts")
    lines: list[tuple[str, str]] = []
    picture: Picture | None = None
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(f"a message must be a dict, not {type(message).__name__}")
        role = message.get("role", "user")
        if not isinstance(role, str):
            raise TypeError(f"a message's role must be a str, not {type(role).__name__}")
        text, found = _read_content(message.get("content"), role)
        picture = found or picture
        if text:
            lines.append((role, text))
    if needed and not lines and picture is None:
        raise ValueError("messages contain neither text nor a picture")
    if len(lines) < 2:
        prompt = "".join(text for _, text in lines)
    else:
        prompt = "".join(f"{role.capitalize()}: {text}\n" for role, text in lines) + "Assistant:"
    if re.search("[\ud800-\udfff]", prompt):
        raise ValueError("messages contain a lone surrogate, which cannot be encoded as UTF-8")
    return prompt, picture


def _read_content(content: Any, role: str) -> tuple[str, Picture | None]:
    if content is None:  # an assistant's message that contains only a tool call
        return "", None
    if isinstance(content, str):
        if role == "user" and _PICTURE_URL.fullmatch(content.strip()):
            return "", picture_from(content.strip())
        return content, None
    if not isinstance(content, list):
        raise TypeError(
            f"a message's content must be a str or list, not {type(content).__name__}; "
            "a picture goes into media")
    texts: list[str] = []
    picture: Picture | None = None
    for part in content:
        if isinstance(part, Mapping) and part.get("type") == "image_url":
            picture = _read_image_part(part.get("image_url"))
        else:
            texts.append(_read_text_part(part))
    return "\n".join(filter(None, texts)), picture


def _read_text_part(part: Any) -> str:
    if isinstance(part, Mapping):
        if part.get("type") != "text":
            kind = str(part.get("type"))[:50]
            raise ValueError(
                f"a part's type must be 'text' or 'image_url', not {kind!r}; "
                "a picture that is no URL goes into media")
        part = part.get("text")
    if not isinstance(part, str):
        raise TypeError(
            f"a part's text must be a str, not {type(part).__name__}; a picture goes into media")
    return part


def _read_image_part(image: Any) -> Picture:
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not re.match(r"data:|https?://", url, re.I):
        raise ValueError("image_url needs a data: or http(s) URL; a local picture goes into media")
    return picture_from(url)
