"""The options of a call, checked before anything is sent: the access, the limits, the question."""

from __future__ import annotations

import json
import re
import ssl
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from numbers import Integral, Real
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.request import getproxies

from ..types import Status
from .address import is_loopback, origin, space_url
from .media import Picture

if TYPE_CHECKING:
    from .proxies import Proxy

own_spaces: set[str] = set()
"""URLs of the Spaces that this process has started. They are not asked through a proxy.

Other local Spaces are asked through the environment's proxy: it may be there to record them."""


class Options(TypedDict, total=False):
    """The options of a call, as ``Qwen_QVQ_72B.create_async_generator`` describes them."""

    url: str | None
    api_name: str | None
    parameters: Mapping[str, Any] | None
    timeout: float | None
    read_timeout: float | None
    max_retries: int
    max_chars: int
    on_status: Callable[[Status], object] | None
    headers: Mapping[str, str] | None
    verify: bool | ssl.SSLContext
    auth: tuple[str, str] | None


@dataclass(frozen=True, repr=False)
class Access:
    """A Space's address and the way to reach it: everything that can change the Space's replies.

    Attributes:
        url: the Space's address, with a slash at the end.
        api_key: a Hugging Face token.
        auth: user and password of the Space's login.
        headers: names and values of further headers.
        proxy: the proxy for every connection, or None. It is decided at the call.
        verify: how certificates are checked, as in httpx.
    """

    url: str
    api_key: str | None
    auth: tuple[str, str] | None
    headers: tuple[tuple[str, str], ...]
    proxy: Proxy | None
    verify: bool | ssl.SSLContext

    @classmethod
    def checked(
        cls, url: object, api_key: object, auth: Any, headers: object, proxy: object,
        verify: bool | ssl.SSLContext,
    ) -> Access:
        """Return the Access for these options, or refuse them. Error messages contain no secrets.

        Args:
            url: an http(s) URL, or ``owner/name`` of a Space on Hugging Face.
            api_key: a Hugging Face token. Whitespace around it is removed; an empty one is none.
            auth: ``(user, password)``.
            headers: a dict of header names and values.
            proxy: an http, https, socks5 or socks5h URL, or None for the environment's proxy.
            verify: True, False or an ``ssl.SSLContext``.

        Raises:
            ValueError, TypeError: an option cannot be used.
        """
        if not isinstance(api_key, (str, type(None))):
            raise TypeError(f"api_key must be a str, not {type(api_key).__name__}")
        api_key = (api_key or "").strip() or None  # a token read from a file ends with a newline
        if api_key and not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("api_key must be printable ASCII without spaces")
        is_pair = isinstance(auth, (tuple, list)) and len(auth) == 2
        if auth is not None and not (is_pair and all(isinstance(part, str) for part in auth)):
            raise TypeError("auth must be a pair of strings: (user, password)")
        login = tuple(auth) if auth else None
        if not isinstance(verify, (bool, ssl.SSLContext)):
            raise TypeError("verify must be a bool or an ssl.SSLContext")
        address = space_url(url)
        access = cls(address, api_key, login, _pairs(headers), _proxy(address, proxy), verify)
        scheme, host, _ = origin(address)
        if (api_key or auth) and scheme == "http" and not is_loopback(str(host)):
            words = f"others can read a secret sent to {host} over plain http"
            warnings.warn(words, stacklevel=_stacklevel())
        return access

    @property
    def request_headers(self) -> dict[str, str]:
        """The headers of every request to the Space's own origin."""
        result = {"Accept": "application/json, text/event-stream", "Accept-Encoding": "identity"}
        if self.api_key:
            result["Authorization"] = result["x-hf-authorization"] = f"Bearer {self.api_key}"
        return result | dict(self.headers)


def api_name_of(name: object) -> str:
    """Return the name of an endpoint as gradio_client has it, with a slash in front."""
    if not isinstance(name, str):
        raise TypeError(f"api_name must be a str, not {type(name).__name__}")
    if not name.strip("/ "):
        raise ValueError("api_name must name an endpoint of the Space, such as '/generate'")
    return "/" + name.strip().removeprefix("/")


def parameters_of(given: object) -> dict[str, Any]:
    """Return the endpoint's parameters that a caller gave, if they can be sent as JSON."""
    given = {} if given is None else given
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError("parameters must be a dict with the names of the endpoint's parameters")
    for name, value in given.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            words = f"is a {type(value).__name__} that JSON does not have"
            raise kind(f"parameters: {name!r} {words}") from None
    return dict(given)


def _stacklevel() -> int:
    """Return the stacklevel with which a warning points at the line that called this package.

    It depends on the method that was called. Python 3.12 has skip_file_prefixes for this.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("qvq_wrapper."):
        level, frame = level + 1, frame.f_back
    return level


def _pairs(headers: object) -> tuple[tuple[str, str], ...]:
    """Return the names and values of headers that can be sent."""
    if headers is not None and not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a dict of strings, not {type(headers).__name__}")
    pairs = tuple(dict(headers or {}).items())
    for name, value in pairs:
        # https://www.rfc-editor.org/rfc/rfc9110#name-tokens
        if not (isinstance(name, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)):
            raise ValueError("headers has a key that is not a valid HTTP header name")
        if not (isinstance(value, str) and re.fullmatch(r"[\t -~]*", value)):
            raise ValueError(f"headers: the value of {name!r} must be a str of printable ASCII")
    return pairs


def _proxy(address: str, given: object) -> Proxy | None:
    if given is None and (address in own_spaces or not getproxies()):
        return None
    from .proxies import find_proxy  # imports httpx, which takes 60 ms

    return find_proxy(address, given)


@dataclass(frozen=True, repr=False)
class Question:
    """A question to a Space.

    Attributes:
        access: the Space's address and the way to reach it.
        api_name: the endpoint's name with a slash, such as ``/generate``.
        named: the caller named the endpoint. If not, another one may fit.
        prompt: the text of the question.
        picture: the picture of the question, or None.
        parameters: values for the endpoint's other parameters, by name. Each must exist.
        extras: the same, but a name that the endpoint does not have is ignored.
    """

    access: Access
    api_name: str
    named: bool
    prompt: str
    picture: Picture | None
    parameters: dict[str, Any]
    extras: dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """The limits of one answer, as ``Qwen_QVQ_72B.ask`` describes them.

    Attributes:
        timeout: seconds, or None for no limit.
        read_timeout: seconds.
    """

    timeout: float | None
    read_timeout: float
    max_retries: int
    max_chars: int
    on_status: Callable[[Status], object] | None = field(repr=False)

    @classmethod
    def checked(
        cls, timeout: object, read_timeout: object, max_retries: object, max_chars: object,
        on_status: Any,
    ) -> Limits:
        """Return the Limits for these options, or refuse them.

        Raises:
            ValueError: a number is out of range.
            TypeError: an option has the wrong type.
        """
        is_async = any(map(iscoroutinefunction, (on_status, getattr(on_status, "__call__", None))))
        if on_status is not None and (not callable(on_status) or is_async):
            raise TypeError("on_status must be a synchronous function")
        return cls(
            None if timeout is None else seconds("timeout", timeout, 0),
            TIMEOUT_MAX if read_timeout is None else seconds("read_timeout", read_timeout, 1e-3),
            count("max_retries", max_retries, 0), count("max_chars", max_chars, 1), on_status)


def seconds(name: str, value: object, minimum: float) -> float:
    """Return a number of seconds. Infinity becomes the most that a thread can wait for."""
    return min(float(_number(name, value, minimum, Real, "number")), TIMEOUT_MAX)


def count(name: str, value: object, minimum: int) -> int:
    """Return a whole number."""
    return int(_number(name, value, minimum, Integral, "whole number"))


def _number(name: str, value: Any, minimum: float, kind: Any, words: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, kind):  # numpy's numbers are such kinds
        raise TypeError(f"{name} must be a {words}, not {type(value).__name__}")
    if not value >= minimum:  # True also for NaN
        raise ValueError(f"{name} must be {minimum:g} or more, not {value}")
    return value
