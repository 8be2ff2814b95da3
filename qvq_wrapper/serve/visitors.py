"""Checks what a visitor sends before Gradio opens, copies, fetches or serves anything.

Gradio 6.31 copies every file that an input names into its cache, and serves its cache.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import MediaError
from .picture import open_picture
from .uploads import MAX_FILE, SMALL_FILES, Uploads

MAX_JSON = 4 * 2**20
"""Bytes of a question."""
_FORM = 2**16  # bytes of a form around the picture
_API = "/gradio_api/"
# Gradio has more: a proxy, a video editor, a code editor, a monitor. The pages need only these.
_READ = re.compile(
    r"(info|openapi\.json|app_id|startup-events|heartbeat/[^/]+|queue/(data|status)|call/.+|"
    r"upload_progress|user|login_check|token|theme\.css)/?")
_ASK = re.compile(r"(queue/join|(run|api|call|call/v2)/[^/]+|cancel|reset)/?")
_FILE = re.compile(r"file[=/](.*)", re.DOTALL)
_PRIVATE = "The Space uses only pictures that were uploaded to it."
_FULL = "The Space's folder is full. Try again later."


class Refused(Exception):
    """A request that Gradio never sees, and one plain sentence why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Visitors:
    """An ASGI application around Gradio's that passes on only what a visitor may ask."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self._app, self._uploads = app, uploads
        self._arriving = 0  # bytes that the uploads which have begun can take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with status 400 to 507 and a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with self._admitted(Request(scope, receive)) as checked:
                await self._app(scope, checked, send)
        except ClientDisconnect:
            pass
        except Refused as refused:
            content = {"detail": str(refused), "error": str(refused)}
            await JSONResponse(content, refused.status)(scope, receive, send)

    @asynccontextmanager
    async def _admitted(self, request: Request) -> AsyncIterator[Receive]:
        """Yield what the application receives instead of the request."""
        path = request.scope["path"]
        api = path.removeprefix(_API) if path.startswith(_API) else ""
        receive, size = request.receive, 0
        try:
            if request.method in ("GET", "HEAD", "OPTIONS"):
                await self._check_read(path, api)
            elif request.method != "POST":
                raise Refused("The Space has no such address.", 404)
            elif api.rstrip("/") == "upload":
                size = _size(request, MAX_FILE + _FORM) + SMALL_FILES
                self._arriving += size
                if not await to_thread.run_sync(self._uploads.has_room, self._arriving):
                    raise Refused(_FULL, 507)
            elif path.rstrip("/") == "/login":
                _size(request, _FORM)
            elif _ASK.fullmatch(api):
                body = await _read(request)
                receive = _replay(await to_thread.run_sync(self._checked, body), receive)
            else:
                raise Refused("The Space has no such address.", 404)
            yield receive
        finally:
            self._arriving -= size

    async def _check_read(self, path: str, api: str) -> None:
        if named := _FILE.fullmatch(api):
            if not await to_thread.run_sync(self._uploads.find, named[1]):
                raise Refused(_PRIVATE, 403)
        elif path.startswith("/monitoring") or path.startswith(_API) and not _READ.fullmatch(api):
            raise Refused("The Space has no such address.", 404)

    def _checked(self, body: bytes) -> bytes:
        """Return a question whose pictures are checked, and written as Gradio has to read it."""
        try:
            return json.dumps(json.loads(body, object_hook=_Pictures(self._uploads))).encode()
        except (ValueError, RecursionError):
            raise Refused("The question is not valid JSON.") from None


class _Pictures:
    """Checks each object of a question. One that names a picture is changed to the safe form."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads, self._found = uploads, 0

    def __call__(self, found: dict[str, Any]) -> dict[str, Any]:
        path, url = found.get("path"), found.get("url")
        if path is None and url is None:
            return found
        self._found += 1
        if self._found > 2:  # the page's example also tells what was clicked
            raise Refused("The Space takes one picture.")
        if path is None:
            if not self._uploads.has_room(MAX_FILE):  # Gradio writes it into a file
                raise Refused(_FULL, 507)
            return found | {"url": _checked_data(url), "is_stream": False}
        safe = {"path": self._checked_path(path), "url": None, "is_stream": False}
        return found | safe | {"meta": {"_type": "gradio.FileData"}}  # so that a URL is fetched

    def _checked_path(self, path: Any) -> str:
        if isinstance(path, str) and path.startswith(("http://", "https://")):
            return path  # fetched in fetch.py
        file = self._uploads.find(path) if isinstance(path, str) else None
        if not file:
            raise Refused(_PRIVATE)
        _check_picture(str(file))
        return str(file)


def _checked_data(url: Any) -> str:
    """Return a data URI that holds the same picture for every reader."""
    head, comma, data = url.rpartition(",") if isinstance(url, str) else ("", "", "")
    if not comma or not head.startswith("data:"):
        raise Refused("A picture needs the path that /gradio_api/upload returned for it.")
    try:
        picture = base64.b64decode(data)
    except ValueError:
        raise Refused("The picture's data URI is not base64.") from None
    _check_picture(io.BytesIO(picture))
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _check_picture(file: str | io.BytesIO) -> None:
    try:
        open_picture(file).close()
    except MediaError as error:
        raise Refused(str(error)) from None


def _size(request: Request, most: int) -> int:
    size = request.headers.get("content-length", "")
    if not re.fullmatch("[0-9]{1,18}", size) or "transfer-encoding" in request.headers:
        raise Refused("The request does not tell its length.", 411)
    if int(size) > most:
        raise Refused(f"The request has more than {most // 2**20} MB.", 413)
    return int(size)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > MAX_JSON:
            raise Refused(f"The question has more than {MAX_JSON // 2**20} MB.", 413)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_on() -> Message:
        return messages.pop() if messages else await receive()

    return receive_on
