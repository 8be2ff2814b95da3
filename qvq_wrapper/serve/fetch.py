"""Takes a picture from a visitor's URL or data URI: from public addresses alone, and in bounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import cast

import gradio as gr
import httpx
import safehttpx  # type: ignore[import-untyped]
from anyio import fail_after, from_thread
from gradio import image_utils, processing_utils

from .addresses import is_public
from .uploads import MAX_FILE, Refused, Uploads
from .visitors import picture_in

MAX_SECONDS = 60.0
_lent: ContextVar[AsyncExitStack] = ContextVar("lent")  # the room for a download's file


def take_pictures(uploads: Uploads) -> None:
    """Make Gradio take each picture at a URL or in a data URI in this way."""
    download = processing_utils.async_ssrf_protected_download

    async def fetch(url: str, cache_dir: str) -> str:
        async with AsyncExitStack() as lent:
            _lent.set(lent)
            return await _or_refusal(download(url, cache_dir))

    async def keep(data_uri: str) -> str:
        return await _or_refusal(uploads.keep(picture_in(data_uri)))

    processing_utils.async_transport = PublicTransport(uploads)  # type: ignore[assignment]
    processing_utils.async_ssrf_protected_download = fetch
    # Gradio 6.31 would decode it, which takes memory, and encode it anew.
    image_utils.decode_base64_to_file = lambda data_uri, *_, **__: from_thread.run(keep, data_uri)


async def _or_refusal(path: Awaitable[str]) -> str:
    """Return the path of a picture's file. Raise what a visitor is told if there is none."""
    try:
        return await path
    except Refused as refused:
        raise gr.Error(str(refused), print_exception=False) from None


class PublicTransport(httpx.AsyncBaseTransport):
    """Connects to the address that was checked, so that the name cannot mean another one then."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response with its whole body.

        Raises:
            gradio.Error: the address is not public, does not answer, or sends too much.
            Refused: the folder is full.
        """
        address = await _public_address(request.url.host)
        request.headers["Accept-Encoding"] = "identity"  # a few compressed bytes can be many
        try:
            with fail_after(MAX_SECONDS):
                async with safehttpx.AsyncSecureTransport(address) as transport:
                    found = await transport.handle_async_request(request)
                    response = cast("httpx.Response", found)  # not typed
                    body = await _read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise _refusal(f"cannot be fetched ({type(error).__name__})") from None
        if response.status_code >= 400:
            raise _refusal(f"cannot be fetched (HTTP {response.status_code})")
        await _lent.get().enter_async_context(self._uploads.room(len(body)))
        return httpx.Response(response.status_code, headers=response.headers, content=body)


async def _public_address(host: str) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise _refusal(f"cannot be fetched ({type(error).__name__})") from None
    addresses = [str(each[4][0]) for each in found]
    if not all(map(is_public, addresses)):
        raise _refusal("is not fetched: its address is not on the public internet")
    return addresses[0]


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _refusal("cannot be fetched: its server compresses it")
    body = bytearray()
    async for data in response.aiter_raw():
        body += data
        if len(body) > MAX_FILE:
            raise _refusal(f"has more than {MAX_FILE // 2**20} MB")
    return bytes(body)


def _refusal(why: str) -> gr.Error:
    return gr.Error(f"The picture at this URL {why}.", print_exception=False)
