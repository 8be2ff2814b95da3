"""One private gradio_client session for each question, with every seam onto gradio_client.

A session's job runs whole in the thread that asks. What gradio_client does that makes a seam necessary
was seen in its version 2.7.2. A seam that a newer version no longer uses costs speed, not the answer.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import huggingface_hub
from gradio_client import Client, handle_file, utils

from .errors import ResponseError, SpaceConnectionError, SpaceUnavailableError, plain
from .line import CallCancelled, Line
from .options import Question
from .space import Facts, space_at
from .threads import Daemons, Events, Here, Pending, Readers
from .types import Stage, Status

if TYPE_CHECKING:
    from .call import Call

# For telling the Space that a job is no longer wanted. Its answer is not waited for: gradio 6.31 gives it
# only when the app's current step has ended.
CANCEL_TIMEOUT = httpx.Timeout(1.5, read=0.3)

_telemetry_lock = threading.Lock()

_STAGES: dict[str, Stage] = {
    "IN_QUEUE": "queued", "PROCESSING": "processing", "PROGRESS": "processing", "LOG": "processing",
    "ITERATING": "streaming",
}
_MESSAGES = {"estimation", "process_starts", "process_generating", "process_completed", "progress", "log"}


def ask(question: Question, line: Line, call: Call) -> None:
    """Ask once, from the Space's facts to its final output; blocks until all of it is in ``call``.

    Raises:
        Exception: whatever went wrong; ``errors.from_exception`` knows them all.
    """
    space = space_at(line.access)
    facts, fresh = space.facts(line)
    if fresh:
        return _ask(question, line, call, facts, None)
    # Asked beside the question: gradio_client asks by function number, and after a restart with
    # another layout the old number is another function's.
    check = Daemons().submit(space.check, facts, line)
    try:
        return _ask(question, line, call, facts, check)
    except Exception:
        current = check.result()
        if current is facts or line.asked and current.same_layout(facts, question.api_name):
            raise
    return _ask(question, line, call, current, None)


def _ask(question: Question, line: Line, call: Call, facts: Facts, check: Future[Facts] | None) -> None:
    upload = question.picture.upload(facts.config.get("max_file_size")) if question.picture else nullcontext()
    with upload as file:
        arguments = facts.arguments(
            question.api_name, handle_file(file) if file else None, question.prompt, question.extras)

        def before_first() -> None:
            if check and not check.result().same_layout(facts, question.api_name):
                raise SpaceUnavailableError("The Space was restarted with other functions.")

        session = Session(facts, line, before_first, call)
        complete = False
        try:
            output = session.submit(*arguments, api_name=question.api_name).result()
            complete = True
        finally:
            session.end(cancel=not complete)
    if not isinstance(output, str):
        raise ResponseError(f"The Space's output is no text but {type(output).__name__}.")
    call.on_text(output)


class Session(Client):
    """A gradio_client session for one job."""

    def __init__(self, facts: Facts, line: Line, before_first: Callable[[], None], call: Call) -> None:
        self._facts = facts
        self._line = line
        self._before_first = before_first
        self._call = call
        self._job: Any = None
        self._cancel_job: Any = None
        options: dict[str, Any] = {
            "token": False,  # None would send the token saved on this machine
            "verbose": False,
            "download_files": False,
            "ssl_verify": line.verify,
            "httpx_kwargs": {**line.options, "cookies": facts.cookies},
        }
        with _no_telemetry():
            super().__init__(line.url, **options)
        events = Events()
        self._reader: Any = self._messages()
        self.executor = Here()  # type: ignore[assignment]
        self.helper_executor = _Helpers()  # type: ignore[assignment]
        self.stream_executor = Readers(events, self._reader)  # type: ignore[assignment]
        self.pending_messages_per_event = Pending(events)

    def end(self, *, cancel: bool) -> None:
        """Close the line; with ``cancel``, tell the Space that the job is no longer wanted."""
        self._reader.close()
        if cancel and self._job and self._line.asked:
            self._job.event_id = self._job.event_id or ""  # not known: the session's only job
            self.httpx_kwargs["timeout"] = CANCEL_TIMEOUT
            with suppress(CallCancelled, httpx.HTTPError, OSError):
                self._cancel_job()
        self._job = self._cancel_job = self._reader = self.streaming_future = None  # these refer back to us

    def new_helper(self, fn_index: int, *args: Any, **kwargs: Any) -> Any:
        job = self._job = super().new_helper(fn_index, *args, **kwargs)
        job.job.outputs = deque(maxlen=1)  # type: ignore[assignment] # every text so far would be kept
        job.updates = SimpleNamespace(put_nowait=self._publish)  # type: ignore[assignment] # else a queue
        self._cancel_job = self.endpoints[fn_index].make_cancel(job)
        return job

    def _get_config(self) -> dict[str, Any]:
        return {**self._facts.config, "connect_heartbeat": False}  # a thread and a connection for nothing

    def _get_api_info(self) -> dict[str, Any]:
        return self._facts.api

    def _telemetry_thread(self) -> None:
        """Sends nothing. analytics_enabled=False alone would not see to that."""

    def _stream_heartbeat(self, *args: Any) -> None:  # type: ignore[override]
        """Keeps no connection; up to 2.7.1 each session would, and for ever, whatever the config says."""

    def _publish(self, update: Any) -> None:
        """Called in mid-job, with gradio_client's lock held."""
        if update.type == "output" and not update.final and isinstance(update.outputs, str):
            self._call.on_text(update.outputs)
        elif update.type == "status" and update.code.name in _STAGES:
            self._call.on_status(_status(update))

    def _messages(self) -> Generator[dict[str, Any], None, None]:
        """The messages of this session's job, as the Space sends them."""
        with (
            httpx.Client(verify=self.ssl_verify, cookies=self.cookies, **self.httpx_kwargs) as client,
            client.stream(
                "GET", self.sse_url, params={"session_hash": self.session_hash}, headers=self.headers
            ) as response,
        ):
            # JSON writes a character in six bytes at most.
            for message in _json_events(response, 6 * self._line.limits.max_chars + 65536):
                if self._line.cancelled:
                    raise CallCancelled
                kind = message.get("msg")
                if kind == "unexpected_error":
                    raise SpaceConnectionError(
                        f"The Space broke off: {plain(str(message.get('message')))}", retryable=True)
                if kind in _MESSAGES:
                    self._before_first()
                    yield message
        raise SpaceConnectionError("The line to the Space broke off in mid-answer.", retryable=True)


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


class _Helpers(Daemons):
    """gradio_client's two helpers of a job, without a thread for either."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn is utils.check_for_cancel:  # polls, and posts past the proxy; Line.cut does its work
            return Future()
        if fn is utils.stream_sse_v1plus:
            return Here().submit(fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Keep huggingface_hub from asking the Hub for a list of AI agents while a Client is built.

    Its ``build_hf_headers`` does, in 2.4, past the proxy and for up to 3 s. The environment that
    switches it off is read at import, so that only the module's constant is left.
    """
    constants = huggingface_hub.constants
    with _telemetry_lock:
        before, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_TELEMETRY = before
