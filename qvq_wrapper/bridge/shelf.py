"""Idle connections, kept for the next call to the same Space."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import httpx

if TYPE_CHECKING:
    from .connection import Connection
    from .space import Space

KEEP = 4.0  # seconds; uvicorn closes an idle connection after 5
MAX_IDLE = 8  # connections for each Space
DRAIN_WAIT = 0.05  # seconds that a call waits for a connection whose stream is being read to its end


class KeptClient:
    """An httpx client with one connection, which is handed from call to call.

    One pool for all calls would be slower: httpx looks at every connection for each request.
    """

    def __init__(self, space: Space, new_client: Callable[[], httpx.Client]) -> None:
        self.space = space
        self.http = new_client()
        self.stream: Any = None  # httpcore's stream of the latest connection
        self.keep = KEEP
        self.expires = 0.0
        _clients.add(self)

    def is_open(self) -> bool:
        """Whether the connection can take a request. An idle socket is readable once it was closed."""
        return bool(
            self.stream
            and self.stream.get_extra_info("socket").fileno() >= 0
            and not self.stream.get_extra_info("is_readable"))

    def close(self) -> None:
        """Close the connection. Without it a restart of the Space would go unnoticed."""
        self.http.close()
        self.space.suspect()


def shut_down(stream: Any) -> None:
    """End what another thread reads or writes; from any thread or destructor, without blocking."""
    with suppress(OSError, AttributeError):
        # Not SSLSocket's own shutdown, which takes the TLS state from under the reading thread.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


class Shelf:
    """Idle connections. One daemon thread closes them after ``KEEP`` seconds and ends with the last."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[KeptClient] = []
        self._draining: dict[Connection, float] = {}  # with the time at which each is cut
        self._waiting = 0
        self._closer: threading.Thread | None = None
        self._closer_wakes = 0.0

    def take(self, space: Space) -> KeptClient | None:
        """Return an open connection to the Space, the latest used first, or None."""
        with self._changed:
            client = self._pop(space)
            draining = sum(connection.space is space for connection in self._draining)
            if client is None and draining > self._waiting:
                self._waiting += 1
                self._changed.wait_for(lambda: self._find(space), DRAIN_WAIT)
                self._waiting -= 1
                client = self._pop(space)
            return client

    def put(self, client: KeptClient) -> None:
        """Keep a connection that has no request under way."""
        with self._changed:
            if len(self._find(client.space)) >= MAX_IDLE:
                client.http.close()
                return
            client.expires = time.monotonic() + client.keep
            self._idle.append(client)
            self._wake_closer(client.expires)
            if self._waiting:
                self._changed.notify_all()

    def drain(self, connection: Connection, seconds: float) -> None:
        """Cut the connection unless ``drained`` is called within so many seconds."""
        with self._changed:
            self._draining[connection] = time.monotonic() + seconds
            self._wake_closer(self._draining[connection])

    def drained(self, connection: Connection) -> None:
        with self._changed:
            self._draining.pop(connection, None)

    def close_idle(self) -> None:
        """Close all idle connections now."""
        with self._changed:
            while self._idle:
                self._idle.pop().close()
            self._changed.notify_all()

    def _find(self, space: Space) -> list[KeptClient]:
        return [client for client in self._idle if client.space is space]

    def _pop(self, space: Space) -> KeptClient | None:
        for client in reversed(self._find(space)):
            self._idle.remove(client)
            if client.is_open():
                return client
            client.close()
        return None

    def _wake_closer(self, at: float) -> None:
        if self._closer is None:
            self._closer = threading.Thread(
                target=self._close_expired, name="qvq_wrapper idle", daemon=True)
            self._closer.start()
        elif at < self._closer_wakes:
            self._changed.notify_all()

    def _close_expired(self) -> None:
        with self._changed:
            while self._idle or self._draining:
                now = time.monotonic()
                for connection in [each for each, end in self._draining.items() if end <= now]:
                    del self._draining[connection]
                    connection.cut(now=True)
                for client in [each for each in self._idle if each.expires <= now]:
                    self._idle.remove(client)
                    client.close()
                ends = [*self._draining.values(), *(client.expires for client in self._idle)]
                self._closer_wakes = min(ends, default=now)
                self._changed.wait(self._closer_wakes - now)
            self._closer = None


shelf = Shelf()
_clients: WeakSet[KeptClient] = WeakSet()


def _after_fork() -> None:
    """Close the inherited sockets, without a shutdown: that would reach the parent's answers."""
    for client in list(_clients):
        with suppress(OSError, AttributeError):
            client.stream.get_extra_info("socket").close()
    _clients.clear()
    shelf.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
