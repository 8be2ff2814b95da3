"""How an endpoint is asked: which one, where picture and prompt go, where the answer's text is.

Everything is decided from what the Space says of itself, before anything is sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ..errors import SpaceUnavailableError
from ..question.options import Question
from .failures import one_line
from .outputs import TextFinder

logger = logging.getLogger("qvq_wrapper")

# The best place comes first. Another component takes a picture if its data is a single file.
_PICTURE_KINDS = ["multimodaltextbox", "image", "imageeditor", "file", "uploadbutton", "gallery"]
_NO_PICTURES = {"audio", "video", "model3d", "downloadbutton"}
# Another component takes a prompt if its data is a string.
_PROMPT_KINDS = ["multimodaltextbox", "textbox"]
_NO_PROMPTS = {"radio", "dropdown", "colorpicker", "datetime"}
# A page triggers these events by itself, without a person's question.
_PAGE_EVENTS = {"load", "unload", "tick"}


def find_endpoint(config: dict[str, Any], api: dict[str, Any], question: Question) -> Endpoint:
    """Return the endpoint with the question's ``api_name``, or else the only one that fits.

    Args:
        config: the Space's ``/config``.
        api: the Space's ``/info``.

    Raises:
        SpaceUnavailableError: there is no such endpoint.
    """
    endpoints = named_endpoints(config, api)
    endpoint = endpoints.get(question.api_name) or _only_fitting(endpoints, question)
    names = {each.name for each in endpoint.parameters}
    if left_out := sorted(question.extras.keys() - names):
        name = one_line(endpoint.name)
        logger.debug("%s has no parameter %s: left out", name, ", ".join(left_out))
    return endpoint


def named_endpoints(config: dict[str, Any], api: dict[str, Any]) -> dict[str, Endpoint]:
    """Return the endpoints by name, in the order of the Space's API page."""
    components = {each["id"]: each for each in config["components"]}
    dependencies = {
        f"/{each['api_name']}": {"id": number, **each}
        for number, each in enumerate(config["dependencies"]) if each.get("api_name")}
    return {
        name: Endpoint(name, info, dependencies[name], components)
        for name, info in api["named_endpoints"].items() if name in dependencies}


def _only_fitting(endpoints: dict[str, Endpoint], question: Question) -> Endpoint:
    if not endpoints:
        raise SpaceUnavailableError("The Space has no endpoint with a name, so it cannot be asked.")
    fitting = [each for each in _for_people(endpoints.values()) if not each.problem(question)]
    fitting = [each for each in fitting if all(each.places(question))] or fitting  # best: both
    if len(fitting) == 1 and not question.named:
        return fitting[0]
    message = f"The Space has no endpoint {question.api_name}"
    if fitting:
        names = ", ".join(each.name for each in fitting)
        message += f". Give the api_name of one that fits: {names}."
    else:
        names = ", ".join(sorted(endpoints))
        message += f", and no other that takes this question and gives text. It has: {names}."
    raise SpaceUnavailableError(one_line(message))


def _for_people(endpoints: Iterable[Endpoint]) -> Iterable[Endpoint]:
    """Return the endpoints that a person uses, each function once.

    One function often stands behind a button and a textbox. gradio names the second ``name_1``.
    """
    found: dict[tuple[str, ...], Endpoint] = {}
    for each in endpoints:
        if not each.is_page_event:
            found.setdefault(each.identity, each)
    return found.values()


class Parameter:
    """A parameter of an endpoint."""

    def __init__(self, info: dict[str, Any], component: dict[str, Any]) -> None:
        self.name = str(info.get("parameter_name") or info.get("label"))
        self.kind = str(info["component"]).lower()
        self.info, self.schema = info, info["type"]
        self.default = info.get("parameter_default")
        # A file cannot be used as a default: gradio_client would upload this machine's file.
        is_file = "gradio.FileData" in str(self.default)
        self.has_default = bool(info.get("parameter_has_default")) and not is_file
        self.is_hidden = _is_hidden(component)
        self.is_secret = component["props"].get("type") == "password"

    @property
    def takes_picture(self) -> bool:
        is_file = self.schema.get("title") in ("ImageData", "FileData")
        return self.kind in _PICTURE_KINDS or is_file and self.kind not in _NO_PICTURES

    @property
    def takes_prompt(self) -> bool:
        is_string = self.schema.get("type") == "string" and self.kind not in _NO_PROMPTS
        return (self.kind in _PROMPT_KINDS or is_string) and not self.is_secret

    def rank(self, kinds: list[str]) -> tuple[bool, int]:
        """Return a sort key: what a page shows comes first, then the better kinds."""
        return self.is_hidden, kinds.index(self.kind) if self.kind in kinds else len(kinds)

    def value(self, file: dict[str, Any] | None, prompt: str) -> Any:
        """Return picture or prompt in the form that the component takes."""
        if self.kind == "multimodaltextbox":
            return {"text": prompt, "files": [] if file is None else [file]}
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
        self.name, self.function = name, dependency["id"]
        self._info, self._dependency, self._components = info, dependency, components

    @property
    def is_page_event(self) -> bool:
        events = {str(event) for _, event in self._dependency.get("targets") or ()}
        return bool(events) and events <= _PAGE_EVENTS

    @property
    def identity(self) -> tuple[str, ...]:
        """The same for all endpoints of one function."""
        name = re.sub(r"_\d+$", "", self.name)
        return name, str(self._dependency["inputs"]), str(self._dependency["outputs"])

    @cached_property
    def parameters(self) -> list[Parameter]:
        return [Parameter(*each) for each in zip(self._info["parameters"], self._shown("inputs"))]

    def _shown(self, side: str) -> list[dict[str, Any]]:
        """Return the components of one side. Some, such as gr.State, are not part of the API."""
        components = [self._components[each] for each in self._dependency[side]]
        return [each for each in components if not each.get("skip_api")]

    def problem(self, question: Question) -> str:
        """Return why the endpoint does not take the question or give text. "" if it does both."""
        try:
            self.arguments(question, None)
            self.finder()
        except SpaceUnavailableError as error:
            return error.message
        return ""

    def places(self, question: Question) -> tuple[Parameter | None, Parameter | None]:
        """Return where picture and prompt go: the best kind of component, and of those the first.

        A parameter that the caller names is neither.
        """
        named = {*question.parameters, *question.extras}
        free = [each for each in self.parameters if each.name not in named]
        pictures = [each for each in free if each.takes_picture]
        prompts = [each for each in free if each.takes_prompt]
        return (
            min(pictures, key=lambda each: each.rank(_PICTURE_KINDS), default=None),
            min(prompts, key=lambda each: each.rank(_PROMPT_KINDS), default=None))

    def arguments(self, question: Question, file: dict[str, Any] | None) -> list[Any]:
        """Return the arguments in order. The Space's own default fills what is not given.

        Raises:
            SpaceUnavailableError: a part of the question has no place, or a value is missing.
        """
        if unknown := question.parameters.keys() - {each.name for each in self.parameters}:
            raise self._refusal(f"has no parameter {', '.join(sorted(unknown))}")
        for_picture, for_prompt = self.places(question)
        if question.picture and not for_picture:
            raise self._refusal("has no place for the picture")
        if question.prompt and not for_prompt:
            raise self._refusal("has no place for the prompt")
        values = {each.name: each.default for each in self.parameters if each.has_default}
        values |= question.extras | question.parameters
        if for_prompt:
            values[for_prompt.name] = for_prompt.value(None, question.prompt)
        if for_picture:
            prompt = question.prompt if for_picture is for_prompt else ""
            values[for_picture.name] = for_picture.value(file, prompt)
        missing = [each.name for each in self.parameters if each.name not in values]
        if missing:
            raise self._refusal(f"also needs {', '.join(missing)}; give them in parameters={{...}}")
        return [values[each.name] for each in self.parameters]

    def _refusal(self, reason: str) -> SpaceUnavailableError:
        takes = ", ".join(f"{each.name} ({each.kind})" for each in self.parameters) or "nothing"
        message = f"The Space's {self.name} {reason}. It takes: {takes}."
        return SpaceUnavailableError(one_line(message))

    def finder(self) -> TextFinder:
        """Return a reader of the outputs that are text. The first of them is the answer.

        Raises:
            SpaceUnavailableError: the endpoint gives no text.
        """
        outputs, returns = self._shown("outputs"), self._info["returns"]
        kinds = [str(each["component"]).lower() for each in returns]
        texts = [number for number, component in enumerate(outputs)
                 if _gives_text(kinds[number], returns[number]["type"], component)]
        if not texts:
            gives = ", ".join(kinds) or "nothing"
            raise SpaceUnavailableError(
                one_line(f"The Space's {self.name} gives no text, but: {gives}."))

        def is_reset(number: int) -> bool:
            """Return whether the output only resets an input, such as the question's box."""
            is_input = outputs[number]["id"] in self._dependency["inputs"]
            return kinds[number] in _NO_PROMPTS or is_input and kinds[number] != "chatbot"

        return TextFinder(sorted(texts, key=is_reset))


def _is_hidden(component: dict[str, Any]) -> bool:
    return component["props"].get("visible") in (False, "hidden")


def _gives_text(kind: str, schema: dict[str, Any], component: dict[str, Any]) -> bool:
    # gr.ChatInterface gives its answer in a hidden JSON component.
    is_answer = kind == "chatbot" or kind == "json" and _is_hidden(component)
    return is_answer or schema.get("type") == "string"
