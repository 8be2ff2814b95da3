"""What stands between a client and a Space in the tests: a TCP relay, an HTTP proxy and a SOCKS5 proxy."""

import base64
import http.server
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress


def connection(address):
    return socket.create_connection(address, timeout=30)


class Relay:
    """Hands bytes on between its port and ``target``, a port on loopback; can spoil what comes back.

    ``up`` is called with each piece that a client sends, ``down`` with each that the server sends. They
    return what is handed on; None cuts the connection. Both can be changed at any time.
    """

    def __init__(self, target=None):
        self.target = target
        self.up = self.down = lambda data: data
        self.connections = 0
        self.requests = []
        """The first line of each request, as long as it came at the head of a piece."""
        self.stalled = threading.Event()
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with suppress(OSError), closing(client):
            self.handle(client)

    def handle(self, client):
        self.pump(client, connection(("127.0.0.1", self.target)))

    def pump(self, client, server, down=None):
        pair = {client, server}
        self._open |= pair
        thread = threading.Thread(
            target=self._copy, args=(client, server, self._see_request), daemon=True)
        thread.start()
        self._copy(server, client, down or (lambda data: self.down(data)))
        thread.join()
        self._open -= pair
        server.close()

    def _see_request(self, data):
        line = data.split(b"\r\n", 1)[0].decode("latin-1")
        if line.endswith(" HTTP/1.1"):
            self.requests.append(line)
        return self.up(data)

    def asked(self, path):
        """How many requests were for this path."""
        return sum(f"{path} " in line or f"{path}?" in line for line in self.requests)

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

    def wait(self):
        """Does not come back while the line is stalled."""
        while self.stalled.is_set():
            threading.Event().wait(0.05)

    def cut(self):
        """Break off every connection."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._listener.close()
        self.stalled.clear()
        self.cut()


def read_head(client):
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(65536)
        if not data:
            raise ConnectionError
        head += data
    return head


class HttpProxy(Relay):
    """An HTTP proxy that writes down its targets, waits ``delay`` s for each, and refuses the next ``refused``."""

    def __init__(self, credentials=None):
        super().__init__()
        self.credentials = credentials
        self.targets = []
        self.refused = 0
        self.delay = 0

    def handle(self, client):
        head = read_head(client)
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.targets.append((method, target))
        time.sleep(self.delay)
        if self.credentials:
            token = base64.b64encode(self.credentials.encode()).decode()
            if f"proxy-authorization: basic {token}".lower() not in head.decode("latin-1").lower().splitlines():
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
        if self.refused:
            self.refused -= 1
            client.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            host, port = target.split(":")
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self.pump(client, connection((host, int(port))))
            return
        address = target.split("/")[2]
        host, _, port = address.partition(":")
        server = connection((host, int(port or 80)))
        server.sendall(head.replace(f"http://{address}".encode(), b"", 1).replace(b"keep-alive", b"close", 1))
        self.pump(client, server)


class Faulty(Relay):
    """Hands requests on, but the first ``times`` for ``path``: those meet with ``fault``.

    ``fault`` is the HTTP status of an answer in the Space's place, or ``before`` or ``after``: the line is
    cut before the Space has the request, or before its answer is back.
    """

    def __init__(self, target, path, fault, times=1, body=b""):
        super().__init__(target)
        self.path, self.fault, self.times, self.body = path.encode(), fault, times, body

    def handle(self, client):
        head = read_head(client)
        fault = None
        if self.times and self.path in head.split(b"\r\n", 1)[0]:
            self.times -= 1
            fault = self.fault
        if fault == "before":
            return
        if fault in (None, "after"):
            server = connection(("127.0.0.1", self.target))
            server.sendall(head.replace(b"keep-alive", b"close", 1))
            self.pump(client, server, None if fault is None else lambda data: None)
            return
        client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                       % (fault, len(self.body), self.body))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):  # a close with something unread would take the answer back
            pass


class SocksProxy(Relay):
    """A SOCKS5 proxy (RFC 1928) that writes down where it is asked to go."""

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
        server = connection((host, port))
        client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        self.pump(client, server)


@contextmanager
def web_server(status, body="", headers=()):
    """A web server that is no Gradio app; counts the requests that it answers with ``status``."""
    asked = []
    content = body.encode() if isinstance(body, str) else body

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.asked, server.url = asked, f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
