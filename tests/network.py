"""Servers that stand between a client and a Space: relays, an HTTP proxy and a SOCKS5 proxy."""

import base64
import http.client
import http.server
import socket
import threading
import time
import zlib
from contextlib import closing, contextmanager, suppress


def connect(address):
    return socket.create_connection(address, timeout=30)


class Relay:
    """A TCP relay from its own port to ``target``, a port on this machine.

    A test can watch, change and hold up what passes. It may change these attributes at any time.

    Attributes:
        up: called with each piece of data that a client sends. The relay passes on what ``up``
            returns. If that is None, it closes the connection.
        down: the same for each piece that the server sends.
        stalled: an event. While it is set, nothing is passed on.
        connections: how many connections clients have made.
        requests: the first line of each request. A request that does not begin a piece is missed.
    """

    def __init__(self, target=None):
        self.target = target
        self.up = self.down = lambda data: data
        self.stalled = threading.Event()
        self.connections = 0
        self.requests = []
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def count(self, path):
        """Return the number of requests for this path."""
        return sum(f"{path} " in line or f"{path}?" in line for line in self.requests)

    def wait(self):
        """Block while the relay is stalled."""
        while self.stalled.is_set():
            time.sleep(0.05)

    def cut(self):
        """Break off every connection."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def handle(self, client):
        """Serve one connection; subclasses override this."""
        self.pump(client, connect(("127.0.0.1", self.target)))

    def forward(self, client, head, address, down=None):
        """Pass on a request whose head has been read, and then the rest of the connection.

        The server is told to close the connection after its answer. So each request comes over a
        new connection, and ``handle`` sees its head.
        """
        server = connect(address)
        server.sendall(head.replace(b"keep-alive", b"close", 1))
        self.pump(client, server, down)

    def pump(self, client, server, down=None):
        """Copy data in both directions until one end closes, and close ``server``.

        Args:
            down: used instead of the attribute ``down``.
        """
        pair = {client, server}
        self._open |= pair
        thread = threading.Thread(
            target=self._copy, args=(client, server, self._see_request), daemon=True)
        thread.start()
        self._copy(server, client, down or (lambda data: self.down(data)))
        thread.join()
        self._open -= pair
        server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with suppress(OSError), closing(client):
            self.handle(client)

    def _see_request(self, data):
        line = first_line(data).decode("latin-1")
        if line.endswith(" HTTP/1.1"):
            self.requests.append(line)
        return self.up(data)

    def _copy(self, source, sink, change):
        with suppress(OSError):
            while data := source.recv(65536):
                self.wait()
                data = change(data)
                if data is None:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._listener.close()
        self.stalled.clear()
        self.cut()


def read_head(client):
    """Read up to the end of a request's headers."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(65536)
        if not data:
            raise ConnectionError
        head += data
    return head


def first_line(data):
    return data.split(b"\r\n", 1)[0]


def add_header(data, header):
    """Add a header if a response begins in this piece of data."""
    if data.startswith(b"HTTP/1.1"):
        return data.replace(b"\r\n", b"\r\n" + header + b"\r\n", 1)
    return data


class Faulty(Relay):
    """A relay at which the first requests for one path fail. It passes on all others.

    Args:
        path: a part of the path of the requests that fail.
        fault: how they fail. ``"before"``: the connection is closed before the Space has the
            request. ``"after"``: the Space has the request, and the connection is closed before
            its answer arrives. A number: the relay answers with this HTTP status itself.
        times: how many requests fail.
        body: the body of the relay's own answer.
    """

    def __init__(self, target, path, fault, times=1, body=b""):
        super().__init__(target)
        self.path, self.fault, self.times, self.body = path.encode(), fault, times, body

    def handle(self, client):
        head = read_head(client)
        fault = None
        if self.times and self.path in first_line(head):
            self.times -= 1
            fault = self.fault
        space = ("127.0.0.1", self.target)
        if fault is None:
            self.forward(client, head, space)
        elif fault == "after":
            self.forward(client, head, space, down=lambda data: None)
        elif fault != "before":
            self._answer(client, fault)

    def _answer(self, client, status):
        client.sendall(
            b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status, len(self.body), self.body))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):  # closing with unread data would reset the connection
            pass


class HttpProxy(Relay):
    """An HTTP proxy.

    Attributes:
        targets: method and target of each request.
        credentials: ``user:password`` that a client has to send, or None.
        refused: how many of the next requests it refuses.
        delay: seconds that it waits before it handles a request.
    """

    def __init__(self, credentials=None):
        super().__init__()
        self.credentials = credentials
        self.targets = []
        self.refused = 0
        self.delay = 0

    def handle(self, client):
        head = read_head(client)
        method, target, _ = first_line(head).decode().split(" ")
        self.targets.append((method, target))
        time.sleep(self.delay)
        if not self._is_allowed(head):
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif self.refused:
            self.refused -= 1
            client.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT":
            host, port = target.split(":")
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self.pump(client, connect((host, int(port))))
        else:
            address = target.split("/")[2]
            host, _, port = address.partition(":")
            head = head.replace(f"http://{address}".encode(), b"", 1)
            self.forward(client, head, (host, int(port or 80)))

    def _is_allowed(self, head):
        if not self.credentials:
            return True
        token = base64.b64encode(self.credentials.encode()).decode()
        wanted = f"proxy-authorization: basic {token}"
        return wanted.lower() in head.decode("latin-1").lower().splitlines()


class SocksProxy(Relay):
    """A SOCKS5 proxy (RFC 1928). ``targets`` has the host and port of each connection."""

    def __init__(self):
        super().__init__()
        self.targets = []

    def handle(self, client):
        client.recv(2 + 255)
        client.sendall(b"\x05\x00")
        request = client.recv(4 + 255)
        if request[3] == 1:
            host, rest = socket.inet_ntoa(request[4:8]), request[8:]
        else:
            host, rest = request[5:5 + request[4]].decode(), request[5 + request[4]:]
        port = int.from_bytes(rest[:2], "big")
        self.targets.append((host, port))
        server = connect((host, port))
        client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        self.pump(client, server)


class CompressingProxy:
    """A reverse proxy to ``target`` that compresses each response, whatever the client accepts.

    Args:
        coding: the content coding that it names. ``gzip`` and ``deflate`` are what they say.
    """

    def __init__(self, target, coding):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                with closing(http.client.HTTPConnection("127.0.0.1", target, timeout=30)) as space:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    space.request(self.command, self.path, body, dict(self.headers))
                    self.compress(space.getresponse())

            do_POST = do_GET

            def compress(self, response):
                self.send_response(response.status)
                self.send_header("Content-Type", response.headers["Content-Type"])
                self.send_header("Content-Encoding", coding)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                packer = zlib.compressobj(wbits=15 if coding == "deflate" else 31)
                while data := response.read1(65536):
                    self.send_chunk(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))
                self.send_chunk(packer.flush())
                self.wfile.write(b"0\r\n\r\n")

            def send_chunk(self, data):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self._server.handle_error = lambda *arguments: None  # the client may leave
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def web_server(status, body="", headers=()):
    """Run a web server that is not a Gradio app. ``requests`` has the path of each request."""
    requests = []
    content = body.encode() if isinstance(body, str) else body

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # shutdown() waits for one poll interval.
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    server.requests, server.url = requests, f"http://127.0.0.1:{server.server_port}"
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
