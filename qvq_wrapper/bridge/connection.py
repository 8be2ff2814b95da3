"""The connection of one call. Every request goes through it; another thread can end it."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import httpx

from ..errors import SpaceConnectionError, SpaceUnavailableError
from ..question.address import origin
from ..question.options import Access, Limits
from .bounds import BoundBody, drop_unsendable
from .failures import CallCancelled, from_response
from .tls import tls_context
from .wire import Wire

CONNECT_TIMEOUT = 10.0  # seconds for all addresses, the proxy and TLS together
KEEP = 4.0  # seconds; uvicorn closes an idle connection after 5
KEEP_MARGIN = 1.0  # seconds; the server starts to count before us
DRAIN_TIMEOUT = 1.0  # seconds for reading a stream to its end, once the answer is there
JOIN_PATIENCE = 2.0  # seconds that a cancelled call waits for the response to its question


class KeptClient(httpx.Client):
    """An httpx client with one connection, which is handed from call to call.

    One client for all calls would be slower: httpx looks at every connection for each request.
    """

    def __init__(self, access: Access) -> None:
        proxy = access.proxy
        if proxy and proxy.fault:
            raise SpaceConnectionError(proxy.fault)
        self.proxy = proxy.url if proxy else None
        transport = httpx.HTTPTransport(
            verify=tls_context(access.verify), proxy=self.proxy, trust_env=False)
        self.wire = Wire()
        with suppress(AttributeError):  # a newer httpx; calls then work without cut() and deadlines
            transport._pool._network_backend = self.wire
        super().__init__(transport=transport, trust_env=False)
        self.keep, self.closes = KEEP, math.inf  # seconds, and the time at which it is too old

    def is_reusable(self) -> bool:
        """Return whether it can take a request: it is open, and nothing is behind a response.

        h11 keeps bytes that came behind a response, and would take them for the next response. A
        newer httpcore may not show them: then no connection is kept.
        """
        connection: Any = self._transport
        try:
            [connection] = connection._pool.connections
            while not hasattr(connection, "_h11_state"):  # a tunnel's is inside another
                connection = connection._connection
            is_clean = connection._h11_state.trailing_data == (b"", False)
            return is_clean and connection.is_idle() and self.wire.is_quiet()
        except (AttributeError, ValueError):
            return False

    def close(self) -> None:
        super().close()
        self.wire.close()  # httpcore forgets a socket that did not get as far as TLS


class Connection(httpx.Auth):
    """The connection of one call.

    Adds the token, refuses other origins, and raises an error for an error status while headers and
    body can be read. It is an ``httpx.Auth`` because gradio_client calls ``httpx.post``, whose only
    hook for each request is ``auth=``.

    ``cancel()`` comes from any thread. The call's own thread does everything else:

    ================= =============================================== ======================
    state             meaning                                         written by
    ================= =============================================== ======================
    ``cancelled``     the reader is gone: send nothing more           ``cancel()``
    ``may_have_job``  the Space may have started a job                the call's thread
    ``completed``     the stream has brought the whole answer         the call's thread
    ``messages``      the answer's stream                             the call's thread
    ``farewell``      tells the Space of the end, after the reader    the call's thread
    ``ask_again``     nothing was asked, because of outdated info or  the call's thread
                      a closed connection: try again at once
    ``_is_reused``    the connection is from an earlier call          ``__init__``
    ``_joining``      the question is on its way: its response        the call's thread
                      names the job, which ``/cancel`` needs
    ``_owned``        the client, until someone pops it: the thread   whoever pops it first
                      to keep it, or ``cancel()`` to cut it
    ================= =============================================== ======================
    """

    def __init__(self, access: Access, client: KeptClient, limits: Limits) -> None:
        self.access, self.limits, self.http = access, limits, client
        self.url = str(httpx.URL(access.url))  # as httpx writes it: small letters, in ASCII
        self.cancelled = self.may_have_job = self.completed = False
        self.ask_again = self._joining = False
        self._is_reused = client.wire.used
        self.began = time.monotonic()
        self.messages: Generator[dict[str, Any], None, None] | None = None
        self.farewell: Callable[[], None] | None = None
        self._owned = deque([client])

    def send(
        self, method: str, url: str, *, stream: bool = False, patience: float | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send a request over the kept connection.

        Args:
            patience: seconds for the response, ``read_timeout`` if not given.
        """
        wire, wait = self.http.wire, self.limits.read_timeout
        was_open = self.http.is_reusable()
        if not was_open:
            wire.close()  # httpcore notices, and opens a new connection
        wire.begin(patience or wait, min(CONNECT_TIMEOUT, wait))
        # The mark tells this request from one that gradio_client sends by itself.
        request = self.http.build_request(method, url, extensions={"ours": True}, **options)
        try:
            return self.http.send(request, auth=self, stream=stream)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            if not was_open or wire.received or self.cancelled or self._joining:
                raise
            # The server had closed the kept connection before this request came.
            if not self.may_have_job:
                # If it closes one that this call has opened, it would close the next one too.
                self.ask_again = self._is_reused
                raise
        return self.send(method, url, stream=stream, **options)  # the answer's stream

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        path, wire = request.url.path, self.http.wire
        if origin(str(request.url)) != origin(self.url):
            host = request.url.netloc.decode()
            raise SpaceUnavailableError(
                f"The Space's config leads to another host, {host}; nothing was sent there.")
        joins, is_ours = path.endswith("/queue/join"), "ours" in request.extensions
        # cancel() sets ``cancelled`` and then reads ``_joining``. With the other order here, one of
        # the two always notices the other.
        self._joining = joins
        if self.cancelled:
            raise CallCancelled
        request.headers.update(self.access.request_headers)
        request.extensions["proxy"] = self.access.proxy and self.access.proxy.name
        try:
            response = yield request
        finally:
            if joins:
                self.may_have_job = wire.sent or not (is_ours and wire.used)
        if "set-cookie" in response.headers:
            drop_unsendable(self.http.cookies)
        if keep := re.search(r"timeout\s*=\s*(\d+)", response.headers.get("keep-alive", ""), re.I):
            self.http.keep = min(self.http.keep, float(keep[1]) - KEEP_MARGIN)
        wire.streams = path.endswith("/queue/data") and not response.is_error
        # Ends gradio_client's own reader. A cancelled call still needs the name of its job.
        response.stream = BoundBody(
            response, endless=wire.streams, is_wanted=lambda _: joins or not self.cancelled)
        error = from_response(response)
        if joins:
            no_queue = error is not None and "Queue is" in error.message  # full, or stopped
            # A 408 may be about another request: servers send it on connections that are idle.
            refused = 400 <= response.status_code < 500 and response.status_code != 408
            self.may_have_job = not (no_queue or refused)
            if not error:
                response.read()  # the event_id is in it
            self._joining = False
        if error:
            raise error

    def cancel(self) -> None:
        """End what the call's thread waits for. Takes no lock: a destructor may call it."""
        self.cancelled = True
        if self._joining:
            self.http.wire.hurry(JOIN_PATIENCE)
            return
        with suppress(IndexError):
            self._owned.pop().wire.cut()

    def end(self) -> KeptClient | None:
        """Return the client if another call can use it. Otherwise close it.

        A complete answer's stream is first read to its end.
        """
        if self.messages:
            with suppress(Exception):  # how the answer ended is known already
                if self.completed:
                    self.http.wire.streams = False
                    self.http.wire.hurry(DRAIN_TIMEOUT)
                    for _ in self.messages:
                        pass
                self.messages.close()
        with suppress(IndexError):
            client = self._owned.pop()
            if client.keep > 0 and client.is_reusable():
                return client
        self.http.close()
        return None
