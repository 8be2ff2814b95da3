"""A line to a Space. It adds latency, also to the set-up of TCP and TLS.

It counts connections, requests and bytes.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

_REQUEST = re.compile(rb"(?:GET|POST|PUT|HEAD|DELETE|OPTIONS) ([^\s?]+)\S* HTTP/1\.1\r\n")


def certificate(folder: Path) -> Path | None:
    """A self-signed certificate with its key, made by openssl; None where there is no openssl."""
    path = folder / "localhost.pem"
    if not path.exists() and shutil.which("openssl"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "365", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(path) + ".key", "-out", str(path)], check=True, capture_output=True)
    return path if path.exists() else None


class Relay:
    """Runs in a thread: the line (latency, bytes), the TLS end behind it, then the Space.

    Args:
        latency: seconds each way.
        cert: the certificate; None for plain HTTP.
    """

    def __init__(self, space_port: int, latency: float = 0, cert: Path | None = None) -> None:
        self.space_port, self.latency, self.cert = space_port, latency, cert
        self.connections = self.bytes = 0
        self.paths: Counter[str] = Counter()  # of the requests
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._ready.wait(10)
        self.url = f"http{'s' if cert else ''}://localhost:{self.port}"

    def counts(self) -> dict[str, int]:
        """What was counted since the last time."""
        paths, self.paths = self.paths, Counter()
        found = {
            "connections": self.connections, "bytes": self.bytes, "requests": paths.total(),
            "app_id": sum(n for path, n in paths.items() if path.endswith("/app_id")),
            "heartbeats": sum(n for path, n in paths.items() if "/heartbeat/" in path)}
        self.connections = self.bytes = 0
        return found

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda *_: None)  # a broken line is the peers' business
        context = None
        if self.cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.cert, str(self.cert) + ".key")
        start = asyncio.start_server
        inner = self._loop.run_until_complete(
            start(self._serve, "127.0.0.1", 0, ssl=context, backlog=2000))
        self._inner_port = inner.sockets[0].getsockname()[1]
        outer = self._loop.run_until_complete(
            start(self._line, "127.0.0.1", 0, backlog=2000))
        self.port = outer.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Loopback connects at once. On the line the client's first bytes would follow a round trip.
        self.connections += 1
        open_at = time.monotonic() + 3 * self.latency
        up, down = await asyncio.open_connection("127.0.0.1", self._inner_port)
        await asyncio.gather(self._delayed(reader, down, open_at), self._delayed(up, writer, 0))

    async def _delayed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, not_before: float
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - time.monotonic())
                if not data:
                    return writer.close()
                self.bytes += len(data)
                writer.write(data)

        delivery = asyncio.create_task(deliver())
        data = b" "
        while data:
            with suppress(OSError):
                data = await _read(reader)
            under_way.put_nowait((max(time.monotonic() + self.latency, not_before), data))
        await delivery

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection("127.0.0.1", self.space_port)
        await asyncio.gather(self._copy(reader, down, True), self._copy(up, writer, False))

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asks: bool
    ) -> None:
        while data := await _read(reader):
            if asks and (head := _REQUEST.match(data)):
                self.paths[head[1].decode()] += 1
                if self.cert:  # as Hugging Face's own proxy tells a Space its address
                    data = head[0] + b"x-forwarded-proto: https\r\n" + data[head.end():]
            writer.write(data)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except OSError:
        return b""
