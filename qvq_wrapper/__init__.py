"""Ask a vision model on Hugging Face Spaces about a picture and stream its answer.

``ask`` asks one question; ``help(ask)`` lists its options. ``Qwen_QVQ_72B`` is the same as a class
for callers of many providers. Both return an ``AnswerStream``. ``endpoints`` tells what another
Space offers.

``qvq_wrapper.notebook.show`` displays an answer in Jupyter, ``qvq_wrapper.batch`` asks many
questions, and ``qvq_wrapper.serve`` runs a Space of your own.

Example::

    import asyncio
    from qvq_wrapper import ask

    print(asyncio.run(ask("What is the area?", "triangle.png").read()))
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
from .listing import endpoints
from .provider import Qwen_QVQ_72B, ask
from .stream import AnswerStream, AsyncResult
from .types import EndpointInfo, ImageType, MediaListType, Messages, ParameterInfo, Status

__version__ = "0.3.0"

__all__ = [
    "AnswerStream",
    "AsyncGeneratorProvider",
    "AsyncResult",
    "AuthenticationError",
    "EndpointInfo",
    "ImageType",
    "MediaError",
    "MediaListType",
    "Messages",
    "ModelNotSupportedError",
    "ParameterInfo",
    "ProviderModelMixin",
    "Qwen_QVQ_72B",
    "RateLimitError",
    "ResponseError",
    "ResponseTimeoutError",
    "SpaceConnectionError",
    "SpaceUnavailableError",
    "Status",
    "ask",
    "endpoints",
]


def __getattr__(name: str) -> Any:
    """Import a part that few programs need as soon as it is used, such as ``qvq_wrapper.serve``."""
    if name in ("batch", "notebook", "serve"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
