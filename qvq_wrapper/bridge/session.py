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
``helper_executor``,    interpreter's exit
``stream_executor``
``send_data``           opens a connection for each request and  the kept connection; words
                        polls for messages every 50 ms           come up to 50 ms late, and a
                                                                 cancel ends the job at its
                                                                 next message
``new_helper``          keeps every text so far, and queues all  the answer comes only at its
                        updates for asyncio                      end
``_upload_file``        reads the picture from a file            it is sent twice, the second
                                                                 time from a temporary file
======================= ======================================== ===============================
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

import httpx
from gradio_client import Client, exceptions, utils

from ..errors import AuthenticationError, ResponseError, SpaceUnavailableError
from ..question.media import Picture
from ..question.options import Question
from ..types import Status
from .connection import Connection, KeptClient
from .endpoint import find_endpoint
from .executors import JobExecutor
from .info import SpaceInfo
from .messages import MessageQueue, OnStatus, OnText, publish, space_messages
from .space import Space
from .telemetry import no_telemetry
from .tls import tls_context

CANCEL_TIMEOUT = 5.0  # seconds for reaching the Space, also through a slow proxy
# Seconds to wait for the answer to /cancel. gradio 6.31 sends it only after the app's current step.
CANCEL_PATIENCE = 0.3
HEARTBEAT_TIMEOUT = 1.0  # seconds for connecting and TLS, and for the first byte
NO_FILE = f"/qvq_wrapper-{uuid4()}/picture"  # stands for a picture in memory; there is no such file

Tasks = list[Callable[[], None]]


def answer(
    question: Question, space: Space, connection: Connection, on_text: OnText,
    on_status: OnStatus, later: Tasks,
) -> None:
    """Get the Space's info, ask, and pass on the answer. Blocks until the final output is there.

    Args:
        later: collects tasks to run after the reader was told of the end.

    Raises:
        Exception: whatever went wrong; ``failures.from_exception`` knows them all.
    """
    info = space.info(connection)
    try:
        text = _ask(question, space, connection, info, on_text, on_status, later)
    except (SpaceUnavailableError, AuthenticationError) as error:
        # Another app may answer there by now, or the login may have ended.
        if not error.retryable and info.fetched < connection.began:
            space.forget(info)
            connection.ask_again = True
        raise
    on_text(text)


def _ask(
    question: Question, space: Space, connection: Connection, info: SpaceInfo, on_text: OnText,
    on_status: OnStatus, later: Tasks,
) -> str:
    file = None
    if picture := question.picture:
        file = {"path": picture.url or NO_FILE, "meta": {"_type": "gradio.FileData"}}
    endpoint = find_endpoint(info.config, info.api, question)
    arguments, finder = endpoint.arguments(question, file), endpoint.finder()
    connection.http.cookies = httpx.Cookies(info.cookies)
    publish_update = partial(publish, connection, on_text, on_status, finder)
    if picture and not picture.url:
        on_status(Status("uploading"))
    session = Session(info, connection, endpoint.function, publish_update)
    try:
        output = session.run_job(arguments, file, picture)
    except BaseException:
        session.cancel()
        raise
    finally:
        if connection.completed:
            space.expect(connection)
        if info.config.get("connect_heartbeat") and connection.may_have_job:
            later.append(session.end_on_server)
    text = finder.find(output, final=True)
    if text is None:
        raise ResponseError(f"The Space's output is no text but {type(output).__name__}.")
    space.confirm(info)
    return text


class Session(Client):
    """A gradio_client session for one job."""

    # gradio_client starts a thread for telemetry where this is true, whatever it is told.
    analytics_enabled = property(lambda self: False, lambda self, value: None)

    def __init__(
        self, info: SpaceInfo, connection: Connection, function: Any,
        publish: Callable[[Any], None],
    ) -> None:
        self._space_info, self._connection = info, connection
        self._function, self._publish = function, publish
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
        self.stream_executor = JobExecutor(daemon=True)  # type: ignore[assignment]

    def run_job(
        self, arguments: list[Any], file: dict[str, Any] | None, picture: Picture | None
    ) -> Any:
        """Return the job's final output.

        Args:
            file: the placeholder of the picture in ``arguments``.
        """
        submit = partial(self.submit, *arguments, fn_index=self._function)
        if file is None or picture is None or picture.url:
            return submit().result()
        name, data = picture.load(self.config.get("max_file_size"))
        # httpx sends a BytesIO in pieces of 64 kB. Plain bytes would be copied for each packet.
        files = {"files": (name, BytesIO(data))}
        response = self._connection.send("POST", self.upload_url, files=files)
        uploaded = file | {"path": response.json()[0], "orig_name": name}
        endpoint = self.endpoints[self._function]
        own_upload = endpoint._upload_file

        def upload(file: dict[str, Any], data_index: int) -> dict[str, Any]:
            return uploaded if file["path"] == NO_FILE else own_upload(file, data_index)

        endpoint._upload_file = upload  # type: ignore[assignment, method-assign]
        try:
            return submit().result()
        except FileNotFoundError:
            if self._connection.may_have_job:
                raise
        # A newer gradio_client does not call our upload. Its own needs a file.
        with TemporaryDirectory(prefix="qvq_wrapper-") as folder:
            file["path"] = os.path.join(folder, name)
            Path(file["path"]).write_bytes(data)
            return submit().result()

    def cancel(self) -> None:
        """Tell the Space that the job is no longer wanted, if there may be one."""
        connection = self._connection
        if connection.may_have_job and not connection.completed:
            connection.close_messages()
            job = {
                "fn_index": self._function, "session_hash": self.session_hash,
                "event_id": self._event_id}
            self._send_apart(
                "POST", utils.CANCEL_URL, CANCEL_PATIENCE, connect_timeout=CANCEL_TIMEOUT, json=job)

    def end_on_server(self) -> None:
        """Open and close the session's heartbeat: then the Space drops the session's state."""
        path = utils.HEARTBEAT_URL.format(session_hash=self.session_hash)
        self._send_apart(
            "GET", path, HEARTBEAT_TIMEOUT, connect_timeout=HEARTBEAT_TIMEOUT, stream=True)

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
        connection, headers = self._connection, {**(request_headers or {}), **self.headers}
        response = connection.send(
            "POST", self.sse_data_url, json={**data, **hash_data}, headers=headers)
        invalid = utils.extract_validation_message(response)
        if invalid is not None:
            raise exceptions.ValidationError(invalid)
        self._event_id = str(response.json()["event_id"])
        connection.messages = space_messages(
            connection, self.sse_url, self.session_hash, self._event_id, self.headers)
        self.pending_messages_per_event[self._event_id] = MessageQueue(connection.messages)
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
