"""The types of the interface: messages, pictures and the status of an answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Literal, Optional, Protocol, Union

Messages = list[dict[str, Any]]
"""A conversation in the form that OpenAI made common: dicts with ``role`` and ``content``."""


class ShowsPng(Protocol):
    """What a notebook shows as a PNG: a PIL image, an ``IPython.display.Image``, ..."""

    def _repr_png_(self) -> Any: ...


class ShowsJpeg(Protocol):
    """What a notebook shows as a JPEG."""

    def _repr_jpeg_(self) -> Any: ...


class HasFigure(Protocol):
    """A matplotlib figure, or an Axes, which stands for its figure."""

    @property
    def figure(self) -> Any: ...


class Tensor(Protocol):
    """A numpy array, or what converts itself to one: a PyTorch, JAX or TensorFlow tensor."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class Upload(Protocol):
    """Starlette's and FastAPI's ``UploadFile``."""

    @property
    def file(self) -> BinaryIO: ...


class WrapsFile(Protocol):
    """A file of ``anyio.open_file`` or ``trio.open_file``."""

    @property
    def wrapped(self) -> IO[bytes]: ...


ImageType = Union[
    bytes, bytearray, memoryview, str, "os.PathLike[str]", BinaryIO, Upload, WrapsFile,
    ShowsPng, ShowsJpeg, HasFigure, Tensor]
"""A picture: bytes, an open binary file, a path, a ``file:``, ``data:`` or http(s) URL, or such an
object."""

MediaListType = list[Union[ImageType, tuple[ImageType, Optional[str]]]]
"""Pictures, each alone or with the file name that the Space is told."""

Stage = Literal[
    "idle", "connecting", "uploading", "queued", "processing",
    "streaming", "finished", "failed", "cancelled",
]


_STAGE_WORDS: dict[Stage, str] = {
    "idle": "Connecting to the Space", "connecting": "Connecting to the Space",
    "uploading": "Sending the picture", "queued": "In the queue",
    "processing": "The Space is at work", "streaming": "The Space is at work",
    "finished": "Finished", "failed": "Failed", "cancelled": "Cancelled",
}


@dataclass(frozen=True)
class Status:
    """How far an answer is. A field that is not known is None.

    Attributes:
        stage: ``idle``, ``connecting``, ``uploading``, ``queued``, ``processing``, ``streaming``,
            and at the end ``finished``, ``failed`` or ``cancelled``.
        position: the place in the Space's queue; 1 is next.
        queue_size: the length of the queue.
        eta: the Space's own guess of the wait, in seconds.
        progress: the part that is done, from 0 to 1.
        log: a message that the Space shows its users.
    """

    stage: Stage = "idle"
    position: int | None = None
    queue_size: int | None = None
    eta: float | None = None
    progress: float | None = None
    log: str | None = None

    def describe(self) -> list[str]:
        """Return what a person wants to read while waiting, in a few words each."""
        words = [_STAGE_WORDS[self.stage]]
        if self.position is not None:
            of_all = f" of {self.queue_size}" if self.queue_size else ""
            words.append(f"place {self.position}{of_all}")
        if self.eta:
            words.append(f"about {describe_seconds(self.eta)} to wait")
        if self.progress is not None:
            words.append(f"{self.progress:.0%}")
        if self.log:
            words.append(self.log)
        return words


def describe_seconds(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@dataclass(frozen=True)
class ParameterInfo:
    """A parameter of a Space's endpoint, as the Space describes it.

    Attributes:
        name: the name for ``parameters={name: ...}``.
        component: what it is on the Space's page, in small letters, such as ``slider``.
        type: the type of its values in Python's words, such as ``float``.
        required: whether it has no default.
        default: the value that it has if you give none. None if it is required.
    """

    name: str
    component: str
    type: str
    required: bool
    default: Any


@dataclass(frozen=True)
class EndpointInfo:
    """An endpoint of a Space, as the Space describes it.

    Attributes:
        name: the name for ``api_name``, such as ``/describe``.
        fits: whether it can be asked a question about a picture, with nothing else given.
        problem: why it does not fit. An empty string if it does.
        picture: the name of the parameter that ``ask`` sends the picture in, or None.
        prompt: the name of the parameter that ``ask`` sends the prompt in, or None.
        parameters: all of its parameters, in the Space's order.
    """

    name: str
    fits: bool
    problem: str
    picture: str | None
    prompt: str | None
    parameters: tuple[ParameterInfo, ...]
