"""Servers on this machine: relays to a Space, proxies, and web servers that are no Space."""

import asyncio
import base64
import http.client
import http.server
import re
import socket
import ssl
import threading
import time
import zlib
from contextlib import closing, suppress


def connect(address):
    return socket.create_connection(address, timeout=30)


class Relay:
    """A TCP relay from its own port to ``target``, a port on this machine.

    A test says what it does with what passes, at any time. A ``path`` is the beginning or any other
    part of what a request asks for. Responses are changed piece by piece, as they arrive.

    Args:
        keep_alive: False has the Space close the connection after each response.

    Attributes:
        stalled: an event. While it is set, nothing is passed on.
        connections: how many connections clients have made.
        heads: the head of each request. A request that does not begin a piece is missed.
        faults: how many requests have met a fault that a test asked for.
    """

    def __init__(self, target=None, *, keep_alive=True):
        self.target, self.keep_alive = target, keep_alive
        self.stalled = threading.Event()
        self.connections = self.faults = 0
        self.heads = []
        self._open, self._links = set(), []
        self._faults, self._changes = [], []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self):
        """The first line of each request."""
        return [first_line(head).decode("latin-1") for head in self.heads]

    def count(self, path):
        """Return the number of requests for this path."""
        return sum(f"{path} " in line or f"{path}?" in line for line in self.requests)

    @property
    def call_connections(self):
        """How many connections had other requests than a heartbeat, which has one of its own."""
        return sum(link.has_call for link in self._links)

    # What it does with requests

    def stall_at(self, path):
        """Pass on nothing, in no connection, from such a request on until ``resume()``."""
        def stall(link, data):
            self.stalled.set()
            self.wait()
            return data

        self._faults.append([path, stall, 1])

    def resume(self):
        self.stalled.clear()

    def wait(self):
        """Block while the relay is stalled."""
        while self.stalled.is_set():
            time.sleep(0.01)

    def close_at(self, path, times=1):
        """Close the connection at such a request, which is not passed on."""
        self._faults.append([path, lambda link, data: None, times])

    def lose_answer(self, path, times=1):
        """Pass on such a request, and close the connection when its response arrives."""
        def lose(link, data):
            link.is_lost = True
            return data

        self._faults.append([path, lose, times])

    def answer(self, path, status, body=b"", times=1):
        """Answer such a request with this HTTP status. It is not passed on."""
        def answer(link, data):
            with suppress(OSError):
                link.client.sendall(
                    b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                    % (status, len(body), body))
                link.client.shutdown(socket.SHUT_WR)
                while link.client.recv(65536):  # closing with unread data would reset it
                    pass

        self._faults.append([path, answer, times])

    # What it does with responses

    def change(self, function, path=""):
        """Pass on what a function returns for each piece of a response to such a request.

        If that is None, the connection is closed.
        """
        self._changes.append(lambda link, data: function(data) if link.asks(path) else data)

    def change_whole(self, path, function):
        """Pass on what a function returns for each whole response to such a request."""
        def change(link, data):
            if not link.asks(path):
                return data
            link.response += data
            return function(bytes(link.response)) if is_complete(link.response) else b""

        self._changes.append(change)

    def replace(self, old, new=b""):
        """Replace bytes in each piece of a response."""
        self.change(lambda data: data.replace(old, new))

    def add_header(self, header, path=""):
        """Add a header to each response to such a request."""
        self.change(lambda data: add_header(data, header), path)

    def cut_at(self, text, path=""):
        """Close the connection in the middle of such a response, just before this text."""
        def cut(link, data):
            kept, found, _ = data.partition(text)
            if not found or not link.asks(path):
                return data
            link.client.sendall(kept)

        self._changes.append(cut)

    def cut(self):
        """Break off every connection."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def behave(self):
        """From now on, pass on everything as it is."""
        self._faults, self._changes = [], []
        self.resume()

    # How it works

    def handle(self, client):
        """Serve one connection; subclasses override this."""
        self.pump(client, connect(("127.0.0.1", self.target)))

    def forward(self, client, head, address):
        """Pass on a request whose head has been read, and then the rest of the connection.

        The server is told to close the connection after its answer. So each request comes over a
        new connection, and ``handle`` sees its head.
        """
        server = connect(address)
        server.sendall(head.replace(b"keep-alive", b"close", 1))
        self.pump(client, server)

    def pump(self, client, server, down=None):
        """Copy data in both directions until one end closes, and close ``server``.

        Args:
            down: called with each piece that the server sends. The relay passes on what it returns.
        """
        pair, link = {client, server}, _Link(client)
        self._open |= pair
        self._links.append(link)
        thread = threading.Thread(
            target=self._copy, args=(client, server, lambda data: self._up(link, data)),
            daemon=True)
        thread.start()
        self._copy(server, client, down or (lambda data: self._down(link, data)))
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

    def _up(self, link, data):
        if first_line(data).endswith(b" HTTP/1.1"):
            link.head, link.response = data.partition(b"\r\n\r\n")[0], bytearray()
            self.heads.append(link.head)
            link.has_call = link.has_call or not link.asks("/heartbeat/")
            if not self.keep_alive:
                data = data.replace(b"keep-alive", b"close", 1)
            for fault in self._faults:
                path, happen, times = fault
                if times and data is not None and link.asks(path):
                    fault[2] -= 1
                    self.faults += 1
                    data = happen(link, data)
        return data

    def _down(self, link, data):
        if link.is_lost:
            return None
        for change in self._changes:
            data = data and change(link, data)
        return data

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
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone does not end accept()
        self._listener.close()
        self.resume()
        self.cut()


class _Link:
    """One connection through a relay: its latest request, and what its response has so far."""

    def __init__(self, client):
        self.client, self.head, self.response = client, b"", bytearray()
        self.has_call = self.is_lost = False

    def asks(self, path):
        return path.encode() in first_line(self.head)


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


def is_complete(response):
    head, _, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    return len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n")


class TlsRelay:
    """A relay in this event loop to ``port``, with TLS if there is a certificate.

    A socket of TLS cannot be read and written by two threads, which a ``Relay`` has.

    Attributes:
        versions: the TLS version of each connection.
    """

    def __init__(self, port, certificate=None):
        self.port, self.versions, self._clients, self._context = port, [], [], None
        if certificate:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(*certificate)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        scheme = "https" if self._context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for client in self._clients:
            client.close()

    def send(self, data):
        """Send something of its own to every client."""
        for client in self._clients:
            if not client.is_closing():
                client.write(data)

    async def _serve(self, reader, writer):
        if self._context:
            self.versions.append(writer.get_extra_info("ssl_object").version())
        self._clients.append(writer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._clients.remove(writer)

    async def _copy(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


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


class WebServer:
    """An HTTP server with this request handler, while a ``with`` block is active."""

    def __init__(self, handler):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self._server.handle_error = lambda *arguments: None  # the client may leave
        self._server.socket.settimeout(1)  # accept() can block after all, and then shutdown() too
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        # shutdown() waits for one poll interval.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Handles GET and POST alike, by ``serve``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise a small body waits 40 ms for an acknowledgement

    def do_GET(self):
        self.serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


class CompressingProxy(WebServer):
    """A reverse proxy to ``target`` that compresses each response, whatever the client accepts.

    Args:
        coding: the content coding that it names. ``gzip`` and ``deflate`` are what they say.
    """

    def __init__(self, target, coding):
        class Compressing(Handler):
            def serve(self, body):
                with closing(http.client.HTTPConnection("127.0.0.1", target, timeout=30)) as space:
                    space.request(self.command, self.path, body, dict(self.headers))
                    self.compress(space.getresponse())

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

        super().__init__(Compressing)


def web_server(status, body="", headers=()):
    """Return a web server that is not a Gradio app. ``requests`` has the path of each request."""
    content = body.encode() if isinstance(body, str) else body

    class Same(Handler):
        def serve(self, asked):
            server.requests.append(self.path)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = WebServer(Same)
    server.requests = []
    return server
