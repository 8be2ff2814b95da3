"""The documented class, which asks QVQ-72B's Space, or another one, about a picture."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, ClassVar, TypeVar, cast

from .base import AsyncGeneratorProvider, ProviderModelMixin, hide_arguments
from .question.media import Picture, picture_of
from .question.options import Access, Limits, Options, Question, api_name_of, parameters_of
from .question.prompt import check_text, prompt_of
from .stream import AsyncResult
from .types import ImageType, MediaListType, Messages, Status

# What other libraries call an argument of `ask`.
_OTHER_NAMES = {
    "token": "api_key", "hf_token": "api_key", "image_path": "image", "image_url": "image",
    "media": "image", "picture": "image", "question": "prompt", "text": "prompt",
    "endpoint": "api_name", "space": "url", "base_url": "url"}

Function = TypeVar("Function", bound=Callable[..., Any])


def _with_class_options(function: Function) -> Function:
    """Fill in the options that a subclass sets, and say what to write for a wrong argument."""
    known = signature(function)

    @wraps(function)
    def call(cls: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            known.bind(cls, *args, **kwargs)
        except TypeError as error:
            unknown = [name for name in kwargs if name not in known.parameters]
            advice = "".join(_advice(name, list(known.parameters)) for name in unknown)
            raise TypeError(f"{function.__name__}(): {error}.{advice}") from None
        return function(cls, *args, **(_class_options(cls) | kwargs))

    return cast(Function, call)


def _advice(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1, 0.7)
    if name in _OTHER_NAMES:
        return f" Write {_OTHER_NAMES[name]}= and not {name}=."
    if close:
        return f" Did you mean {close[0]}= and not {name}=?"
    return f" If {name} is a parameter of the Space's endpoint, write parameters={{{name!r}: ...}}."


def _class_options(cls: type) -> dict[str, Any]:
    return {name: getattr(cls, name) for name in Options.__annotations__ if hasattr(cls, name)}


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
        known = {name: kwargs.pop(name) for name in _DEFAULTS.keys() & kwargs.keys()}
        given = _only_picture(media)
        prompt, picture = prompt_of(messages, needed=given is None)
        return cls._stream(
            prompt, given or picture, model, api_key, proxy, _class_options(cls) | known, kwargs)

    @classmethod
    def _stream(
        cls, prompt: str, picture: Picture | None, model: str, api_key: str | None,
        proxy: str | None, options: dict[str, Any], extras: dict[str, Any],
    ) -> AsyncResult:
        """Check the options and return the stream.

        Args:
            options: those of ``Options``. One that is missing has its default.
            extras: other keywords, which are sent if the endpoint has such a parameter.
        """
        cls.get_model(model)
        options = _DEFAULTS | options
        limits = Limits.checked(**{name: options[name] for name in Limits.__annotations__})
        url, api_name = options["url"], options["api_name"]
        access = Access.checked(
            cls.url if url is None else url, api_key or getattr(cls, "api_key", None),
            options["auth"], options["headers"],
            getattr(cls, "proxy", None) if proxy is None else proxy, options["verify"])
        named = api_name is not None or cls.api_endpoint != Qwen_QVQ_72B.api_endpoint
        if api_name is None:
            api_name = cls.api_endpoint.rsplit("/", 1)[-1]
        return AsyncResult(
            Question(access, api_name_of(api_name), named, prompt, picture,
                     parameters_of(options["parameters"]), extras), limits)

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
    @hide_arguments
    @_with_class_options
    def ask(
        cls, prompt: str, image: ImageType | tuple[ImageType, str | None] | None = None, *,
        model: str = "",
        api_key: str | None = None,
        proxy: str | None = None,
        url: str | None = None,
        api_name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        read_timeout: float | None = 60.0,
        max_retries: int = 2,
        max_chars: int = 8 * 2**20,
        on_status: Callable[[Status], object] | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | ssl.SSLContext = True,
        auth: tuple[str, str] | None = None,
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
        if not isinstance(prompt, str):
            raise TypeError(
                f"prompt must be a str, not {type(prompt).__name__}; the picture comes second")
        if not prompt and image is None:
            raise ValueError("ask() needs a prompt or a picture")
        check_text("prompt", prompt)
        options = {
            "url": url, "api_name": api_name, "parameters": parameters, "timeout": timeout,
            "read_timeout": read_timeout, "max_retries": max_retries, "max_chars": max_chars,
            "on_status": on_status, "headers": headers, "verify": verify, "auth": auth}
        picture = None if image is None else picture_of(image)
        return cls._stream(prompt, picture, model, api_key, proxy, options, {})


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
    return picture_of(media[0]) if media else None


ask = Qwen_QVQ_72B.ask
_DEFAULTS = {
    name: parameter.default for name, parameter in signature(ask).parameters.items()
    if name in Options.__annotations__}
