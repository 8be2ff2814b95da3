"""How an endpoint is asked: which one, where picture and prompt go, where the answer's text is.

Everything is decided from what the Space says of itself, before anything is sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import SpaceUnavailableError
from ..question.options import Question
from .failures import one_line
from .outputs import TextReader

logger = logging.getLogger("qvq_wrapper")

# The best place comes first. Another component takes a picture if its data is a single file.
_PICTURE_KINDS = ["multimodaltextbox", "image", "imageeditor", "file", "uploadbutton", "gallery"]
_NO_PICTURES = {"audio", "video", "model3d", "downloadbutton"}
# Another component takes a prompt if its data is a string.
_PROMPT_KINDS = ["multimodaltextbox", "textbox"]
_NO_PROMPTS = {"radio", "dropdown", "colorpicker", "datetime"}
# Events of a page itself. A person's question is none of them.
_PAGE_EVENTS = {"load", "unload", "tick"}


@dataclass
class Plan:
    """How to ask one endpoint: the number of its function, its arguments, a reader of outputs."""

    function: Any
    arguments: list[Any]
    reader: TextReader


def make_plan(
    config: dict[str, Any], api: dict[str, Any], question: Question, file: dict[str, Any] | None
) -> Plan:
    """Return how to ask the question.

    The places of picture and prompt are found by component type, then by position. A parameter
    that the caller names is never one of them. A parameter that is not given has the Space's own
    default.

    Args:
        file: the picture as gradio_client sends it.

    Raises:
        SpaceUnavailableError: there is no such endpoint, it does not take the question, or it gives
            no text.
    """
    endpoint = _find(_Endpoints(config, api), question)
    arguments = endpoint.arguments(question, file)
    reader = endpoint.reader()
    names = {parameter.name for parameter in endpoint.parameters}
    if left_out := sorted(question.extras.keys() - names):
        logger.debug("%s has no parameter %s: left out", endpoint.name, ", ".join(left_out))
    return Plan(endpoint.function, arguments, reader)


def _find(endpoints: _Endpoints, question: Question) -> Endpoint:
    """Return the endpoint that the caller named, or else the one that fits the question."""
    name = "/" + question.api_name.removeprefix("/")
    if endpoint := endpoints.get(name):
        return endpoint
    if not endpoints.names:
        raise SpaceUnavailableError("The Space has no endpoint with a name, so it cannot be asked.")
    fitting = [each for each in endpoints if each.fits(question)]
    both = [each for each in fitting if each.takes_both(question)]
    found = both or fitting
    if len(found) == 1 and not question.named:
        return found[0]
    names = ", ".join(each.name for each in found)
    if found:
        raise SpaceUnavailableError(one_line(
            f"The Space has no endpoint {name}. Give the api_name of one that fits: {names}."))
    raise SpaceUnavailableError(one_line(
        f"The Space has no endpoint {name}, and no other that takes this question and gives text. "
        f"It has: {', '.join(sorted(endpoints.names))}."))


class _Endpoints:
    """The Space's named endpoints. Each is read only when it is looked at."""

    def __init__(self, config: dict[str, Any], api: dict[str, Any]) -> None:
        self._infos = api["named_endpoints"]
        self._components = {each["id"]: each for each in config["components"]}
        self._dependencies = {
            f"/{each['api_name']}": {"id": number, **each}
            for number, each in enumerate(config["dependencies"]) if each.get("api_name")}
        self.names = self._infos.keys() & self._dependencies.keys()

    def get(self, name: str) -> Endpoint | None:
        if name not in self.names:
            return None
        return Endpoint(name, self._infos[name], self._dependencies[name], self._components)

    def __iter__(self) -> Iterator[Endpoint]:
        """Yield the endpoints that people use.

        One function often stands behind a button and a textbox. gradio names the second ``name_1``.
        """
        seen = set()
        for name in self._infos:
            if name not in self.names:
                continue
            dependency = self._dependencies[name]
            events = {str(event) for _, event in dependency.get("targets") or ()}
            same = re.sub(r"_\d+$", "", name), str(dependency["inputs"]), str(dependency["outputs"])
            if same not in seen and not (events and events <= _PAGE_EVENTS):
                seen.add(same)
                yield Endpoint(name, self._infos[name], dependency, self._components)


class Parameter:
    """A parameter of an endpoint."""

    def __init__(self, info: dict[str, Any], component: dict[str, Any]) -> None:
        self.name = str(info.get("parameter_name") or info.get("label"))
        self.kind = str(info["component"]).lower()
        self.default = info.get("parameter_default")
        # A file cannot be used as a default: gradio_client would upload this machine's file.
        is_file = "gradio.FileData" in str(self.default)
        self.has_default = bool(info.get("parameter_has_default")) and not is_file
        self.schema = info["type"]
        props = component["props"]
        self.is_hidden = _is_hidden(component)
        self.is_secret = props.get("type") == "password"

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def takes_picture(self) -> bool:
        is_file = self.schema.get("title") in ("ImageData", "FileData")
        return self.kind in _PICTURE_KINDS or is_file and self.kind not in _NO_PICTURES

    @property
    def takes_prompt(self) -> bool:
        is_string = self.schema.get("type") == "string" and self.kind not in _NO_PROMPTS
        return (self.kind in _PROMPT_KINDS or is_string) and not self.is_secret

    def value(self, file: dict[str, Any] | None, prompt: str) -> Any:
        """Return picture or prompt in the form that the component takes."""
        if self.kind == "multimodaltextbox":
            return {"text": prompt, "files": [file] if file else []}
        if not self.takes_picture:
            return prompt
        if file is None:  # as a page sends an empty box
            return None
        if self.kind == "imageeditor":
            return {"background": file, "layers": [], "composite": file}
        if self.kind == "gallery":
            return [{"image": file, "caption": None}]
        return [file] if self.schema.get("type") == "array" else file


class Endpoint:
    """An endpoint, as the Space describes it."""

    def __init__(
        self, name: str, info: dict[str, Any], dependency: dict[str, Any],
        components: dict[Any, dict[str, Any]],
    ) -> None:
        inputs = [components[each] for each in dependency["inputs"]]
        outputs = [components[each] for each in dependency["outputs"]]
        self.name, self.function = name, dependency["id"]
        # Components such as gr.State are not part of the API.
        self._outputs = [each for each in outputs if not each.get("skip_api")]
        self._input_ids = dependency["inputs"]
        self._returns = info["returns"]
        shown = [each for each in inputs if not each.get("skip_api")]
        self.parameters = [Parameter(*pair) for pair in zip(info["parameters"], shown)]

    def fits(self, question: Question) -> bool:
        """Return whether the endpoint takes the question and gives text."""
        try:
            self.arguments(question, None)
            self.reader()
        except SpaceUnavailableError:
            return False
        return True

    def takes_both(self, question: Question) -> bool:
        """Return whether the endpoint has a place for a picture and one for a prompt."""
        return all(self._places(question))

    def _places(self, question: Question) -> tuple[Parameter | None, Parameter | None]:
        """Return the parameters that take the picture and the prompt, of those not named."""
        named = {*question.parameters, *question.extras}
        free = [each for each in self.parameters if each.name not in named]
        pictures = [each for each in free if each.takes_picture]
        prompts = [each for each in free if each.takes_prompt]
        return (
            min(pictures, key=_order(_PICTURE_KINDS), default=None),
            min(prompts, key=_order(_PROMPT_KINDS), default=None))

    def arguments(self, question: Question, file: dict[str, Any] | None) -> list[Any]:
        """Return the arguments in order.

        Raises:
            SpaceUnavailableError: a part of the question has no place, or a value is missing.
        """
        given = {**question.extras, **question.parameters}
        if unknown := question.parameters.keys() - {each.name for each in self.parameters}:
            raise self._refusal(f"has no parameter {', '.join(map(str, unknown))}")
        picture_place, prompt_place = self._places(question)
        if question.picture and not picture_place:
            raise self._refusal("has no place for the picture")
        if question.prompt and not prompt_place:
            raise self._refusal("has no place for the prompt")
        values, missing = [], []
        for each in self.parameters:
            if each in (picture_place, prompt_place):
                prompt = question.prompt if each is prompt_place else ""
                values.append(each.value(file if each is picture_place else None, prompt))
            elif each.name in given:
                values.append(given[each.name])
            else:
                values.append(each.default)
                if not each.has_default:
                    missing.append(each.name)
        if missing:
            raise self._refusal(f"also needs {', '.join(missing)}; give them in parameters={{...}}")
        return values

    def _refusal(self, reason: str) -> SpaceUnavailableError:
        takes = ", ".join(map(str, self.parameters)) or "nothing"
        message = f"The Space's {self.name} {reason}. It takes: {takes}."
        return SpaceUnavailableError(one_line(message))

    def reader(self) -> TextReader:
        """Return a reader of the outputs that are text. The first of them is the answer.

        Raises:
            SpaceUnavailableError: the endpoint gives no text.
        """
        kinds = [str(each["component"]).lower() for each in self._returns]
        texts = [number for number, each in enumerate(self._outputs)
                 if _gives_text(kinds[number], self._returns[number]["type"], each)]
        if not texts:
            gives = ", ".join(kinds) or "nothing"
            raise SpaceUnavailableError(
                one_line(f"The Space's {self.name} gives no text, but: {gives}."))

        def is_reset(number: int) -> bool:
            """A textbox of the question is often emptied, and a choice's options changed."""
            is_input = self._outputs[number]["id"] in self._input_ids
            return kinds[number] in _NO_PROMPTS or is_input and kinds[number] != "chatbot"

        return TextReader(sorted(texts, key=is_reset), len(self._outputs))


def _is_hidden(component: dict[str, Any]) -> bool:
    return component["props"].get("visible") in (False, "hidden")


def _gives_text(kind: str, schema: dict[str, Any], component: dict[str, Any]) -> bool:
    # gr.ChatInterface gives its answer in a hidden JSON component.
    is_answer = kind == "chatbot" or kind == "json" and _is_hidden(component)
    return is_answer or schema.get("type") == "string"


def _order(kinds: list[str]) -> Callable[[Parameter], tuple[bool, int]]:
    """Return a key that puts what a page shows first, then the better kinds."""
    def key(parameter: Parameter) -> tuple[bool, int]:
        rank = kinds.index(parameter.kind) if parameter.kind in kinds else len(kinds)
        return parameter.is_hidden, rank

    return key
