"""Idle connections, kept for the next call to the same Space."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet

import httpx

from ..question.options import Access

KEEP = 4.0  # seconds; uvicorn closes an idle connection after 5
MAX_IDLE = 8  # connections for each Space
DRAIN_WAIT = 0.05  # seconds that a call waits for a connection that is nearly free


class Watched(Protocol):
    """What the shelf uses of a call's Connection."""

    access: Access
    completed: bool

    def expire(self) -> None: ...


class KeptClient:
    """An httpx client with one connection, which is handed from call to call.

    One client for all calls would be slower: httpx looks at every connection for each request.
    """

    def __init__(self, access: Access, http: httpx.Client) -> None:
        self.access, self.http, self.keep = access, http, KEEP
        self.on_lost: Callable[[], None] | None = None
        self.stream: Any = None  # httpcore's stream of the latest connection
        _clients.add(self)

    def is_open(self) -> bool:
        """Return whether it can take a request: it is open, and nothing lies behind a response.

        What lies there would be taken for the next response. h11 may hold it, or TLS, or the
        socket. A newer httpcore may hide what h11 holds: then no connection is kept.
        """
        try:
            transport: Any = [*self.http._mounts.values(), self.http._transport][0]
            [connection] = transport._pool.connections
            while not hasattr(connection, "_h11_state"):
                connection = connection._connection
            if connection.is_idle() and connection._h11_state.trailing_data == (b"", False):
                # TLS 1.3 sends tickets behind a response. Only reading tells them from data.
                self.stream.read(1, timeout=0)
        except Exception as error:
            return isinstance(error.__cause__, (BlockingIOError, ssl.SSLWantReadError))
        return False

    def close(self) -> None:
        """Close the connection and report it lost. So a restart of the Space is noticed."""
        self.discard()
        if self.on_lost:
            self.on_lost()

    def discard(self) -> None:
        self.http.close()
        with suppress(OSError, AttributeError):
            self.stream.close()  # httpcore forgets a socket that did not get as far as TLS


def shut_down(stream: Any) -> None:
    """End what another thread reads or writes; from any thread or destructor, without blocking."""
    with suppress(OSError, AttributeError):
        # Not SSLSocket's own shutdown, which takes the TLS state from under the reading thread.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


class Shelf:
    """Holds idle connections, and watches those that must not take too long.

    One thread closes idle connections and cuts watched ones when their time is up. It ends when
    none is left.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: dict[KeptClient, float] = {}  # with the time at which each is closed
        self._watched: dict[Watched, float] = {}  # with the time at which each is cut
        self._wakes = math.inf  # when the closing thread looks next; inf: there is none

    def take(self, access: Access) -> KeptClient | None:
        """Return an open connection to a Space, the latest used first, or None."""
        with self._changed:
            self._changed.wait_for(
                lambda: not any(each.completed and each.access == access for each in self._watched),
                DRAIN_WAIT)
            for client in [each for each in reversed(self._idle) if each.access == access]:
                del self._idle[client]
                if client.is_open():
                    return client
                client.close()
        return None

    def watch(self, connection: Watched, seconds: float) -> None:
        """Cut the connection after so many seconds, unless ``unwatch`` is called before."""
        with self._changed:
            self._watched[connection] = time.monotonic() + seconds
            self._wake_at(self._watched[connection])

    def unwatch(self, connection: Watched) -> None:
        with self._changed:
            self._watched.pop(connection, None)

    def put(self, connection: Watched, client: KeptClient | None) -> None:
        """Keep the client of a call that has ended; None where it cannot be kept."""
        with self._changed:
            self._watched.pop(connection, None)
            if client and sum(each.access == client.access for each in self._idle) >= MAX_IDLE:
                client.discard()
            elif client:
                self._idle[client] = time.monotonic() + client.keep
                self._wake_at(self._idle[client])
            self._changed.notify_all()

    def close_idle(self) -> None:
        """Close all idle connections now."""
        with self._changed:
            while self._idle:
                self._idle.popitem()[0].close()
            self._changed.notify_all()

    def _wake_at(self, end: float) -> None:
        if self._wakes == math.inf:
            threading.Thread(target=self._close, name="qvq_wrapper idle", daemon=True).start()
        elif end < self._wakes:
            self._changed.notify_all()
        self._wakes = min(self._wakes, end)

    def _close(self) -> None:
        with self._changed:
            try:
                while self._idle or self._watched:
                    now = time.monotonic()
                    for connection in [each for each, end in self._watched.items() if end <= now]:
                        del self._watched[connection]
                        connection.expire()
                    for client in [each for each, end in self._idle.items() if end <= now]:
                        del self._idle[client]
                        with suppress(Exception):
                            client.close()
                    self._wakes = min([*self._idle.values(), *self._watched.values()], default=now)
                    self._changed.wait(self._wakes - now)
            finally:
                self._wakes = math.inf


shelf = Shelf()
_clients: WeakSet[KeptClient] = WeakSet()


def after_fork() -> None:
    """Close the inherited sockets, without a shutdown: that would reach the parent's answers."""
    for client in list(_clients):
        with suppress(OSError, AttributeError):
            client.stream.get_extra_info("socket").close()
    _clients.clear()
    shelf.__init__()  # type: ignore[misc]
