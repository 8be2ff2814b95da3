"""Converts a list of messages to the one prompt that the Space takes, and finds the picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .formats import SUFFIXES, picture_in_base64
from .media import Picture, find_picture, picture_of

_SUFFIX = "|".join(map(re.escape, sorted(SUFFIXES)))
_PICTURE_URL = re.compile(rf"https?://[^\s/]+/[^\s?#]*({_SUFFIX})([?#]\S*)?", re.I)

# Other names of roles: LangChain's types of messages, and Google's "model".
_ROLES = {
    "human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "system": "system",
    "tool": "tool", "model": "assistant"}

# The forms of a part that is a picture, where U is a URL, B base64, and P any picture:
#   {"type": "image_url", "image_url": {"url": U}}     platform.openai.com/docs/api-reference/chat
#   {"type": "image_url", "image_url": U}              docs.mistral.ai/capabilities/vision
#   {"type": "input_image", "image_url": U}            platform.openai.com/docs/guides/images-vision
#   {"type": "image", "image": P}                      github.com/QwenLM/Qwen3-VL
#   {"type": "image", "image": U or B}                 ai-sdk.dev/docs/reference/ai-sdk-core
#   {"image": U}                                       help.aliyun.com/zh/model-studio/vision
#   {"type": "image", "url": U}, or "base64": B        huggingface.co/docs/transformers/main/en/
#                                                      chat_templating_multimodal
#   the same, or {"type": "image", "data": B}          docs.langchain.com/oss/python/langchain/
#                                                      messages#multimodal
#   {"type": "image", "data": B}                       modelcontextprotocol.io/specification
#   {"type": "image", "source": {"data": B}}, or       docs.anthropic.com/en/docs/build-with-claude/
#     "source": {"url": U}                             vision
#   {"inline_data": {"data": P or B}}                  ai.google.dev/api/caching#Part
#   {"image": {"source": {"bytes": P}}}                docs.aws.amazon.com/bedrock/latest/
#                                                      APIReference/API_runtime_ImageBlock.html
#   {"block_type": "image", "image": B}, or "url": U   docs.llamaindex.ai/en/stable/api_reference
# Ollama has pictures beside the content: {"images": [P or B]}   github.com/ollama/ollama-python
_OUTER = ("image_url", "image", "inline_data", "inlineData")
_INNER = ("source", "url", "base64", "data", "bytes", "value", "path")


def prompt_of(messages: Any, *, needed: bool = True) -> tuple[str, Picture | None]:
    """Return the prompt and the latest picture of a conversation.

    A single message gives its text. Several give a line ``Role: text`` each, and ``Assistant:`` at
    the end. A user message that contains only an http(s) URL with a picture's suffix is a picture.
    Text is never read as a local path.

    Args:
        messages: dicts with ``role`` and ``content`` in OpenAI's form
            (https://platform.openai.com/docs/api-reference/chat/create), in one of the forms
            above, or objects with such attributes. ``content`` is a text, a list of texts, parts
            and pictures, or None.
        needed: refuse messages without text and picture.

    Raises:
        TypeError: a message or one of its parts has the wrong type.
        ValueError: there is neither text nor a picture, or a part is of an unknown kind.
        MediaError: a picture in a message cannot be used.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise TypeError("messages must be a list of {'role': ..., 'content': ...} dicts")
    lines: list[tuple[str, str]] = []
    pictures: list[Picture] = []
    for message in messages:
        role, text, found = _read_message(message)
        pictures += found
        if text:
            lines.append((role, text))
    if needed and not lines and not pictures:
        raise ValueError("messages contain neither text nor a picture")
    prompt = "".join(f"{role.capitalize()}: {text}\n" for role, text in lines) + "Assistant:"
    if len(lines) < 2:
        prompt = "".join(text for _, text in lines)
    check_text("messages", prompt)
    return prompt, pictures[-1] if pictures else None


def check_text(name: str, text: str) -> None:
    if re.search("[\ud800-\udfff]", text):
        raise ValueError(f"there is a lone surrogate in {name}, which UTF-8 cannot encode")


def _read_message(message: Any) -> tuple[str, str, list[Picture]]:
    """Return the role, the text and the pictures of a message."""
    fields = _fields(message)
    if not isinstance(message, Mapping) and not fields.keys() & {"content", "parts", "blocks"}:
        raise TypeError(
            f"a message must be a dict with role and content, not {type(message).__name__}")
    role = fields.get("role") or _ROLES.get(str(fields.get("type")), "user")
    if not isinstance(role, str):
        raise TypeError(f"a message's role must be a str, not {type(role).__name__}")
    role = _ROLES.get(role, role)
    content = _first(fields, ("parts", "blocks", "content"))
    parts = [*content] if isinstance(content, (list, tuple)) else [content]
    parts += [{"image": each} for each in fields.get("images") or []]
    read = [_read_part(part) for part in parts]
    text = "\n".join(part for part in read if part and isinstance(part, str))
    pictures = [part for part in read if isinstance(part, Picture)]
    if role == "user" and not pictures and _PICTURE_URL.fullmatch(text.strip()):
        return role, "", [picture_of(text.strip())]
    return role, text, pictures


def _read_part(part: Any) -> str | Picture:
    """Return the text or the picture of a part."""
    if part is None or isinstance(part, str):  # None: a message that is only a tool call
        return part or ""
    if picture := find_picture(part):
        return picture
    fields = _fields(part)
    kind = fields.get("type") or fields.get("block_type")
    if kind in ("thinking", "redacted_thinking", "reasoning") or fields.get("thought"):
        return ""
    text = fields.get("text")
    if kind in ("text", "input_text", "output_text") or kind is None and text is not None:
        if not isinstance(text, str):
            raise TypeError(f"a part's text must be a str, not {type(text).__name__}")
        return text
    is_picture = kind in ("image", "image_url", "input_image")
    if is_picture or kind is None and _first(fields, _OUTER) is not None:
        return _picture_in(fields)
    shown = repr(kind)[:50] if fields else type(part).__name__
    raise (ValueError if fields else TypeError)(
        f"a part must be a text or a picture, such as {{'type': 'text', 'text': ...}} or "
        f"{{'type': 'image', 'image': ...}}, not {shown}")


def _picture_in(fields: Mapping[str, Any]) -> Picture:
    """Return the picture that is in a part, or in a dict or object in it."""
    found = _first(fields, (*_OUTER, *_INNER))
    if type(found).__name__.endswith(("Url", "URL")):  # LlamaIndex has pydantic's AnyUrl
        found = str(found)
    if isinstance(found, bytes) and picture_in_base64(found):
        found = found.decode("latin-1")  # LlamaIndex
    if found is not None and not isinstance(found, str):
        return find_picture(found) or _picture_in(_fields(found))
    if found and picture_in_base64(found):
        found = f"data:;base64,{found}"
    if found and re.match(r"data:|https?://", found, re.I):
        return picture_of(found)
    raise ValueError(
        "a part's picture must be a data: or http(s) URL or base64; a local one goes into media, "
        "or into the part as pathlib.Path(...)")


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Return the first of these fields that is not None."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _fields(item: Any) -> Mapping[str, Any]:
    """Return a message or a part, a dict or an object of another library, as a dict."""
    return item if isinstance(item, Mapping) else getattr(item, "__dict__", {})
