"""What any provider shares, and what g4f reads from a provider's class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ClassVar, ParamSpec, TypeVar

from .errors import ModelNotSupportedError
from .stream import AsyncResult
from .types import MediaListType, Messages

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def hide_arguments(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Keep the arguments, a token and a picture among them, out of tracebacks that show locals."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            refusal = error.with_traceback(None)
            refusal.__cause__ = refusal.__context__ = None
        del args, kwargs
        raise refusal

    return call


class _Params:
    """``get_params()`` as an attribute of the class, which g4f declares."""

    def __get__(self, instance: object, owner: type[AsyncGeneratorProvider]) -> str:
        return owner.get_params()


class AsyncGeneratorProvider(ABC):
    """A provider whose answers are async generators of text. All other forms use that one.

    The class itself can be handed to g4f, as ``g4f.client.Client(provider=...)`` or in a
    ``RetryProvider``: it has the attributes and methods of g4f's own providers.
    """

    label: ClassVar[str] = ""
    url: ClassVar[str] = ""
    working: ClassVar[bool] = False
    active_by_default: ClassVar[bool | None] = None  # None: as ``working``
    needs_auth: ClassVar[bool] = False
    supports_stream: ClassVar[bool] = True
    supports_message_history: ClassVar[bool] = True
    supports_system_message: ClassVar[bool] = True
    use_stream_timeout: ClassVar[bool] = True  # g4f then leaves ``timeout`` to us
    live: ClassVar[int] = 0  # g4f counts here: up with an answer, down with an error
    params = _Params()

    @classmethod
    @abstractmethod
    def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType | None = None,
        api_key: str | None = None, proxy: str | None = None, **kwargs: Any,
    ) -> AsyncResult:
        """Return the answer as a stream of text."""

    @classmethod
    @hide_arguments
    def create_completion(
        cls, model: str, messages: Messages, *args: Any, **kwargs: Any
    ) -> Generator[str, None, None]:
        """Return the chunks of the answer for synchronous code, also inside a running event loop.

        Takes what ``create_async_generator`` takes. The iterator's ``close()`` cancels the job.
        """
        return cls.create_async_generator(model, messages, *args, **kwargs).iterate()

    @classmethod
    @hide_arguments
    def create_async(
        cls, model: str, messages: Messages, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, str]:
        """Return the whole text when awaited. Takes what ``create_async_generator`` takes."""
        return cls.create_async_generator(model, messages, *args, **kwargs).read()

    @classmethod
    def get_dict(cls) -> dict[str, str]:
        """Return what g4f tells about the provider of an answer."""
        return {"name": cls.__name__, "url": cls.url, "label": cls.label}

    @classmethod
    def get_parent(cls) -> str:
        """Return the name under which g4f looks for a token in a dict of tokens."""
        return str(getattr(cls, "parent", cls.__name__))

    @classmethod
    def get_parameters(cls, as_json: bool = False) -> dict[str, Any]:
        """Return the parameters of ``create_async_generator`` by name, or their defaults."""
        everything = signature(cls.create_async_generator).parameters.items()
        known = {name: each for name, each in everything if each.kind is not Parameter.VAR_KEYWORD}
        if not as_json:
            return known
        defaults = {name: each.default for name, each in known.items()}
        return {name: None if each is Parameter.empty else each for name, each in defaults.items()}

    @classmethod
    def get_params(cls) -> str:
        """Return the parameters in one line, for people."""
        return f"{cls.__name__} supports: {signature(cls.create_async_generator)}"


class ProviderModelMixin:
    """The names of a provider's models."""

    default_model: ClassVar[str] = ""
    model_aliases: ClassVar[dict[str, str]] = {}
    models: ClassVar[list[str]] = []

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """Return the names that ``model`` can have. An empty list means any name."""
        return list(cls.models)

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """Return the model's own name. An alias is resolved; an empty name is the default.

        Raises:
            ModelNotSupportedError: the provider has no such model.
        """
        if not model:
            return cls.default_model
        if cls.models and model not in cls.models:
            raise ModelNotSupportedError(
                f"{cls.__name__} has no model {model!r}; it has: {', '.join(cls.models)}")
        return cls.model_aliases.get(model, model)
