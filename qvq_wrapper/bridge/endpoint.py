"""How an endpoint takes picture and prompt."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..errors import SpaceUnavailableError

logger = logging.getLogger("qvq_wrapper")

# Components that can hold no picture, nor (but for the textbox) a prompt.
_TYPED = {"textbox", "number", "slider", "checkbox", "checkboxgroup", "radio", "dropdown", "colorpicker",
          "datetime", "audio", "video", "dataframe"}


def find_function(config: dict[str, Any], api_name: str) -> Any:
    """The number by which gradio_client knows an endpoint."""
    for number, dependency in enumerate(config["dependencies"]):
        if dependency.get("api_name") == api_name[1:]:
            return dependency.get("id", number)
    raise SpaceUnavailableError(f"The Space's config has no function for {api_name}.")


def fill_arguments(
    api: dict[str, Any], api_name: str, picture: Any, prompt: str, extras: Mapping[str, Any]
) -> list[Any]:
    """The endpoint's arguments in order; those not given have the Space's own defaults.

    The places of picture and prompt are found by component type, then by position.

    Raises:
        SpaceUnavailableError: there is no such endpoint, or it is none that takes picture and prompt.
    """
    endpoints = api["named_endpoints"]
    if api_name not in endpoints:
        raise SpaceUnavailableError(
            f"The Space has no endpoint {api_name}; it has: {', '.join(sorted(endpoints)) or 'none'}.")
    parameters = endpoints[api_name]["parameters"]
    names = [str(p.get("parameter_name") or p.get("label")) for p in parameters]
    kinds = [str(p.get("component")).lower() for p in parameters]
    image = kinds.index("image") if "image" in kinds else 0
    text = kinds.index("textbox") if "textbox" in kinds else 1
    if image == text or text >= len(kinds) or kinds[image] in _TYPED or kinds[text] in _TYPED - {"textbox"}:
        raise SpaceUnavailableError(
            f"The Space's {api_name} takes no picture and prompt, but: {', '.join(kinds) or 'nothing'}.")
    values = [extras.get(name, p.get("parameter_default")) for name, p in zip(names, parameters)]
    values[image], values[text] = picture, prompt
    left_out = sorted(extras.keys() - set(names))
    if left_out:
        logger.debug("%s has no parameter %s: left out", api_name, ", ".join(left_out))
    # gradio_client would upload a default that is a file, from whatever path on this machine the Space says.
    missing = [name for i, (name, p) in enumerate(zip(names, parameters))
               if i not in (image, text) and name not in extras
               and (not p.get("parameter_has_default") or "gradio.FileData" in str(p.get("parameter_default")))]
    if missing:
        raise SpaceUnavailableError(
            f"The Space's {api_name} also needs {', '.join(missing)}; give them as keywords.")
    return values
