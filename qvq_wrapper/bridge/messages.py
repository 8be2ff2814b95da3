"""The messages of a job: read from the Space, queued for gradio_client, published to the call."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import httpx

from ..errors import SpaceConnectionError
from ..types import Stage, Status
from .connection import Connection
from .failures import one_line

_STAGES: dict[str, Stage] = {
    "IN_QUEUE": "queued", "PROCESSING": "processing", "PROGRESS": "processing",
    "LOG": "processing", "ITERATING": "streaming",
}
_MESSAGES = {
    "estimation", "process_starts", "process_generating", "process_completed", "progress", "log"}

OnText = Callable[[str], None]
OnStatus = Callable[[Status], None]


def publish(on_text: OnText, on_status: OnStatus, update: Any) -> None:
    """Called in mid-job, with gradio_client's lock held."""
    if update.type == "output" and not update.final and isinstance(update.outputs, str):
        on_text(update.outputs)
    elif update.type == "status" and update.code.name in _STAGES:
        on_status(_status(update))


class MessageQueue(deque[Any]):
    """The messages of a job, read from the Space by the thread that looks for one."""

    def __init__(self, messages: Iterator[dict[str, Any]]) -> None:
        super().__init__()
        self._messages = messages

    def __len__(self) -> int:
        if not super().__len__():
            self.extend([next(self._messages, None)])
        if self[0] is None:
            raise SpaceConnectionError("The Space ended its stream in mid-answer.", retryable=True)
        return super().__len__()


def read_messages(
    connection: Connection, url: str, session_hash: str, headers: dict[str, str]
) -> Generator[dict[str, Any], None, None]:
    """The messages of a session's job, as the Space sends them."""
    params = {"session_hash": session_hash}
    response = connection.send("GET", url, params=params, headers=headers, stream=True)
    with closing(response):
        # JSON writes a character in six bytes at most.
        for event in _read_events(response, 6 * connection.limits.max_chars + 65536):
            try:
                message = json.loads(event.removeprefix(b"data:"))
            except ValueError:
                message = None
            if not isinstance(message, dict):
                raise SpaceConnectionError(
                    "The line went bad: what arrived is no message of a Gradio Space.")
            kind = message.get("msg")
            connection.completed = connection.completed or kind == "process_completed"
            if kind == "unexpected_error":
                said = one_line(str(message.get("message")))
                raise SpaceConnectionError(f"The Space broke off: {said}", retryable=True)
            if kind in _MESSAGES:
                yield message


def _read_events(response: httpx.Response, largest: int) -> Iterator[bytes]:
    """The events of a stream, none of more than ``largest`` bytes.

    Split at blank lines: httpx's iter_lines also splits at U+2028, which Gradio sends as it is.
    """
    buffer = bytearray()
    for data in response.iter_bytes():
        start = max(0, len(buffer) - 1)
        buffer += data
        while (end := buffer.find(b"\n\n", start)) >= 0:
            event, start = bytes(buffer[:end]).strip(), 0
            del buffer[: end + 2]
            if event and not event.startswith(b":"):
                yield event
        if len(buffer) > largest:
            raise SpaceConnectionError(
                f"The line went bad: a message of more than {largest} bytes.")


def _status(update: Any) -> Status:
    """Return our Status for gradio_client's StatusUpdate."""
    unit = update.progress_data[-1] if update.progress_data else None
    progress = unit and unit.progress
    if unit and progress is None and unit.index is not None and unit.length:
        progress = unit.index / unit.length
    log = update.log[0] if update.log else unit and unit.desc
    position = None if update.rank is None else update.rank + 1
    return Status(
        _STAGES[update.code.name], position, update.queue_size, update.eta, progress,
        None if log is None else str(log))
