"""Takes a picture from a visitor's URL or data URI: from public addresses alone, and in bounds."""

from __future__ import annotations

import socket

import gradio as gr
import httpx
from anyio import fail_after, from_thread, getaddrinfo
from gradio import image_utils, processing_utils

from .addresses import is_public
from .uploads import MAX_FILE, Refused, Uploads
from .visitors import picture_in

MAX_SECONDS = 60.0


def take_pictures(uploads: Uploads) -> None:
    """Make Gradio take each picture at a URL or in a data URI in this way."""

    async def take(source: str, cache_dir: str, format: str = "") -> str:
        try:
            data = picture_in(source) if source.startswith("data:") else await _fetch(source)
            return await uploads.keep(data)
        except Refused as refused:
            raise gr.Error(str(refused), print_exception=False) from None

    processing_utils.async_ssrf_protected_download = take  # type: ignore[assignment]
    image_utils.decode_base64_to_file = lambda *given: from_thread.run(take, *given)


async def _fetch(url: str) -> bytes:
    try:
        with fail_after(MAX_SECONDS):
            async with httpx.AsyncClient(
                transport=_PublicTransport(), timeout=None, follow_redirects=True,
                headers={"Accept-Encoding": "identity"},  # a few compressed bytes can be many
            ) as client:
                return (await client.get(url)).raise_for_status().content
    except httpx.HTTPStatusError as error:
        raise _refusal(f"cannot be fetched (HTTP {error.response.status_code})") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise _refusal(f"cannot be fetched ({type(error).__name__})") from None


class _PublicTransport(httpx.AsyncHTTPTransport):
    """Connects to the address that was checked, so that the name cannot mean another one then."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response with its whole body, also if it redirects."""
        found = await getaddrinfo(request.url.host, None, type=socket.SOCK_STREAM)
        addresses = [each[4][0] for each in found]
        if not all(map(is_public, addresses)):
            raise _refusal("is not fetched: its address is not on the public internet")
        url = request.url.copy_with(host=addresses[0])
        name = {"sni_hostname": request.url.raw_host.decode()}
        response = await super().handle_async_request(
            httpx.Request("GET", url, headers=request.headers, extensions=name))
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _refusal("cannot be fetched: its server compresses it")
        body = bytearray()
        async for data in response.aiter_raw():
            body += data
            if len(body) > MAX_FILE:
                raise _refusal(f"has more than {MAX_FILE // 2**20} MB")
        return httpx.Response(
            response.status_code, headers=response.headers, content=bytes(body))


def _refusal(why: str) -> Refused:
    return Refused(f"The picture at this URL {why}.")
