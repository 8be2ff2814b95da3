"""One private gradio_client session for each question, with every seam onto gradio_client.

A session's job runs whole in the thread that asks. What gradio_client does that makes a seam necessary
was seen in its version 2.7.2. A seam that a newer version no longer uses costs speed, not the answer.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import httpx
import huggingface_hub
from gradio_client import Client, exceptions, utils
from gradio_client.client import Endpoint

from ..errors import ResponseError, SpaceConnectionError, SpaceUnavailableError, plain
from ..media import Picture
from ..options import Question
from ..types import Stage, Status
from .connection import Connection
from .endpoint import fill_arguments, find_function
from .executors import DaemonExecutor, InlineExecutor
from .space import SpaceInfo

# For telling the Space that a job is no longer wanted, also through a slow proxy.
CANCEL_TIMEOUT = httpx.Timeout(5.0)
# Its answer is not waited for: gradio 6.31 gives it only when the app's current step has ended.
CANCEL_PATIENCE = 0.3
HEARTBEAT_TIMEOUT = httpx.Timeout(0.5)  # for each of connecting, TLS, sending and the first byte

_STAGES: dict[str, Stage] = {
    "IN_QUEUE": "queued", "PROCESSING": "processing", "PROGRESS": "processing", "LOG": "processing",
    "ITERATING": "streaming",
}
_MESSAGES = {"estimation", "process_starts", "process_generating", "process_completed", "progress", "log"}

NO_FILE = f"/qvq_wrapper-{uuid4()}/picture"
"""Stands for a picture that is uploaded from memory. There must be no such file."""

OnText = Callable[[str], None]
OnStatus = Callable[[Status], None]


def ask(
    question: Question, connection: Connection, on_text: OnText, on_status: OnStatus,
    afterwards: list[Callable[[], None]],
) -> None:
    """Ask once, from the Space's info to its final output; blocks until all of it was handed over.

    Args:
        afterwards: gets what is left to be done once the end has been reported.

    Raises:
        Exception: whatever went wrong; ``failures.from_exception`` knows them all.
    """
    space = connection.space
    info = space.info(connection)
    try:
        function, arguments = _prepare(info, question)
    except SpaceUnavailableError:  # is this still the same app?
        info = space.info(connection, check=True)
        function, arguments = _prepare(info, question)
    connection.cookies = info.cookies
    session = Session(info, connection, function, question.picture, on_text, on_status)
    if info.config.get("connect_heartbeat"):
        afterwards.append(session.end_on_server)
    try:
        output = session.ask(arguments)
    except BaseException:
        session.cancel()
        raise
    finally:
        connection.drain(wait=False)
    space.confirm(info)
    if not isinstance(output, str):
        raise ResponseError(f"The Space's output is no text but {type(output).__name__}.")
    on_text(output)


def _prepare(info: SpaceInfo, question: Question) -> tuple[Any, list[Any]]:
    picture = None
    if question.picture:
        picture = {"path": question.picture.url or NO_FILE, "meta": {"_type": "gradio.FileData"}}
    arguments = fill_arguments(info.api, question.api_name, picture, question.prompt, question.extras)
    return find_function(info.config, question.api_name), arguments


class Session(Client):
    """A gradio_client session for one job."""

    def __init__(
        self, info: SpaceInfo, connection: Connection, function: Any, picture: Picture | None,
        on_text: OnText, on_status: OnStatus,
    ) -> None:
        self._space_info = info
        self._connection = connection
        self._function = function
        self._picture = picture
        self._publish = partial(_publish, on_text, on_status)
        self._event_id: str | None = None
        self._helper: Any = None
        options: dict[str, Any] = connection.options
        cookies = {cookie.name: cookie.value for cookie in info.cookies.jar}
        with _no_telemetry():
            super().__init__(
                connection.url,
                token=False,  # type: ignore[arg-type]  # None would send the token saved on this machine
                verbose=False,
                download_files=False,
                ssl_verify=options.pop("verify"),
                httpx_kwargs={**options, "auth": connection, "cookies": cookies},
            )
        self.executor = InlineExecutor()  # type: ignore[assignment]
        self.helper_executor = _HelperExecutor()  # type: ignore[assignment]
        self.stream_executor = DaemonExecutor()  # type: ignore[assignment]
        if picture:
            endpoint = self.endpoints[function]
            endpoint._upload_file = partial(  # type: ignore[method-assign]
                _upload, picture, info.config.get("max_file_size"), connection, self.upload_url,
                MethodType(Endpoint._upload_file, weakref.proxy(endpoint)))

    def ask(self, arguments: list[Any]) -> Any:
        """The job's final output."""
        try:
            return self.submit(*arguments, fn_index=self._function).result()
        except FileNotFoundError:
            if not self._picture or self._connection.may_have_job:
                raise
        # gradio_client did not call our upload: nothing was sent yet, and its own needs a file.
        name, data = self._picture.load(self.config.get("max_file_size"))
        with tempfile.TemporaryDirectory(prefix="qvq_wrapper-") as folder:
            file = Path(folder, name)
            file.write_bytes(data)
            for argument in arguments:
                if isinstance(argument, dict) and argument.get("path") == NO_FILE:
                    argument["path"] = str(file)
            return self.submit(*arguments, fn_index=self._function).result()

    def cancel(self) -> None:
        """Tell the Space that the job is no longer wanted, if there may be one."""
        if self._connection.completed or not self._connection.may_have_job:
            return
        if self._connection.messages:
            self._connection.messages.close()
        event_id = self._event_id or self._helper and self._helper.event_id
        job = {
            "fn_index": self._function,
            "session_hash": self.session_hash,
            "event_id": event_id or "",  # not known: the session's only job
        }
        self._tell("POST", utils.CANCEL_URL, CANCEL_TIMEOUT, CANCEL_PATIENCE, json=job)

    def end_on_server(self) -> None:
        """Open and close the session's heartbeat: without one, the Space would keep its state for ever."""
        if self._connection.may_have_job:
            heartbeat = utils.HEARTBEAT_URL.format(session_hash=self.session_hash)
            self._tell("GET", heartbeat, HEARTBEAT_TIMEOUT, alone=True, stream=True)

    def _tell(
        self, method: str, path: str, timeout: httpx.Timeout, patience: float | None = None,
        alone: bool = False, **options: Any,
    ) -> None:
        """Send a request whose answer is of no interest."""
        connection = Connection(
            self._connection.space, self._connection.limits, lambda stage: None, alone=alone)
        connection.cookies, connection.timeout = self._space_info.cookies, timeout
        connection.patience = patience
        with suppress(Exception):
            response = connection.send(
                method, urljoin(self.src_prefixed, path), headers=self.headers, **options)
            next(response.iter_raw(), None)
            response.close()
        connection.close()

    def send_data(self, data: Any, hash_data: Any, protocol: Any, request_headers: Any) -> str:
        """Hand in the question, and have the job's own thread read its messages."""
        connection = self._connection
        headers = {**(request_headers or {}), **self.headers}
        response = connection.send(
            "POST", self.sse_data_url, json={**data, **hash_data}, headers=headers, again=False)
        invalid = utils.extract_validation_message(response)
        if invalid is not None:
            raise exceptions.ValidationError(invalid)
        self._event_id = str(response.json()["event_id"])
        messages = _read_messages(connection, self.sse_url, self.session_hash, self.headers)
        connection.messages = messages
        with self.pending_lock:
            self.pending_messages_per_event[self._event_id] = _MessageQueue(messages)
        return self._event_id

    def new_helper(self, fn_index: int, *args: Any, **kwargs: Any) -> Any:
        helper = self._helper = super().new_helper(fn_index, *args, **kwargs)
        helper.job.outputs = deque(maxlen=1)  # type: ignore[assignment] # every text so far would be kept
        helper.updates = SimpleNamespace(put_nowait=self._publish)  # type: ignore[assignment]
        return helper

    def _get_config(self) -> dict[str, Any]:
        return {**self._space_info.config, "connect_heartbeat": False}  # a thread and a connection

    def _get_api_info(self) -> dict[str, Any]:
        return self._space_info.api

    def _telemetry_thread(self) -> None:
        """Sends nothing. analytics_enabled=False alone would not see to that."""

    def _stream_heartbeat(self, *args: Any) -> None:  # type: ignore[override]
        """Keeps no connection; up to 2.7.1 each session would, and for ever, whatever the config says."""


def _upload(
    picture: Picture, limit: float | None, connection: Connection, url: str,
    upload_file: Callable[..., dict[str, Any]], file: dict[str, Any], data_index: int,
) -> dict[str, Any]:
    """Upload the picture from memory, and any other file as gradio_client does it."""
    if file["path"] != NO_FILE:
        return upload_file(file, data_index)
    name, data = picture.load(limit)
    # A BytesIO is sent in pieces of 64 kB, bytes would be copied anew for each packet.
    response = connection.send("POST", url, files={"files": (name, io.BytesIO(data))})
    return {"path": response.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def _publish(on_text: OnText, on_status: OnStatus, update: Any) -> None:
    """Called in mid-job, with gradio_client's lock held."""
    if update.type == "output" and not update.final and isinstance(update.outputs, str):
        on_text(update.outputs)
    elif update.type == "status" and update.code.name in _STAGES:
        on_status(_status(update))


class _MessageQueue(deque[Any]):
    """The messages of a job, read from the Space by the thread that looks for one."""

    def __init__(self, messages: Iterator[dict[str, Any]]) -> None:
        super().__init__()
        self._messages = messages

    def __len__(self) -> int:
        if not super().__len__():
            message = next(self._messages, None)
            if message is None:
                raise SpaceConnectionError("The line to the Space broke off in mid-answer.", retryable=True)
            self.append(message)
        return super().__len__()


def _read_messages(
    connection: Connection, url: str, session_hash: str, headers: dict[str, str]
) -> Generator[dict[str, Any], None, None]:
    """The messages of a session's job, as the Space sends them."""
    response = connection.send(
        "GET", url, params={"session_hash": session_hash}, headers=headers, stream=True)
    try:
        # JSON writes a character in six bytes at most.
        for message in _json_events(response, 6 * connection.limits.max_chars + 65536):
            kind = message.get("msg")
            connection.completed = connection.completed or kind == "process_completed"
            if kind == "unexpected_error":
                raise SpaceConnectionError(
                    f"The Space broke off: {plain(str(message.get('message')))}", retryable=True)
            if kind in _MESSAGES:
                yield message
    finally:
        response.close()


def _json_events(response: httpx.Response, largest: int) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream of events, none of more than ``largest`` bytes.

    Split at blank lines: httpx's iter_lines also splits at U+2028, which Gradio sends as it is.
    """
    buffer = bytearray()
    for data in response.iter_bytes():
        start = max(0, len(buffer) - 1)
        buffer += data
        while (end := buffer.find(b"\n\n", start)) >= 0:
            event, start = bytes(buffer[:end]).strip(), 0
            del buffer[: end + 2]
            if not event or event.startswith(b":"):
                continue
            try:
                message = json.loads(event.removeprefix(b"data:"))
            except ValueError:
                message = None
            if not isinstance(message, dict):
                raise SpaceConnectionError("The line went bad: what arrived is no message of a Gradio Space.")
            yield message
        if len(buffer) > largest:
            raise SpaceConnectionError(f"The line went bad: a message of more than {largest} bytes.")


def _status(update: Any) -> Status:
    """Our words for gradio_client's StatusUpdate."""
    unit = update.progress_data[-1] if update.progress_data else None
    progress = unit and unit.progress
    if unit and progress is None and unit.index is not None and unit.length:
        progress = unit.index / unit.length
    log = update.log[0] if update.log else unit and unit.desc
    return Status(
        stage=_STAGES[update.code.name],
        position=None if update.rank is None else update.rank + 1,
        queue_size=update.queue_size,
        eta=update.eta,
        progress=progress,
        log=None if log is None else str(log),
    )


class _HelperExecutor(DaemonExecutor):
    """gradio_client's two helpers of a job, without a thread for either."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn is utils.check_for_cancel:  # polls, and posts past the proxy; a cut ends the job
            return Future()
        if fn is utils.stream_sse_v1plus:
            return InlineExecutor().submit(fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)


_telemetry_lock = threading.Lock()
_telemetry_off = huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep huggingface_hub from asking the Hub for a list of AI agents while a Client is built.

    Its ``build_hf_headers`` does, in 2.4, past the proxy and for up to 3 s. The environment that
    switches it off is read at import, so that only the module's constant is left.
    """
    global _telemetry_off
    constants = huggingface_hub.constants
    with _telemetry_lock:
        _telemetry_off, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_TELEMETRY = _telemetry_off


def _after_fork() -> None:
    """A thread that was building a Client is not there to undo what it did."""
    global _telemetry_lock
    if _telemetry_lock.locked():
        huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = _telemetry_off
    _telemetry_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
