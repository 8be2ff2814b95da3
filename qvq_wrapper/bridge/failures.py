"""Turns everything that can go wrong into the error that a caller gets."""

from __future__ import annotations

import ast
import errno
import html
import json
import logging
import re
import traceback
from contextlib import suppress
from copy import copy

import httpx
from gradio_client import exceptions

from ..errors import (
    AuthenticationError, MediaError, RateLimitError, ResponseError, ResponseTimeoutError,
    SpaceConnectionError, SpaceUnavailableError,
)
from ..printable import printable
from ..question.media import Picture
from .titles import error_from
from .waits import retry_after_of, wait_in

MAX_ERROR_BYTES = 2**16  # of what a Space says of an error; the rest is not read

# A str's repr. Other escapes would make Python warn, with the Space's words.
_REPR = re.compile(
    r"""(['"])(?:(?!\1)[^\\\n]|\\(?:['"\\nrt]|x[\da-f]{2}|u[\da-f]{4}|U[\da-f]{8}))*\1""")
# What the package `spaces` 0.51 and older ones raise at Spaces on ZeroGPU.
_GPU_LIMIT = re.compile(
    r"gpu quota|gpu limit|your (zerogpu )?runs limit|too many zerogpu credits", re.IGNORECASE)
_NO_GPU = re.compile(r"no gpu (was|is currently) available", re.IGNORECASE)
# What Pillow says of a format that it does not know, and gradio_client of an app that hides
# its errors.
_UNREADABLE = re.compile("cannot identify image file|has not enabled verbose error reporting")
# Errors of this machine, not of the Space or the way to it.
_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC}


logger = logging.getLogger("qvq_wrapper")


class CallCancelled(Exception):
    """Raised in a call's thread when its reader is gone. Callers never see it."""


def one_line(text: str, limit: int = 500) -> str:
    """Return text in one line, without HTML tags and control characters, cut at ``limit``."""
    text = text[: 10 * limit]  # a Space's words can be long
    text = html.unescape(re.sub(r"</?[A-Za-z][^<>]*>", " ", text))
    text = " ".join(printable(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nonsense(what: str) -> SpaceConnectionError:
    """Return the error for data that no Space sends."""
    return SpaceConnectionError(f"The connection brought nonsense: {what}.")


def from_response(response: httpx.Response) -> ResponseError | None:
    """Return the error for an HTTP response, or None for a success. Reads the body of an error."""
    code, host = response.status_code, response.url.netloc.decode()
    kind = response.headers.get("content-type", "")
    if response.url.path.endswith("/config") and "event-stream" in kind:  # it may never end
        return SpaceUnavailableError(
            f"No Gradio app at {host}: /config answers with a stream of events. Give the Space's "
            "own address as url.", status_code=code)
    if code < 300 or code == 422:  # 422 holds an app's validation message: gradio_client words it
        return None
    # A Space without a login shows its page.
    if code < 400 and response.url.path.endswith("/login"):
        return None
    error = _refusal(response, _found(response))
    error.status_code, error.retry_after = code, retry_after_of(response.headers)
    return error


def _refusal(response: httpx.Response, found: str) -> ResponseError:
    code, path, host = response.status_code, response.url.path, response.url.netloc.decode()
    if code in (401, 403) or code == 400 and path.endswith("/login"):
        return AuthenticationError(
            f"{host} refused access (HTTP {code}{found}). Give a valid api_key, or "
            f"auth=(user, password) for a Space behind a login.{_hub_hint(host)}")
    if code == 407:
        proxy = response.request.extensions.get("proxy") or "on the way"
        return SpaceConnectionError(
            f"The proxy {proxy} asks for credentials (HTTP 407{found}). Give them in its URL: "
            "http://user:password@host:port.")
    if code == 429:
        return RateLimitError(f"{host} says: too many requests (HTTP 429{found}).", retryable=True)
    if code == 503 and "queue is full" in found.lower():
        return RateLimitError(f"The queue of {host} is full{found}.", retryable=True)
    if code >= 500:
        return SpaceUnavailableError(
            f"{host} is not available: HTTP {code}{found}. A Space that sleeps or is building "
            "needs some minutes; one that is paused has to be restarted by its owner.",
            retryable=code in (502, 503))
    if code < 400:
        target = one_line(response.headers.get("location", "nowhere"), 200)
        return SpaceUnavailableError(
            f"{host} redirects to {target} (HTTP {code}); give that address as url.")
    if path.endswith("/upload"):
        return ResponseError(f"{host} refused the picture (HTTP {code}{found}). Give another one.")
    if path.endswith(("/queue/join", "/queue/data")):
        kind = SpaceUnavailableError if code == 404 else ResponseError
        return kind(f"{host} refused the question (HTTP {code}{found}).")
    hint = _hub_hint(host) if code == 404 else ""
    return SpaceUnavailableError(
        f"No usable Gradio app at {host}: HTTP {code} for {path}{found}.{hint}")


def _hub_hint(host: str) -> str:
    """Return what else Hugging Face may mean: it does not tell who may see a private Space."""
    if not f".{host}".endswith((".hf.space", ".huggingface.co", ".hf.co")):
        return ""
    return (
        " Perhaps no Space has this name. A private one answers in the same way, unless api_key "
        "is a token that may read it.")


def _found(response: httpx.Response) -> str:
    """Return the words of an error response: the detail of JSON, or the title of a page."""
    body = bytearray()
    with suppress(httpx.HTTPError, SpaceConnectionError):  # the status says enough
        for data in response.iter_raw():
            body += data
            if len(body) > MAX_ERROR_BYTES:
                break
    response.close()
    try:
        said = json.loads(body[:MAX_ERROR_BYTES])["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        page = body[:MAX_ERROR_BYTES].decode("utf-8", "replace")  # not the charset that it names
        title = re.search(r"<title[^<>]{0,100}>([^<]{1,200})", page, re.IGNORECASE)
        said = f"a web page, “{one_line(title[1], 100)}”" if title else ""
    return f": {one_line(said, 200).rstrip('.')}" if isinstance(said, str) and said else ""


def from_exception(error: BaseException, picture: Picture | None = None) -> Exception:
    """Return the error that a caller gets: a ResponseError, or the caller's own mistake.

    It has no cause: httpx's exceptions hold the request with its headers, and so the token.

    Args:
        picture: the question's picture, unless the Space has begun to answer.
    """
    if trouble := _machine_trouble(error):
        return ResponseError(f"This machine's resources are used up: {trouble}.")
    kind = type(error).__name__
    detail = f" ({kind}: {one_line(str(error), 200)})" if str(error) else f" ({kind})"
    match error:
        case ResponseError() | MediaError():
            mapped: Exception = copy(error)  # the Space keeps it for other calls
        case exceptions.AppError() | exceptions.ValidationError():
            mapped = _from_app(str(error), getattr(error, "title", None), picture)
        case httpx.ConnectTimeout() | httpx.ConnectError() | httpx.ProxyError():
            mapped = _not_connected(error, detail)
        case httpx.TimeoutException() | TimeoutError():
            mapped = ResponseTimeoutError(
                f"The Space was silent for longer than read_timeout ({kind}). If it is only slow, "
                "or a proxy on the way holds its answer back (nginx does with proxy_buffering), "
                "give more seconds: read_timeout=...", retryable=True)
        case httpx.HTTPError() | httpx.InvalidURL() | OSError():
            mapped = SpaceConnectionError(
                f"The connection to the Space broke off{detail}.", retryable=True)
        case _ if type(error).__module__.startswith("socksio"):
            mapped = SpaceConnectionError(f"The SOCKS proxy answers with nonsense{detail}.")
        case _:
            steps = "".join(traceback.format_tb(error.__traceback__))  # code alone, no values
            logger.debug("an error that this package does not know, %s:\n%s", kind, steps)
            mapped = ResponseError(f"The Space's answer could not be understood{detail}.")
    mapped.__cause__ = mapped.__context__ = None
    return mapped.with_traceback(None)


def _machine_trouble(error: BaseException | None) -> str:
    """Return what this machine lacks, if that is the error or its cause."""
    while error:
        if isinstance(error, OSError) and error.errno in _MACHINE:
            return str(error.strerror)
        if isinstance(error, MemoryError):
            return "memory"
        error = error.__cause__ or error.__context__
    return ""


def _from_app(message: str, title: object, picture: Picture | None) -> ResponseError:
    """Return the error for what a Space's own code raised, in its own words."""
    message = message[:MAX_ERROR_BYTES]
    if _REPR.fullmatch(message):  # gradio 4 sends the repr of gr.Error's words
        with suppress(SyntaxError, ValueError):
            message = ast.literal_eval(message)
    message = one_line(message, 2000)
    is_rare = picture is not None and picture.format in ("TIFF", "AVIF", "HEIC")
    if picture and is_rare and (not message or _UNREADABLE.search(message)):
        return ResponseError(
            f"The Space's app failed. The picture is a file in the format {picture.format}, which "
            "few Spaces can read. Convert it to PNG or JPEG, or give PIL.Image.open(path), which "
            "is sent as PNG.")
    if not message:
        return ResponseError("The Space's app failed and did not say why.")
    if _GPU_LIMIT.search(message):
        wait = wait_in(message)
        hint = "A Hugging Face token has a quota of its own: give it as api_key."
        return RateLimitError(
            f"{message.rstrip('. ')}. {hint}", retry_after=wait, retryable=wait is not None)
    if _NO_GPU.search(message):
        return RateLimitError(message, retryable=True)
    if passed_on := error_from(title, message):
        return passed_on
    if picture and picture.url:
        message = f"The Space, which fetches the picture from its URL, says: {message}"
    return ResponseError(message)


def _not_connected(error: httpx.TransportError, detail: str) -> ResponseError:
    text, host = str(error).lower(), error.request.url.netloc.decode()
    if "ssl" in text or "certificate" in text:
        return SpaceConnectionError(
            f"No trusted TLS connection to {host}{detail}. For a certificate of your own give "
            "verify=ssl.create_default_context(cafile=...).")
    proxy = error.request.extensions.get("proxy")
    way, check = (f" through the proxy {proxy}", "that proxy") if proxy else ("", "the network")
    return SpaceConnectionError(
        f"{host} could not be reached{way}{detail}. Check the address and {check}.",
        retryable=True)
