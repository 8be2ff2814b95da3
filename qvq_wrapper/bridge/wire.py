"""The socket of a connection: a deadline for each step, and a cut from any thread."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any
from weakref import WeakSet

import httpcore

READ_BYTES = 2**10  # that one read asks for while little arrives
LOOK_AGAIN = 0.5  # seconds after which a waiting step looks at its deadline again


class Wire(httpcore.NetworkBackend, httpcore.NetworkStream):
    """Opens one connection at a time for httpcore, and is its stream.

    Both are httpcore's documented extension points:
    https://www.encode.io/httpcore/network-backends. httpcore's own timeouts are for each read, so
    a server that sends single bytes never meets them.

    Attributes:
        patience: seconds for a response, for a pause in sending, and for silence in a stream.
        deadline: when the current step has to end, by ``time.monotonic()``.
        streams: the response is a stream, so each byte of it sets a new deadline.
        used: httpcore has opened a connection here. A newer one may know nothing of this class.
        sent: the first byte of our own request was sent. What opens a tunnel does not count.
        received: something came after that.
    """

    def __init__(self) -> None:
        self.patience = self.connect_timeout = self.deadline = math.inf
        self.used = self.streams = self.sent = self.received = False
        self._socket: Any = None
        self._io: Any = None  # what reads and writes: the socket, unless TLS is inside TLS
        self._is_cut = False
        self._size = READ_BYTES
        _wires.add(self)

    def begin(self, patience: float, connect_timeout: float) -> None:
        """Prepare for a request. ``connect_timeout`` is for all addresses, the proxy and TLS."""
        self.patience, self.connect_timeout = patience, connect_timeout
        self.streams = self.sent = self.received = False
        self.deadline = time.monotonic() + patience

    def hurry(self, seconds: float) -> None:
        """End the current step after so many seconds, also one that another thread waits for."""
        self.patience = min(self.patience, seconds)
        self.deadline = min(self.deadline, time.monotonic() + seconds)

    def cut(self) -> None:
        """End the current step now, and let no other begin.

        Takes no lock: any thread, destructor or signal handler may call it.
        """
        self._is_cut = True
        with suppress(OSError, TypeError):
            # Not SSLSocket's own shutdown, which takes the TLS state from under the reading thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def is_quiet(self) -> bool:
        """Return whether the connection is open, and nothing has come that was not asked for."""
        with suppress(OSError, AttributeError):
            self._io.settimeout(0)
            try:
                self._io.recv(1)  # also reads the session tickets of TLS 1.3
            except (BlockingIOError, ssl.SSLWantReadError):
                return True
        return False

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None,
        local_address: str | None = None, socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        self.used = True
        with _raised_as(httpcore.ConnectTimeout, httpcore.ConnectError):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.deadline = time.monotonic() + self.connect_timeout
            for left in range(len(found), 0, -1):
                family, kind, protocol, _, address = found[-left]
                try:
                    self._socket = self._io = socket.socket(family, kind, protocol)
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._socket.settimeout(self._left() / left)
                    self._socket.connect(address)
                    break
                except OSError:
                    self.close()
                    if left == 1:
                        raise
        return self

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        bare = self._socket
        with _raised_as(httpcore.ConnectTimeout, httpcore.ConnectError):
            bare.settimeout(self._left())
            if isinstance(bare, ssl.SSLSocket):
                self._io = _TlsInTls(bare, ssl_context, server_hostname)
                return self
            # wrap_socket() takes the socket out of ``bare`` before it shakes hands. Until that is
            # done, a duplicate is what cut() can reach.
            with bare.dup() as self._socket:
                wrapped = ssl_context.wrap_socket(bare, server_hostname=server_hostname)
            self._socket = self._io = wrapped
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # Python allocates what a read asks for before it waits, and httpcore asks for 64 kB.
        size = min(max_bytes, self._size)
        late = httpcore.ReadTimeout if self.sent else httpcore.ConnectTimeout
        with _raised_as(late, httpcore.ReadError):
            data: bytes = self._until_deadline(self._io.recv, size)
        self._size = READ_BYTES if len(data) < size else max_bytes
        self.received = self.received or self.sent and bool(data)
        if self.streams:
            self.deadline = time.monotonic() + self.patience
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer.startswith((b"GET ", b"POST ")):  # neither CONNECT nor a word of SOCKS
            self.sent = True
        late = httpcore.WriteTimeout if self.sent else httpcore.ConnectTimeout
        rest = memoryview(buffer)
        with _raised_as(late, httpcore.WriteError):
            while rest:
                rest = rest[self._until_deadline(self._io.send, rest):]
                if self.sent:
                    self.deadline = time.monotonic() + self.patience

    def close(self) -> None:
        if self._socket:
            self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        # httpcore closes an idle connection that is readable. It needs no other info.
        return not self.is_quiet() if info == "is_readable" else None

    def _until_deadline(self, step: Callable[[Any], Any], argument: Any) -> Any:
        while True:
            left = self._left()
            self._io.settimeout(left if self.streams else min(left, LOOK_AGAIN))
            with suppress(TimeoutError):
                result = step(argument)
                if self._is_cut:  # recv() then returns what looks like the regular end
                    self._left()
                return result

    def _left(self) -> float:
        """Return the seconds until the deadline."""
        if self._is_cut:
            raise ConnectionAbortedError("it was cut")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, TIMEOUT_MAX)


class _TlsInTls:
    """TLS inside the TLS of an https proxy, as httpcore has it, with the methods of a socket."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, name: str | None) -> None:
        from httpcore._backends.sync import TLSinTLSStream

        self.settimeout = outer.settimeout
        self._inner: Any = TLSinTLSStream(outer, context, name, outer.gettimeout())

    def recv(self, size: int) -> Any:
        return self._inner._perform_io(partial(self._inner.ssl_obj.read, size))

    def send(self, data: memoryview) -> Any:
        return self._inner._perform_io(partial(self._inner.ssl_obj.write, data))


@contextmanager
def _raised_as(late: type[Exception], failed: type[Exception]) -> Iterator[None]:
    """Raise httpcore's exceptions, as its own backend does."""
    try:
        yield
    except TimeoutError as error:
        raise late("it took too long") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be looked up
        raise failed(str(error)) from error


_wires: WeakSet[Wire] = WeakSet()


def close_inherited() -> None:
    """Close all sockets in a forked process, without a shutdown: the parent uses them."""
    for wire in list(_wires):
        with suppress(OSError):
            wire.close()
