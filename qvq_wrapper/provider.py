"""The documented class, which asks QVQ-72B's Space, or another one, about a picture."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

from .base import AsyncGeneratorProvider, ProviderModelMixin, hide_arguments
from .question.media import Picture, picture_from
from .question.options import Access, Limits, Question
from .question.prompt import read_messages
from .stream import AsyncResult
from .types import ImageType, MediaListType, Messages

_LIMITS = {field.name for field in fields(Limits)}
_OPTIONS = {*_LIMITS, "url", "headers", "verify", "auth"}


class Qwen_QVQ_72B(AsyncGeneratorProvider, ProviderModelMixin):
    """Qwen's QVQ-72B Space on Hugging Face. A subclass with another ``url`` asks another Space."""

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
        """Ask the Space about a picture. The answer is an async generator that can also be awaited.

        Args:
            model: one of ``models``; empty for the default.
            messages: dicts with ``role`` and ``content``. The content is a text, or a list of parts
                as OpenAI has it. The latest message is the last.
            media: a list with the picture, alone or as ``(picture, filename)``. A picture is bytes,
                an open binary file, a path, a ``data:`` or http(s) URL, a PIL image, a numpy array,
                a matplotlib figure, or an object that a notebook shows as PNG or JPEG.
            api_key: a Hugging Face token. It goes to the Space's own origin and nowhere else.
            proxy: URL of an HTTP or SOCKS proxy for every connection. Without it, the environment's
                proxies are used.
            url: another Space for this call: a URL, or ``owner/name``.
            timeout: seconds for the whole answer. None or 0 is no limit, which is the default.
            read_timeout: seconds without a byte from the Space, 60 by default. A Space that works
                sends a sign of life every 15 s.
            max_retries: how often to ask again where no job can have started, 2 by default.
            max_chars: the length at which an answer is cut off with an error, 8 Mi by default.
            on_status: called with each ``Status``.
            headers: further headers for every request.
            verify: as httpx has it: True, False, or an ``ssl.SSLContext``.
            auth: user and password of a Space behind a login.
            **kwargs: sent if the endpoint has a parameter of that name, and ignored otherwise.

        Raises:
            ValueError, TypeError: an argument cannot be used (``MediaError``,
                ``ModelNotSupportedError``). Raised by the call itself, before anything is sent.
            ResponseError: something failed in the Space or on the way to it. Raised by iterating.

        Example::

            messages = [{"role": "user", "content": "What is the area?"}]
            async for chunk in Qwen_QVQ_72B.create_async_generator("", messages, ["triangle.png"]):
                print(chunk, end="")
        """
        cls.get_model(model)
        options = {name: kwargs.pop(name) for name in _OPTIONS & kwargs.keys()}
        limits = Limits(**{name: options.pop(name) for name in _LIMITS & options.keys()})
        url = options.pop("url", None)
        access = Access.checked(cls.url if url is None else url, api_key, proxy=proxy, **options)
        prompt, picture = read_messages(messages)
        named = kwargs.pop("api_name", None)
        api_name = named or cls.api_endpoint.rsplit("/", 1)[-1]
        is_named = bool(named) or cls.api_endpoint != Qwen_QVQ_72B.api_endpoint
        picture = _only_picture(media) or picture
        parameters = kwargs.pop("parameters", {})
        question = Question(access, api_name, is_named, prompt, picture, parameters, kwargs)
        return AsyncResult(question, limits)

    @classmethod
    @hide_arguments
    def ask(
        cls, prompt: str, image: ImageType | None = None, *, model: str = "",
        api_key: str | None = None, proxy: str | None = None, **options: Any,
    ) -> AsyncResult:
        """Ask about a picture: the short form of ``create_async_generator``, with the same options.

        Raises:
            TypeError: an option is unknown.

        Example::

            print(await ask("What is the area?", "triangle.png").read())
        """
        unknown = options.keys() - _OPTIONS
        if unknown:
            names, known = ", ".join(sorted(unknown)), ", ".join(sorted(_OPTIONS))
            raise TypeError(
                f"ask() has no option {names}; it has: {known}. For a parameter of the Space's "
                "endpoint use create_async_generator().")
        messages = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        media: MediaListType | None = None if image is None else [image]
        return cls.create_async_generator(model, messages, media, api_key, proxy, **options)


def _only_picture(media: Any) -> Picture | None:
    if media is None:
        return None
    if not isinstance(media, list):
        kind = type(media).__name__
        raise TypeError(f"media must be a list of pictures or (picture, filename), not {kind}")
    if len(media) > 1:
        raise ValueError(f"media holds {len(media)} pictures; the Space takes one")
    for picture in media:
        if isinstance(picture, (tuple, list)) and len(picture) == 2:
            return picture_from(*picture)
        return picture_from(picture)
    return None


ask = Qwen_QVQ_72B.ask
