"""The messages of a job: read from the Space, queued for gradio_client, published to the call."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import httpx

from ..errors import SpaceConnectionError
from ..types import Stage, Status
from .bounds import MAX_JSON_BYTES, check_outputs, load_json
from .connection import Connection
from .failures import CallCancelled, nonsense, one_line
from .outputs import TextFinder

MAX_LOG_CHARS = 2000  # of a message that the Space shows its users

_STAGES: dict[str, Stage] = {  # by the kind of message
    "estimation": "queued", "process_starts": "processing", "progress": "processing",
    "log": "processing", "process_generating": "streaming",
}
_STREAMING = Status("streaming")

OnText = Callable[[str], None]
OnStatus = Callable[[Status], None]


def publish(on_text: OnText, finder: TextFinder, update: Any) -> None:
    """Pass on the text of gradio_client's update. It calls this with its lock held."""
    if update.type == "output" and not update.final:
        text = finder.find(update.outputs)
        if text is not None:
            on_text(text)


class MessageQueue:
    """A job's messages. Taking one waits for the Space, so there always seems to be one."""

    def __init__(self, messages: Iterator[dict[str, Any]]) -> None:
        self._messages = messages

    def __len__(self) -> int:
        return 1

    def popleft(self) -> dict[str, Any]:
        return next(self._messages)


def space_messages(
    connection: Connection, url: str, session_hash: str, event_id: str, headers: dict[str, str],
    on_status: OnStatus,
) -> Generator[dict[str, Any], None, None]:
    """Yield the messages of a session's job, as the Space sends them, and pass on the statuses.

    Raises:
        CallCancelled: the call's reader is gone.
    """
    params, most = {"session_hash": session_hash}, connection.limits.max_chars
    response = connection.send("GET", url, params=params, headers=headers, stream=True)
    sizes: list[int] = []  # of the outputs
    with closing(response):
        # JSON writes a character in six bytes at most.
        for event in _read_events(response, 6 * most + 65536):
            if connection.cancelled:  # one read can bring many messages
                raise CallCancelled
            if connection.completed:  # what follows is only read to its end
                continue
            message = load_json(event.removeprefix(b"data:"), MAX_JSON_BYTES + 6 * most)
            if not isinstance(message, dict):
                raise nonsense("no message of a Gradio Space")
            kind = message.get("msg")
            if kind == "unexpected_error":
                said = one_line(str(message.get("message")))
                raise SpaceConnectionError(f"The Space broke off: {said}", retryable=True)
            if message.get("event_id") not in (None, event_id):
                raise nonsense("a message of another question")
            if kind == "process_generating":
                check_outputs(message, sizes, 4 * most + 65536)
            if kind == "process_completed":
                connection.completed = True
            elif kind in _STAGES:
                on_status(_STREAMING if kind == "process_generating" else _status(message))
            else:  # such as a heartbeat, on which gradio_client fails
                continue
            yield message
    if not connection.completed:
        raise SpaceConnectionError(
            "The Space ended its stream before the answer was complete.", retryable=True)


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
            raise nonsense(f"a message of more than {largest} bytes")


def _status(message: dict[str, Any]) -> Status:
    """Return the status that a message tells. What a Space says can be of any type."""
    unit = (message.get("progress_data") or [{}])[-1]
    progress, index, length = (_number(unit.get(name)) for name in ("progress", "index", "length"))
    if progress is None and index is not None and length:
        progress = index / length
    rank, queue_size = _number(message.get("rank")), _number(message.get("queue_size"))
    log = message.get("log") or unit.get("desc")
    if log is not None:
        log = str(log)[:MAX_LOG_CHARS].encode("utf-8", "replace").decode()
    return Status(
        _STAGES[message["msg"]],
        position=None if rank is None else int(rank) + 1,
        queue_size=None if queue_size is None else int(queue_size),
        eta=_number(message.get("rank_eta")),
        progress=None if progress is None else min(1.0, progress),
        log=log)


def _number(value: Any) -> float | None:
    """Return a finite number that is not negative, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < 1e9 else None
