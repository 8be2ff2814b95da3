"""The line of one call to its Space: every request goes through it, and another thread can cut it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

import httpx

from .errors import SpaceConnectionError, SpaceUnavailableError, from_response
from .options import Access, Limits, origin
from .types import Stage

CONNECT_TIMEOUT = 10.0  # seconds for one connection to be made
LARGEST = 2**25  # bytes of a response that is no answer


class CallCancelled(Exception):
    """The reader of a call is gone. Ends the call's thread and never reaches a caller."""


class Line(httpx.Auth):
    """What every request of one call goes through, also those that gradio_client makes.

    Adds the token, keeps to the Space's own origin, turns an error status into an error while its
    headers and body are at hand, and can be cut from another thread.
    """

    def __init__(self, access: Access, limits: Limits, on_stage: Callable[[Stage], None]) -> None:
        wait = limits.read_timeout
        self.options: dict[str, Any] = {
            "auth": self,
            "proxy": httpx.Proxy(access.proxy) if access.proxy else None,  # its repr hides the password
            "timeout": httpx.Timeout(wait, connect=min(wait, CONNECT_TIMEOUT), pool=None),
        }
        self.verify = _tls(access.verify)
        self.access, self.limits = access, limits
        self.url = str(httpx.URL(access.url))  # as httpx writes it: in small letters, and in ASCII
        self.cancelled = False
        self.asked = False  # whether the Space may have started a job
        self._on_stage = on_stage
        self._streams: list[Any] = []
        self._joining = False

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if origin(str(request.url)) != origin(self.url):
            raise SpaceUnavailableError(
                f"The Space's config leads to another host, {request.url.host}; nothing was sent there.")
        request.headers.update(self.access.request_headers)
        path = request.url.path
        if path.endswith("/cancel"):
            yield request
            raise CallCancelled  # the answer to it is of no interest
        joins = path.endswith("/queue/join")
        if self.cancelled:
            raise CallCancelled
        if path.endswith("/upload"):
            self._on_stage("uploading")
        request.extensions["trace"] = partial(self._trace, joins)
        self._joining = self._joining or joins
        response = yield request
        response.headers.pop("content-encoding", None)  # was not asked for, and could unpack to any size
        if response.is_error or not path.endswith("/queue/data"):
            assert isinstance(response.stream, httpx.SyncByteStream)
            response.stream = _Bounded(response.stream)
        if joins:
            response.read()  # only with what is in it can the job be cancelled
            self._joining = False
            self.asked = not (400 <= response.status_code < 500 or response.status_code == 503)
        error = from_response(response)
        if error:
            raise error

    def _trace(self, joins: bool, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore at each step (https://www.python-httpx.org/advanced/extensions/#trace)."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._streams.append(info["return_value"])
        elif joins and event == "http11.send_request_headers.started" and info["request"].method == b"POST":
            self.asked = True
        if self.cancelled and not self.asked:
            raise CallCancelled

    def cut(self, *, now: bool = False) -> None:
        """End what the call's threads wait for; from any thread or destructor, without blocking.

        A question that is just being handed in is left to arrive unless it is to end ``now``: only with
        the Space's answer to it can the job be cancelled.
        """
        self.cancelled = True
        if self._joining and not now:
            return
        for stream in list(self._streams):
            with suppress(OSError):
                # Not SSLSocket's own shutdown, which takes the TLS state from under the reading thread.
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


class _Bounded(httpx.SyncByteStream):
    """The body of a response, up to ``LARGEST`` bytes."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream
        self.close = stream.close  # type: ignore[method-assign]

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for data in self._stream:
            size += len(data)
            if size > LARGEST:
                raise SpaceConnectionError(f"The line went bad: a response of more than {LARGEST} bytes.")
            yield data


@lru_cache(maxsize=16)
def _tls(verify: Any) -> Any:
    """One TLS context for all calls: httpx would build one, 20 ms, for each request."""
    return httpx.create_ssl_context(verify=verify)
