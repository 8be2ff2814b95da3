"""What any provider of this kind shares, and what g4f reads from the class of a provider."""

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
        except (TypeError, ValueError) as error:
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
    """A provider whose answers are async generators of text; the other forms are made from that one.

    The class itself can be handed to g4f, as ``g4f.client.Client(provider=...)`` or in a ``RetryProvider``:
    it has the attributes and methods that g4f's own providers have.
    """

    label: ClassVar[str] = ""
    url: ClassVar[str] = ""
    working: ClassVar[bool] = False
    active_by_default: ClassVar[bool | None] = None  # None: as ``working``
    needs_auth: ClassVar[bool] = False
    supports_stream: ClassVar[bool] = True
    supports_message_history: ClassVar[bool] = True
    supports_system_message: ClassVar[bool] = True
    use_stream_timeout: ClassVar[bool] = True  # or g4f would apply ``timeout`` to each chunk
    live: ClassVar[int] = 0  # g4f counts here: up with an answer, down with an error
    params = _Params()

    @classmethod
    @abstractmethod
    def create_async_generator(
        cls, model: str, messages: Messages, media: MediaListType | None = None,
        api_key: str | None = None, proxy: str | None = None, **kwargs: Any,
    ) -> AsyncResult:
        """The answer, as it arrives."""

    @classmethod
    @hide_arguments
    def create_completion(
        cls, model: str, messages: Messages, *args: Any, **kwargs: Any
    ) -> Generator[str, None, None]:
        """The chunks of the answer for synchronous code; works inside a running event loop too.

        Takes what ``create_async_generator`` takes. ``close()`` on the iterator cancels the job.
        """
        return cls.create_async_generator(model, messages, *args, **kwargs).iterate()

    @classmethod
    @hide_arguments
    def create_async(
        cls, model: str, messages: Messages, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, str]:
        """The whole text of the answer, to be awaited. Takes what ``create_async_generator`` takes."""
        return cls.create_async_generator(model, messages, *args, **kwargs).read()

    @classmethod
    def get_dict(cls) -> dict[str, str]:
        """What g4f says about the provider of an answer."""
        return {"name": cls.__name__, "url": cls.url, "label": cls.label}

    @classmethod
    def get_parent(cls) -> str:
        """The name under which g4f looks for a token in a dict of them; ``parent`` if the class has one."""
        return str(getattr(cls, "parent", cls.__name__))

    @classmethod
    def get_parameters(cls, as_json: bool = False) -> dict[str, Any]:
        """The parameters of ``create_async_generator``, or with ``as_json`` their defaults, by name."""
        parameters = {
            name: parameter for name, parameter in signature(cls.create_async_generator).parameters.items()
            if parameter.kind is not Parameter.VAR_KEYWORD}
        if as_json:
            return {name: None if p.default is p.empty else p.default for name, p in parameters.items()}
        return parameters

    @classmethod
    def get_params(cls) -> str:
        """The same in one line, for people."""
        return f"{cls.__name__} supports: {signature(cls.create_async_generator)}"


class ProviderModelMixin:
    """The names of a provider's models."""

    default_model: ClassVar[str] = ""
    model_aliases: ClassVar[dict[str, str]] = {}
    models: ClassVar[list[str]] = []

    @classmethod
    def get_models(cls, **kwargs: Any) -> list[str]:
        """The names that ``model`` can have; empty where any is taken."""
        return list(cls.models)

    @classmethod
    def get_model(cls, model: str | None, **kwargs: Any) -> str:
        """The model's own name: an alias is resolved, an empty name is the default.

        Raises:
            ModelNotSupportedError: there is no such model.
        """
        if not model:
            return cls.default_model
        if cls.models and model not in cls.models:
            raise ModelNotSupportedError(
                f"{cls.__name__} has no model {model!r}; it has: {', '.join(cls.models)}")
        return cls.model_aliases.get(model, model)
