"""The connection of one call. Every request goes through it; another thread can cut it."""

from __future__ import annotations

import re
import socket
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx

from ..errors import SpaceConnectionError, SpaceUnavailableError
from ..question.address import origin
from ..question.options import Access, Limits
from ..types import Stage
from .bounds import bound_body, bound_reads, drop_unsendable
from .failures import CallCancelled, from_response
from .shelf import KeptClient, shelf, shut_down
from .tls import tls_context

CONNECT_TIMEOUT = 10.0  # seconds from the first address to the first byte of our request
DRAIN_TIMEOUT = 1.0  # seconds for reading a stream to its end, once the answer is there


class Connection(httpx.Auth):
    """The connection of one call. Reuses an earlier call's idle connection if there is one.

    Adds the token, refuses other origins, and raises an error for an error status while headers and
    body can be read. It is an ``httpx.Auth`` because gradio_client calls ``httpx.post``, whose only
    hook for each request is ``auth=``.

    Args:
        on_lost: called when the connection ends and cannot be handed on. None: open a new one
            and do not keep it.
    """

    def __init__(
        self, access: Access, limits: Limits, on_stage: Callable[[Stage], None],
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        wait = limits.read_timeout
        self.access, self.limits, self.on_lost = access, limits, on_lost
        self.url = str(httpx.URL(self.access.url))  # as httpx writes it: small letters, in ASCII
        self.timeout = httpx.Timeout(wait, connect=min(wait, CONNECT_TIMEOUT), pool=None)
        self.patience = wait  # seconds until the last of a response's headers has to be there
        self.cancelled = False  # the reader is gone: send nothing more
        self.may_have_job = False  # the Space may have started a job
        self.completed = False  # the stream has brought the whole answer
        self.messages: Generator[dict[str, Any], None, None] | None = None  # the answer's stream
        self._expired = False  # the time for the current step is over
        self._connecting = False  # nothing of the current request is sent yet
        self._handshake: socket.socket | None = None  # a hold of the socket while TLS begins
        self._joining = False  # the question is sent; its response has the event_id for /cancel
        self._may_be_stale = False  # the server may have closed the reused connection long ago
        self._on_stage = on_stage
        proxy = access.proxy
        if proxy and proxy.fault:
            raise SpaceConnectionError(proxy.fault)
        self._proxy_name = proxy.name if proxy else ""
        # What every httpx client of this call is made with.
        self.options: dict[str, Any] = {
            "proxy": proxy and proxy.url, "trust_env": False, "verify": tls_context(access.verify),
            "timeout": self.timeout}
        taken = shelf.take(access) if on_lost else None
        self._client = taken or KeptClient(access, httpx.Client(**self.options))
        self._client.on_lost = on_lost
        # It may hold the cookies of an earlier call. Whoever sends a request sets its own first.
        self.http = self._client.http
        # Whoever pops the client may cut it or hand it on. No lock: a destructor may cut.
        self._owned = deque([self._client])
        self._other_streams: list[Any] = []  # of requests that gradio_client makes by itself

    def send(
        self, method: str, url: str, *, again: bool = True, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """Send a request over the kept connection.

        Args:
            again: send it once more if the reused connection turns out to be closed.
        """
        self._may_be_stale = True
        request = self.http.build_request(
            method, url, timeout=self.timeout, extensions={"kept": self._client}, **options)
        try:
            response = self.http.send(request, auth=self, stream=stream)
            if not self._expired:
                return response
            response.close()  # a cut looks like the end of a body without a length
        except Exception as error:
            broke = isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError))
            if not (self._expired or broke and again and self._may_be_stale):
                raise
        finally:
            shelf.unwatch(self)
        if self._expired:
            kind = httpx.ConnectTimeout if self._connecting else httpx.ReadTimeout
            raise kind("it took too long", request=request)
        if self.on_lost:
            self.on_lost()
        return self.send(method, url, again=False, stream=stream, **options)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        path, host = request.url.path, request.url.host
        if origin(str(request.url)) != origin(self.url):
            raise SpaceUnavailableError(
                f"The Space's config leads to another host, {host}; nothing was sent there.")
        if self.cancelled:
            raise CallCancelled
        request.headers.update(self.access.request_headers)
        request.extensions["proxy"] = self._proxy_name
        joins = path.endswith("/queue/join")
        if path.endswith("/upload"):
            self._on_stage("uploading")
        request.extensions["trace"] = partial(self._trace, joins, request.extensions.get("kept"))
        self._joining = joins
        response = yield request
        if "set-cookie" in response.headers:
            drop_unsendable(self.http.cookies)
        if keep := re.search(r"timeout\s*=\s*(\d+)", response.headers.get("keep-alive", ""), re.I):
            self._client.keep = min(self._client.keep, float(keep[1]))
        bound_body(response, endless=path.endswith("/queue/data") and not response.is_error)
        error = from_response(response)
        if joins:
            no_queue = error is not None and "Queue is" in error.message  # full, or stopped
            self.may_have_job = not (no_queue or 400 <= response.status_code < 500)
            if not error:
                response.read()  # the event_id is in it
            self._joining = False
        if error:
            raise error

    def _trace(self, joins: bool, kept: KeptClient | None, event: str, info: Any) -> None:
        """Called by httpcore at each step: www.python-httpx.org/advanced/extensions/#trace"""
        step = event.partition(".")[2]
        begins = step.endswith(".started") and "close" not in step  # a close must go on
        if begins and self.cancelled and not (joins and self.may_have_job):
            raise CallCancelled
        if begins and self._expired:
            raise httpx.ConnectTimeout("it took too long")  # there was no socket to cut yet
        # Is this a step of our own request, and not of the one that opens a tunnel?
        sends = "request" in info and info["request"].method != b"CONNECT"
        if step == "connect_tcp.started":
            self._may_be_stale = False
            self._start_connecting(info)
        elif step == "start_tls.started" and kept:
            # The handshake detaches the socket: keep another hold of it.
            bare = kept.stream.get_extra_info("socket")
            self._handshake = socket.fromfd(bare.fileno(), bare.family, bare.type)
        elif step == "start_tls.failed":
            self._end_handshake()
        elif step == "send_request_headers.started" and sends:
            if self._connecting:
                self._connecting = False
                shelf.unwatch(self)
            if joins:
                self.may_have_job = True
        elif step in ("connect_tcp.complete", "start_tls.complete"):
            self._end_handshake()
            stream = info["return_value"]
            bound_reads(stream)
            if kept:
                kept.stream = stream
            else:
                self._other_streams.append(stream)
        elif step == "receive_response_headers.started" and sends:
            # httpx's timeout is for each read. A server that drips bytes would never meet it.
            shelf.watch(self, self.patience)
        elif step == "receive_response_headers.complete":
            self._may_be_stale = False
            if not kept:
                shelf.unwatch(self)

    def _start_connecting(self, info: dict[str, Any]) -> None:
        """Bound the whole of connecting: httpcore's timeout is for each address and each step.

        httpcore uses the timeout set here. httpcore 1.0.9 reads a proxy's handshake without one.
        """
        seconds = self.timeout.connect or CONNECT_TIMEOUT
        self._connecting = True
        shelf.watch(self, seconds)
        with suppress(OSError, UnicodeError):
            addresses = socket.getaddrinfo(info["host"], info["port"], type=socket.SOCK_STREAM)
            info["timeout"] = seconds / len(addresses)

    def expire(self) -> None:
        """Cut the connection, because the time for its current step is over."""
        self._expired = True
        self._shut_down()

    def cut(self, *, now: bool = False) -> None:
        """End what the call's thread waits for; from any thread or destructor, without blocking.

        A question that is being sent is not cut unless ``now``: only its response has the event_id
        that /cancel needs.
        """
        self.cancelled = True
        if now or not self._joining:
            self._shut_down()

    def _end_handshake(self) -> None:
        if self._handshake:
            self._handshake.close()
            self._handshake = None

    def _shut_down(self) -> None:
        if handshake := self._handshake:
            with suppress(OSError):  # its thread has just closed it
                handshake.shutdown(socket.SHUT_RDWR)
        with suppress(IndexError):
            shut_down(self._owned.pop().stream)
        for stream in list(self._other_streams):
            shut_down(stream)

    def drain(self, *, wait: bool) -> None:
        """Read a complete answer's stream to its end, so that the next call can use the connection.

        Args:
            wait: read until the stream ends, for ``DRAIN_TIMEOUT`` at most. Otherwise read only
                what has arrived.
        """
        if self.messages and self.completed:
            shelf.watch(self, DRAIN_TIMEOUT)
            with suppress(Exception):  # the answer is complete: an error no longer matters
                while wait or self._client.stream.get_extra_info("is_readable"):
                    next(self.messages)

    def close_messages(self) -> None:
        """Stop reading the answer's stream. A connection that was not read to its end is closed."""
        with suppress(Exception):
            if self.messages:
                self.messages.close()

    def close(self) -> None:
        """Hand the connection on to the next call, or close it if it cannot be reused."""
        self.drain(wait=True)
        self.close_messages()
        kept = None
        with suppress(IndexError):
            owned = self._owned.pop()
            kept = owned if self.on_lost and owned.is_open() else None
        shelf.put(self, kept)
        if not kept:
            self._client.close()
