"""One private gradio_client session for each question, with all overrides of gradio_client.

The whole job runs in the call's own thread. The table lists what is overridden, as of gradio_client
2.7.2. If a newer version no longer calls one, the answer still arrives. The last column says what
is lost.

======================= ======================================== ===============================
gradio_client's name    what gradio_client's own does            what is lost without ours
======================= ======================================== ===============================
``_get_config``,        fetches both anew for each client        two round trips
``_get_api_info``
``analytics_enabled``,  starts a thread that asks the Hub        the proxy is passed by
``_telemetry_thread``
``_stream_heartbeat``   up to 2.7.1 keeps a connection open      a thread and a connection
``executor``,           starts threads, which are joined at the  threads
``helper_executor``     interpreter's exit
``send_data``           opens a connection for each request and  the kept connection; words
                        polls for messages every 50 ms           come up to 50 ms late; a cancel
                                                                 ends the job at its next
                                                                 message; its own reader is
                                                                 joined at the exit; no status
                                                                 comes; the picture is not marked
                                                                 as a file, and so some
                                                                 components refuse it
``new_helper``          keeps every text so far, and queues all  the answer comes only at its
                        updates for asyncio                      end
======================= ======================================== ===============================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import closing, suppress
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import httpx
from gradio_client import Client, exceptions, utils

from ..errors import ResponseError
from ..question.media import Picture
from ..question.options import Question
from ..types import Status
from .connection import Connection, KeptClient
from .endpoint import find_endpoint
from .info import SpaceInfo
from .messages import MessageQueue, OnStatus, OnText, publish, space_messages
from .telemetry import no_telemetry
from .tls import tls_context

# Seconds to wait for the answer to /cancel. gradio 6.31 sends it only after the app's current step.
CANCEL_PATIENCE = 0.3
HEARTBEAT_PATIENCE = 1.0  # seconds to wait for its first byte
META = {"meta": {"_type": "gradio.FileData"}}  # marks a dict as a file of Gradio's


def answer(
    question: Question, info: SpaceInfo, connection: Connection, on_text: OnText,
    on_status: OnStatus,
) -> None:
    """Ask a question, and pass on the answer. Blocks until the final output is there.

    Raises:
        Exception: whatever went wrong; ``failures.from_exception`` knows them all.
    """
    endpoint, picture = find_endpoint(info.config, info.api, question), question.picture
    file: dict[str, Any] = {}  # filled in by the upload; the arguments refer to it
    arguments, finder = endpoint.arguments(question, file if picture else None), endpoint.finder()
    connection.http.cookies = httpx.Cookies(info.cookies)
    if picture and picture.url:
        file |= {"path": picture.url} | META
    elif picture:
        on_status(Status("uploading"))
        file |= _upload(picture, connection, info)
    session = Session(
        info, connection, endpoint.function, file, partial(publish, on_text, finder), on_status)
    try:
        output = session.submit(*arguments, fn_index=endpoint.function).result()
    except BaseException:
        session.cancel()
        raise
    finally:
        if info.config.get("connect_heartbeat") and connection.may_have_job:
            connection.farewell = session.end_on_server
    text = finder.find(output, final=True)
    if text is None:
        raise ResponseError(f"The Space's output is no text but {type(output).__name__}.")
    on_text(text)


def _upload(picture: Picture, connection: Connection, info: SpaceInfo) -> dict[str, Any]:
    name, data = picture.load(info.config.get("max_file_size"))
    # httpx sends a BytesIO in pieces of 64 kB. Plain bytes would be copied for each packet.
    files = {"files": (name, BytesIO(data))}
    response = connection.send("POST", urljoin(info.root, utils.UPLOAD_URL), files=files)
    return {"path": response.json()[0], "orig_name": name}


class JobExecutor(Executor):
    """Runs each task in the thread that submits it.

    A pool's threads would be joined at the interpreter's exit.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if fn is utils.check_for_cancel:
            return future  # it polls, and posts past the proxy: we cut the job's connection instead
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Session(Client):
    """A gradio_client session for one job."""

    # gradio_client starts a thread for telemetry where this is true, whatever it is told.
    analytics_enabled = property(lambda self: False, lambda self, value: None)

    def __init__(
        self, info: SpaceInfo, connection: Connection, function: Any, file: dict[str, Any],
        publish: Callable[[Any], None], on_status: OnStatus,
    ) -> None:
        self._space_info, self._connection = info, connection
        self._function, self._file = function, file
        self._publish, self._on_status = publish, on_status
        self._event_id = ""  # gradio 6.31 takes this in /cancel for the session's only job
        cookies = {each.name: each.value for each in info.cookies.jar}
        # For requests that a newer gradio_client makes by itself.
        options = {
            "auth": connection, "cookies": cookies, "proxy": connection.http.proxy,
            "trust_env": False, "timeout": connection.limits.read_timeout}
        with no_telemetry():
            super().__init__(
                connection.url, verbose=False, download_files=False,
                token=False,  # type: ignore[arg-type]  # None would send one saved on this machine
                ssl_verify=tls_context(connection.access.verify), httpx_kwargs=options)
        self.executor = self.helper_executor = JobExecutor()  # type: ignore[assignment]

    def cancel(self) -> None:
        """Tell the Space that the job is no longer wanted, if there may be one."""
        connection = self._connection
        if connection.may_have_job and not connection.completed:
            job = {
                "fn_index": self._function, "session_hash": self.session_hash,
                "event_id": self._event_id}
            self._send_apart("POST", utils.CANCEL_URL, CANCEL_PATIENCE, json=job)

    def end_on_server(self) -> None:
        """Open and close the session's heartbeat: then the Space drops the session's state."""
        path = utils.HEARTBEAT_URL.format(session_hash=self.session_hash)
        self._send_apart("GET", path, HEARTBEAT_PATIENCE, stream=True)

    def _send_apart(self, method: str, path: str, patience: float, **options: Any) -> None:
        """Send a request over a connection of its own. Its response is of no interest."""
        access, limits = self._connection.access, self._connection.limits
        with suppress(Exception), closing(KeptClient(access)) as client:
            client.cookies = httpx.Cookies(self._space_info.cookies)
            response = Connection(access, client, limits).send(
                method, urljoin(self.src_prefixed, path), headers=self.headers, patience=patience,
                **options)
            next(response.iter_bytes(), None)  # a heartbeat has begun with its first byte

    def send_data(self, data: Any, hash_data: Any, protocol: Any, request_headers: Any) -> str:
        """Hand in the question, and have the job's own thread read its messages."""
        if self._file:
            # With the mark, gradio_client itself would upload a file of this machine.
            data = utils.traverse(data, lambda file: file | META, lambda each: each == self._file)
        connection, headers = self._connection, {**(request_headers or {}), **self.headers}
        response = connection.send(
            "POST", self.sse_data_url, json={**data, **hash_data}, headers=headers)
        invalid = utils.extract_validation_message(response)
        if invalid is not None:
            raise exceptions.ValidationError(invalid)
        self._event_id = str(response.json()["event_id"])
        connection.messages = space_messages(
            connection, self.sse_url, self.session_hash, self._event_id, self.headers,
            self._on_status)
        queue: Any = MessageQueue(connection.messages)
        self.pending_messages_per_event[self._event_id] = queue
        return self._event_id

    def new_helper(self, fn_index: int, *args: Any, **kwargs: Any) -> Any:
        helper = super().new_helper(fn_index, *args, **kwargs)
        helper.job.outputs = deque(maxlen=1)  # type: ignore[assignment]
        helper.updates = SimpleNamespace(put_nowait=self._publish)  # type: ignore[assignment]
        return helper

    def _get_config(self) -> dict[str, Any]:
        return self._space_info.config | {"connect_heartbeat": False}

    def _get_api_info(self) -> dict[str, Any]:
        return self._space_info.api

    def _telemetry_thread(self) -> None:
        """Send nothing, if a newer version starts the thread all the same."""

    def _stream_heartbeat(self, *args: Any) -> None:  # type: ignore[override]
        """Do nothing. Up to 2.7.1, each session kept a heartbeat connection open for ever."""
