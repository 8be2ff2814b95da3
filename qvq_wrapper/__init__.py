"""Ask a vision model on Hugging Face Spaces about a picture and stream its answer.

``ask`` is the short form. ``Qwen_QVQ_72B`` is the same as a class for callers of many providers.
Both return an ``AnswerStream``. See ``help(ask)`` for the options.
"""

from importlib import import_module
from typing import Any

from .base import AsyncGeneratorProvider, ProviderModelMixin
from .errors import (
    AuthenticationError,
    MediaError,
    ModelNotSupportedError,
    RateLimitError,
    ResponseError,
    ResponseTimeoutError,
    SpaceConnectionError,
    SpaceUnavailableError,
)
from .provider import Qwen_QVQ_72B, ask
from .stream import AnswerStream, AsyncResult
from .types import ImageType, MediaListType, Messages, Status

__version__ = "0.2.0"

__all__ = [
    "AnswerStream",
    "AsyncGeneratorProvider",
    "AsyncResult",
    "AuthenticationError",
    "ImageType",
    "MediaError",
    "MediaListType",
    "Messages",
    "ModelNotSupportedError",
    "ProviderModelMixin",
    "Qwen_QVQ_72B",
    "RateLimitError",
    "ResponseError",
    "ResponseTimeoutError",
    "SpaceConnectionError",
    "SpaceUnavailableError",
    "Status",
    "ask",
]


def __getattr__(name: str) -> Any:
    """Import a part that few programs need as soon as it is used, such as ``qvq_wrapper.serve``."""
    if name in ("batch", "notebook", "serve"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
