"""Fetches a picture from a visitor's URL, from public addresses alone and in bounds."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import gradio as gr
import httpx
import safehttpx  # type: ignore[import-untyped]
from anyio import fail_after, to_thread
from gradio import processing_utils

from .addresses import is_public
from .uploads import MAX_FILE, Uploads

MAX_SECONDS = 60.0


def guard_fetches(uploads: Uploads) -> None:
    """Make Gradio fetch each URL, and what it redirects to, in this way."""
    processing_utils.async_transport = PublicTransport(uploads)  # type: ignore[assignment]


class PublicTransport(httpx.AsyncBaseTransport):
    """Connects to the address that was checked, so that the name cannot mean another one then."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response with its whole body.

        Raises:
            gradio.Error: the address is not public, does not answer, or sends too much.
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
        if not await to_thread.run_sync(self._uploads.has_room, len(body)):
            raise _refusal("cannot be kept: the Space's folder is full. Try again later")
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
