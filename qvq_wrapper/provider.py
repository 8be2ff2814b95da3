"""The documented class: QVQ-72B's Space, or any other with the same endpoint, asked about a picture."""

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
    """Qwen's QVQ-72B Space on Hugging Face. A subclass with another ``url`` is another Space."""

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
        """Ask the Space; the answer is an async generator of text that may also be awaited (to itself).

        Args:
            model: one of ``models``; empty for the default.
            messages: dicts with ``role`` and ``content``, a text or OpenAI's list of parts; the latest last.
            media: the picture, alone or as ``(picture, filename)``, in a list; the Space takes one. It is
                bytes, an open binary file, a path, a ``data:`` or http(s) URL, a PIL image, a numpy array,
                a matplotlib figure, or what else a notebook shows as PNG or JPEG.
            api_key: a Hugging Face token; goes to the Space's own origin and nowhere else.
            proxy: URL of an HTTP or SOCKS proxy for every connection; without it the environment counts.
            url: another Space for this call: a URL, or ``owner/name``.
            timeout: seconds for the whole answer; None or 0 for no limit (the default).
            read_timeout: seconds of silence on the line, 60 by default. A Space that works sends a sign
                of life every 15 s.
            max_retries: how often to ask again where no job can have started, 2 by default.
            max_chars: the length at which an answer is cut off with an error, 8 Mi by default.
            on_status: called with each ``Status``.
            headers: further headers for every request.
            verify: as httpx has it: True, False, or an ``ssl.SSLContext``.
            auth: user and password of a Space behind a login.
            **kwargs: what else names a parameter of the Space's endpoint is sent to it; the rest is left
                out.

        Raises:
            ValueError, TypeError: an argument cannot be used (``MediaError``, ``ModelNotSupportedError``);
                at once.
            ResponseError: something failed between here and the Space; while iterating.

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
        question = Question(
            access, "/" + cls.api_endpoint.rsplit("/", 1)[-1], prompt, _only_picture(media) or picture, kwargs)
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
            raise TypeError(
                f"ask() has no option {', '.join(sorted(unknown))}; it has: {', '.join(sorted(_OPTIONS))}. For "
                "a parameter of the Space's endpoint use create_async_generator().")
        messages = [{"role": "user", "content": [{"type": "text", "text": prompt}]}]
        media: MediaListType | None = None if image is None else [image]
        return cls.create_async_generator(model, messages, media, api_key, proxy, **options)


def _only_picture(media: Any) -> Picture | None:
    if media is None:
        return None
    if not isinstance(media, list):
        raise TypeError(
            f"media must be a list of pictures or (picture, filename) pairs, not {type(media).__name__}")
    if len(media) > 1:
        raise ValueError(f"media holds {len(media)} pictures; the Space takes one")
    for picture in media:
        source, filename = picture if isinstance(picture, (tuple, list)) and len(picture) == 2 else (picture, None)
        return picture_from(source, filename)
    return None


ask = Qwen_QVQ_72B.ask
