"""The documented class, which asks QVQ-72B's Space, or another one, about a picture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, signature
from typing import Any, ClassVar, TypeVar

from .base import AsyncGeneratorProvider, ProviderModelMixin, hide_arguments
from .question.media import Picture, picture_from
from .question.options import Access, Limits, Options, Question, api_name_of, parameters_of
from .question.prompt import read_messages
from .stream import AsyncResult
from .types import ImageType, MediaListType, Messages

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

_LIMITS = {field.name: field.default for field in fields(Limits)}
_OPTIONS = Options.__annotations__

Function = TypeVar("Function", bound=Callable[..., Any])


def _show_options(function: Function) -> Function:
    """Name each option in the signature, for completion and help()."""
    shown = signature(function)
    named = [each for each in shown.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    defaults = _LIMITS | {"verify": True}
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=defaults.get(name),
                  annotation=hint.__forward_arg__)
        for name, hint in _OPTIONS.items()]
    function.__signature__ = shown.replace(  # type: ignore[attr-defined]
        parameters=[*named, *options])
    return function


class Qwen_QVQ_72B(AsyncGeneratorProvider, ProviderModelMixin):
    """Qwen's QVQ-72B Space on Hugging Face. A subclass asks another Space.

    Example::

        class MySpace(Qwen_QVQ_72B):
            url = "owner/name"
            api_endpoint = "/gradio_api/call/describe"
            timeout = 300  # any option of ``ask`` can be a class attribute

        stream = MySpace.ask("What is this?", "photo.jpg")
    """

    label = "Qwen QVQ-72B"
    url = "https://qwen-qvq-72b-preview.hf.space"
    api_endpoint = "/gradio_api/call/generate"
    working = True

    default_model = "qwen-qvq-72b-preview"
    default_vision_model = default_model
    model_aliases: ClassVar[dict[str, str]] = {"qvq-72b": default_vision_model}
    vision_models = list(model_aliases)
    models: ClassVar[list[str]] = [default_model, *vision_models]

    @classmethod
    @hide_arguments
    def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType | None = None,
        api_key: str | None = None, proxy: str | None = None, **kwargs: Any,
    ) -> AsyncResult:
        """Ask the Space about a conversation. The answer is an ``AnswerStream``.

        Args:
            model: one of ``models``; empty for the default.
            messages: dicts with ``role`` and ``content``. The content is a text, or a list of parts
                as OpenAI has it. The latest message is the last.
            media: a list with one picture, alone or as ``(picture, filename)``.
            api_key, proxy: as in ``ask``.
            **kwargs: any option of ``ask``. Another keyword is sent if the endpoint has a parameter
                of that name, and ignored otherwise.

        A keyword of the call wins over a class attribute.

        Raises:
            ValueError, TypeError, ResponseError: as ``ask`` does.

        Example::

            messages = [{"role": "user", "content": "What is the area?"}]
            async for chunk in Qwen_QVQ_72B.create_async_generator("", messages, ["triangle.png"]):
                print(chunk, end="")
        """
        cls.get_model(model)
        own = {name: getattr(cls, name) for name in _OPTIONS if hasattr(cls, name)}
        options = own | {name: kwargs.pop(name) for name in _OPTIONS.keys() & kwargs.keys()}
        limits = Limits(**{name: options.pop(name) for name in _LIMITS.keys() & options.keys()})
        parameters = parameters_of(options.pop("parameters", None))
        api_name = options.pop("api_name", None)
        named = api_name is not None or cls._names_endpoint()
        if api_name is None:
            api_name = cls.api_endpoint.rsplit("/", 1)[-1]
        url = options.pop("url", None)
        access = Access.checked(
            cls.url if url is None else url, api_key or getattr(cls, "api_key", None),
            proxy=getattr(cls, "proxy", None) if proxy is None else proxy, **options)
        given = _only_picture(media)
        prompt, picture = read_messages(messages, needed=given is None)
        return AsyncResult(
            Question(access, api_name_of(api_name), named, prompt, given or picture, parameters,
                     kwargs), limits)

    @classmethod
    def _names_endpoint(cls) -> bool:
        """Return whether a subclass sets ``api_endpoint``."""
        return next(c for c in cls.__mro__ if "api_endpoint" in vars(c)) is not Qwen_QVQ_72B

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """Return the model's own name, also for its official name, ``Qwen/QVQ-72B-Preview``.

        Raises:
            ModelNotSupportedError: the provider has no such model.
        """
        name = (model or "").lower().removeprefix("qwen/")
        if name == "qvq-72b-preview":
            name = Qwen_QVQ_72B.default_model
        return super().get_model(name if name in cls.models else model, **kwargs)

    @classmethod
    @_show_options
    @hide_arguments
    def ask(
        cls, prompt: str, image: ImageType | None = None, *, model: str = "",
        api_key: str | None = None, proxy: str | None = None, **options: Unpack[Options],
    ) -> AsyncResult:
        """Ask about a picture. The answer is an ``AnswerStream``: read it or iterate over it.

        Args:
            prompt: the question. It may be empty if there is a picture.
            image: bytes, an open binary file, a path, a ``data:`` or http(s) URL, a PIL image, a
                numpy array, a matplotlib figure, or an object that a notebook shows as PNG or JPEG.
                ``(picture, filename)`` also tells the Space a file name.
            model: one of ``get_models()``; empty for the default.
            api_key: a Hugging Face token. It goes to the Space's own origin and nowhere else.
            proxy: URL of an HTTP or SOCKS proxy for every connection. Without it, the environment's
                proxies are used.
            url: another Space for this call: a URL, or ``owner/name``.
            api_name: another endpoint for this call, such as ``/describe``. If neither it nor a
                subclass's ``api_endpoint`` names one and the Space has no ``/generate``, the only
                endpoint that fits is asked.
            parameters: values for the endpoint's other parameters, by name, in a dict.
            timeout: seconds for the whole answer. None or 0 is no limit, which is the default.
            read_timeout: seconds without a byte from the Space, 60 by default. A Space that works
                sends a sign of life every 15 s. None is no limit.
            max_retries: how often to ask again where no job can have started, 2 by default.
            max_chars: the length at which an answer is cut off with an error, 8 Mi by default.
            on_status: called with each ``Status``.
            headers: further headers for every request.
            verify: as httpx has it: True, False, or an ``ssl.SSLContext``.
            auth: user and password of a Space behind a login.

        Raises:
            ValueError, TypeError: an argument cannot be used (``MediaError``,
                ``ModelNotSupportedError``). Raised by the call itself, before anything is sent.
            ResponseError: something failed in the Space or on the way to it. Raised by iterating.

        Example::

            print(await ask("What is the area?", "triangle.png").read())
        """
        unknown = options.keys() - _OPTIONS.keys()
        if unknown:
            names, known = ", ".join(sorted(unknown)), ", ".join(signature(cls.ask).parameters)
            raise TypeError(
                f"ask() has no option {names}; it has: {known}. For a parameter of the Space's "
                "endpoint use parameters={...}.")
        if not isinstance(prompt, str):
            raise TypeError(
                f"prompt must be a str, not {type(prompt).__name__}; the picture comes second")
        if not prompt and image is None:
            raise ValueError("ask() needs a prompt or a picture")
        messages = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        media: MediaListType | None = None if image is None else [image]
        return cls.create_async_generator(model, messages, media, api_key, proxy, **options)


def _only_picture(media: Any) -> Picture | None:
    if media is None:
        return None
    if not isinstance(media, (list, tuple)):
        kind = type(media).__name__
        raise TypeError(f"media must be a list; for this {kind} write media=[picture]")
    if len(media) > 1:
        raise ValueError(
            f"media holds {len(media)} pictures; the Space takes one. "
            "A picture with its file name is a tuple in the list: [(picture, filename)]")
    if not media:
        return None
    picture = media[0]
    if isinstance(picture, list):
        raise TypeError(
            "a picture cannot be a list; give one picture, or a tuple (picture, filename)")
    if not isinstance(picture, tuple):
        return picture_from(picture)
    if len(picture) != 2:
        raise TypeError("a picture given as a tuple must be (picture, filename)")
    return picture_from(*picture)


ask = Qwen_QVQ_72B.ask
