"""Checks what a visitor sends before Gradio opens, copies, fetches or serves anything.

Gradio 6.31 copies every file that an input names into its cache, and serves its cache.
"""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import MediaError
from .picture import open_picture
from .uploads import MAX_FILE, SMALL_FILES, Refused, Uploads

MAX_JSON = 4 * 2**20
"""Bytes of a question."""
_FORM = 2**16  # bytes of a form around the picture
# Gradio has more: a proxy, a video editor, a code editor, a monitor. The pages need only these.
_READ = re.compile(
    r"/gradio_api/(info|openapi\.json|app_id|startup-events|heartbeat/[^/]+|queue/(data|status)|"
    r"call/.+|upload_progress|user|login_check|token|theme\.css)/?|"
    r"(?!/gradio_api/|/monitoring).*", re.DOTALL)
_ASK = re.compile(r"/gradio_api/(queue/join|(run|api|call|call/v2)/[^/]+|cancel|reset)/?")
_FILE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)
_UNKNOWN = "The Space has no such address."
_PRIVATE = "The Space uses only pictures that were uploaded to it."


class Visitors:
    """An ASGI application around Gradio's that passes on only what a visitor may ask."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self._app, self._uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with status 400 to 507 and a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, path = Request(scope, receive), scope["path"]
        try:
            if request.method in ("GET", "HEAD", "OPTIONS"):
                await self._check_read(path)
                await self._app(scope, receive, send)
            elif request.method == "POST" and path.rstrip("/") == "/gradio_api/upload":
                async with self._uploads.room(_size(request, MAX_FILE + _FORM) + SMALL_FILES):
                    await self._app(scope, receive, send)
            elif request.method == "POST" and path.rstrip("/") == "/login":
                _size(request, _FORM)
                await self._app(scope, receive, send)
            elif request.method == "POST" and _ASK.fullmatch(path):
                question = await to_thread.run_sync(self._question, await _read(request))
                await self._app(scope, _replay(question, receive), send)
            else:
                raise Refused(_UNKNOWN, 404)
        except ClientDisconnect:
            pass
        except Refused as refused:
            content = {"detail": str(refused), "error": str(refused)}
            await JSONResponse(content, refused.status)(scope, receive, send)

    async def _check_read(self, path: str) -> None:
        if named := _FILE.fullmatch(path):
            if not await to_thread.run_sync(self._uploads.find, named[1]):
                raise Refused(_PRIVATE, 403)
        elif not _READ.fullmatch(path):
            raise Refused(_UNKNOWN, 404)

    def _question(self, body: bytes) -> bytes:
        """Return a question whose pictures are checked, and written as Gradio has to read it."""
        pictures: list[dict[str, Any]] = []

        def note_pictures(found: dict[str, Any]) -> dict[str, Any]:
            if found.get("path") is not None or found.get("url") is not None:
                pictures.append(found)
            return found

        try:
            question = json.loads(body, object_hook=note_pictures)
            if len(pictures) > 2:  # the page's example also tells what was clicked
                raise Refused("The Space takes one picture.")
            for picture in pictures:
                picture |= self._safe_form(picture.get("path"), picture.get("url"))
            return json.dumps(question).encode()
        except (ValueError, RecursionError):
            raise Refused("The question is not valid JSON.") from None

    def _safe_form(self, path: Any, url: Any) -> dict[str, Any]:
        """Check a picture, and return the fields that make Gradio use just what was checked."""
        if path is None:
            picture = picture_in(url)
            _check_picture(io.BytesIO(picture))
            # Written anew, so that it is the same picture to every reader.
            data = base64.b64encode(picture).decode()
            return {"url": f"data:image/png;base64,{data}", "is_stream": False}
        if not str(path).startswith(("http://", "https://")):  # a URL is fetched in fetch.py
            file = self._uploads.find(path)
            if not file:
                raise Refused(_PRIVATE)
            _check_picture(file)
            path = str(file)
        safe = {"path": path, "url": None, "is_stream": False}
        return safe | {"meta": {"_type": "gradio.FileData"}}  # so that a URL is fetched


def picture_in(data_uri: object) -> bytes:
    """Return the picture in a data URI.

    Raises:
        Refused: it is not one, or not in base64.
    """
    head, comma, data = data_uri.rpartition(",") if isinstance(data_uri, str) else ("", "", "")
    if not head.startswith("data:"):
        raise Refused("A picture needs the path that /gradio_api/upload returned for it.")
    try:
        return base64.b64decode(data)
    except ValueError:
        raise Refused("The picture's data URI is not base64.") from None


def _check_picture(file: Path | io.BytesIO) -> None:
    try:
        with open_picture(file):
            pass
    except MediaError as error:
        raise Refused(str(error)) from None


def _size(request: Request, most: int) -> int:
    size = request.headers.get("content-length", "")
    if not re.fullmatch("[0-9]{1,18}", size) or "transfer-encoding" in request.headers:
        raise Refused("The request does not tell its length.", 411)
    if int(size) > most:
        raise Refused(f"The request has more than {most:,} bytes.", 413)
    return int(size)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > MAX_JSON:
            raise Refused(f"The question has more than {MAX_JSON:,} bytes.", 413)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_on() -> Message:
        return messages.pop() if messages else await receive()

    return receive_on
