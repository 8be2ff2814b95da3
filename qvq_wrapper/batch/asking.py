"""Asks the question of one row: here, on a worker of a cluster, in any task queue."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..provider import Qwen_QVQ_72B
from ..question.address import space_url
from ..question.options import api_name_of


async def answer_row(row: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Ask the question of a row once.

    Args:
        row: a dict with ``prompt``, or with ``messages`` in OpenAI's form, and perhaps ``image``.
            An empty cell (None, NaN, for a picture also "") counts as missing. Other columns are
            ignored.
        **options: options of ``qvq_wrapper.ask``. ``max_retries`` is 0 by default: the one who
            asks many rows decides when to ask again.

    Returns:
        ``answer``, and ``asked``: the ``url`` of the Space without secrets, and the ``api_name``
        and ``model`` that were given.

    Raises:
        ValueError, TypeError, ResponseError: as ``qvq_wrapper.ask`` does.
    """
    options = {"max_retries": 0, "model": "", **options}
    prompt: Any = row.get("prompt")
    messages: Any = row.get("messages")
    image = picture_in(row)
    if not missing(prompt):
        stream = Qwen_QVQ_72B.ask(prompt, image, **options)
    elif not missing(messages):
        media = None if image is None else [image]
        stream = Qwen_QVQ_72B.create_async_generator(messages=messages, media=media, **options)
    else:
        raise ValueError("the question has neither prompt nor messages")
    return {"answer": await stream.read(), "asked": source_of(options)}


def picture_in(row: Mapping[str, Any]) -> Any:
    """Return the picture of a row, or None if its cell is empty."""
    image = row.get("image")
    return None if missing(image) or isinstance(image, str) and not image else image


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if ``answer_row`` cannot use these options."""
    Qwen_QVQ_72B.ask("Hi", **options).cancel()


def source_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return where answers with these options come from. No secret is in it."""
    source = {"url": space_url(options.get("url") or Qwen_QVQ_72B.url)}
    if options.get("api_name"):
        source["api_name"] = api_name_of(options["api_name"])
    if options.get("model"):
        source["model"] = Qwen_QVQ_72B.get_model(options["model"])
    return source


def missing(value: Any) -> bool:
    """Tell whether a cell is empty: None, or pandas' NaN, NA and NaT."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")
