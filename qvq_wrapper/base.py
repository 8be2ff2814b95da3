"""What any provider of this kind shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, ClassVar

from .errors import ModelNotSupportedError
from .stream import AsyncResult
from .types import MediaListType, Messages


class AsyncGeneratorProvider(ABC):
    """A provider whose answers are async generators of text; the other forms are made from that one."""

    @classmethod
    @abstractmethod
    def create_async_generator(
        cls,
        model: str,
        messages: Messages,
        media: MediaListType | None = None,
        api_key: str | None = None,
        proxy: str | None = None,
        **kwargs: Any,
    ) -> AsyncResult:
        """The answer, as it arrives."""

    @classmethod
    def create_completion(cls, model: str, messages: Messages, **kwargs: Any) -> Generator[str, None, None]:
        """The chunks of the answer for synchronous code; works inside a running event loop too.

        Takes what ``create_async_generator`` takes. ``close()`` on the iterator cancels the job.
        """
        return cls.create_async_generator(model, messages, **kwargs).iterate()

    @classmethod
    async def create_async(cls, model: str, messages: Messages, **kwargs: Any) -> str:
        """The whole text of the answer. Takes what ``create_async_generator`` takes."""
        async with cls.create_async_generator(model, messages, **kwargs) as stream:
            return await stream.read()


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
