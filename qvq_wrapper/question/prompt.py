"""Messages made into the one prompt that the Space takes, and the picture that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .media import Picture, picture_from

_PICTURE_URL = re.compile(r"https?://[^\s/]+/[^\s?#]*\.(?:png|jpe?g|gif|webp|bmp)(?:[?#]\S*)?", re.I)


def read_messages(messages: Any) -> tuple[str, Picture | None]:
    """The prompt, and the latest picture of the conversation.

    One message gives its text alone; several give ``Role: text`` lines and an open ``Assistant:``. A
    picture is an OpenAI ``image_url`` part with a data: or http(s) URL, or a user message that is nothing
    but an http(s) URL whose path ends like a picture's. No text is ever taken for a local path.

    Raises:
        TypeError: a message or a part of one is of another type.
        ValueError: there is neither text nor picture, or a part is of an unknown kind.
        MediaError: a picture in a message is none.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise TypeError("messages must be a list of {'role': ..., 'content': ...} dicts")
    lines: list[tuple[str, str]] = []
    picture: Picture | None = None
    for message in messages:
        if not isinstance(message, Mapping):
            raise TypeError(f"a message must be a dict with role and content, not {type(message).__name__}")
        role = message.get("role", "user")
        if not isinstance(role, str):
            raise TypeError(f"a message's role must be a str, not {type(role).__name__}")
        text, found = _read_content(message.get("content"), role)
        picture = found or picture
        if text:
            lines.append((role, text))
    if not lines and picture is None:
        raise ValueError("messages hold neither text nor a picture")
    if len(lines) < 2:
        prompt = "".join(text for _, text in lines)
    else:
        prompt = "\n".join([*(f"{role.capitalize()}: {text}" for role, text in lines), "Assistant:"])
    if re.search("[\ud800-\udfff]", prompt):
        raise ValueError("messages hold a lone surrogate, which is no character and cannot be sent")
    return prompt, picture


def _read_content(content: Any, role: str) -> tuple[str, Picture | None]:
    if content is None:  # an assistant's message that was nothing but a tool call
        return "", None
    if isinstance(content, str):
        if role == "user" and _PICTURE_URL.fullmatch(content.strip()):
            return "", picture_from(content.strip())
        return content, None
    if not isinstance(content, list):
        raise TypeError(f"a message's content must be a str or a list of parts, not {type(content).__name__}")
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
            raise ValueError(
                f"a content part must be of type 'text' or 'image_url', not {str(part.get('type'))[:50]!r}")
        part = part.get("text")
    if not isinstance(part, str):
        raise TypeError(f"a text must be a str, not {type(part).__name__}")
    return part


def _read_image_part(image: Any) -> Picture:
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not re.match(r"data:|https?://", url, re.I):
        raise ValueError("an image_url part must hold a data: or http(s) URL; a local picture goes into media")
    return picture_from(url)
