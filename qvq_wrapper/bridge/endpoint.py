"""How an endpoint takes picture and prompt."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import SpaceUnavailableError
from ..question.options import Question

logger = logging.getLogger("qvq_wrapper")

# Components that cannot hold a picture. Of these, only a textbox can hold a prompt.
_NOT_PICTURES = {
    "textbox", "number", "slider", "checkbox", "checkboxgroup", "radio", "dropdown", "colorpicker",
    "datetime", "audio", "video", "dataframe"}


def prepare(
    config: dict[str, Any], api: dict[str, Any], question: Question, picture: Any
) -> tuple[Any, list[Any]]:
    """Return the number of the endpoint's function, and its arguments in order.

    The places of picture and prompt are found by component type, then by position. An argument that
    is not given has the Space's own default.

    Raises:
        SpaceUnavailableError: there is no such endpoint, or it takes no picture and prompt.
    """
    given = question.parameters | question.extras
    name, endpoints = question.api_name, api["named_endpoints"]
    if name not in endpoints:
        raise SpaceUnavailableError(
            f"The Space has no endpoint {name}; it has: {', '.join(sorted(endpoints)) or 'none'}.")
    parameters = endpoints[name]["parameters"]
    names = [str(p.get("parameter_name") or p.get("label")) for p in parameters]
    kinds = [str(p.get("component")).lower() for p in parameters]
    image = kinds.index("image") if "image" in kinds else 0
    text = kinds.index("textbox") if "textbox" in kinds else 1
    found = image != text and text < len(kinds) and kinds[image] not in _NOT_PICTURES
    if not found or kinds[text] in _NOT_PICTURES - {"textbox"}:
        takes = ", ".join(kinds) or "nothing"
        raise SpaceUnavailableError(
            f"The Space's {name} takes no picture and prompt, but: {takes}.")
    values = [given.get(key, p.get("parameter_default")) for key, p in zip(names, parameters)]
    values[image], values[text] = picture, question.prompt
    if left_out := sorted(given.keys() - set(names)):
        logger.debug("%s has no parameter %s: left out", name, ", ".join(left_out))
    missing = [
        key for i, (key, p) in enumerate(zip(names, parameters))
        if i not in (image, text) and key not in given and not _has_default(p)]
    if missing:
        raise SpaceUnavailableError(
            f"The Space's {name} also needs {', '.join(missing)}; give them as keywords.")
    functions = {each.get("api_name"): each.get("id", number)
                 for number, each in enumerate(config["dependencies"])}
    return functions.get(name[1:]), values


def _has_default(parameter: dict[str, Any]) -> bool:
    """Return whether the Space's default can be used. A file cannot: it would be uploaded."""
    is_file = "gradio.FileData" in str(parameter.get("parameter_default"))
    return bool(parameter.get("parameter_has_default")) and not is_file
