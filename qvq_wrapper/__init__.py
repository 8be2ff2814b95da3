"""Ask QVQ-72B's Space, or another with the same endpoint, about a picture and stream the answer."""

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

__version__ = "0.1.0"

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
