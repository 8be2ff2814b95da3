"""The options of a call, checked before anything is sent: the access, the limits, the question."""

from __future__ import annotations

import json
import re
import ssl
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import iscoroutinefunction
from threading import TIMEOUT_MAX
from typing import Any, TypedDict

from ..types import Status
from .address import is_loopback, is_url, origin, space_url
from .media import Picture

own_spaces: set[str] = set()
"""URLs of the Spaces that this process has started. They are not asked through a proxy of the
environment. Other loopback addresses are: people put a recording proxy before a local Space."""


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


@dataclass(frozen=True)
class Access:
    """A Space's address and the way to reach it: everything that can change the Space's replies.

    Attributes:
        url: the Space's address, with a slash at the end.
        api_key: a Hugging Face token.
        auth: user and password of the Space's login.
        headers: names and values of further headers.
        proxy: URL of an HTTP or SOCKS proxy.
        verify: how certificates are checked, as in httpx.
        environment: the proxies that the environment names, by scheme, as they are at the call.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    verify: bool | ssl.SSLContext = field(default=True, repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def checked(
        cls, url: object, api_key: object = None, auth: Any = None,
        headers: Mapping[str, str] | None = None, proxy: object = None,
        verify: bool | ssl.SSLContext = True,
    ) -> Access:
        """Return the Access for these options, or refuse them. Error messages contain no secrets.

        Args:
            url: an http(s) URL, or ``owner/name`` of a Space on Hugging Face.
            api_key: a Hugging Face token. Whitespace around it is removed; an empty one is none.
            auth: ``(user, password)``.
            headers: a dict of header names and values.
            proxy: an http, https, socks5 or socks5h URL.
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
        if headers is not None and not isinstance(headers, Mapping):
            raise TypeError(f"headers must be a dict of strings, not {type(headers).__name__}")
        pairs = tuple(dict(headers or {}).items())
        for name, value in pairs:
            # https://www.rfc-editor.org/rfc/rfc9110#name-tokens
            if not (isinstance(name, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)):
                raise ValueError("headers has a key that is not a valid HTTP header name")
            if not (isinstance(value, str) and re.fullmatch(r"[\t -~]*", value)):
                raise ValueError(f"headers: the value of {name!r} must be a str of printable ASCII")
        if not isinstance(verify, (bool, ssl.SSLContext)):
            raise TypeError("verify must be a bool or an ssl.SSLContext")
        login = tuple(auth) if auth else None
        address = space_url(url)
        environment = () if proxy or address in own_spaces else _environment_proxies()
        access = cls(address, api_key, login, pairs, _proxy_url(proxy), verify, environment)
        scheme, host, _ = origin(access.url)
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
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError("parameters must be a dict with the names of the endpoint's parameters")
    for name, value in given.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            kind = type(value).__name__
            raise type(error)(f"parameters: {name!r} is a {kind} that JSON does not have") from None
    return dict(given)


def _stacklevel() -> int:
    """Return the stacklevel with which a warning points at the line that called this package.

    It depends on the method that was called. Python 3.12 has skip_file_prefixes for this.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("qvq_wrapper."):
        level, frame = level + 1, frame.f_back
    return level


def _proxy_url(proxy: object) -> str | None:
    if proxy is None:
        return None
    fault = proxy_fault(proxy) if isinstance(proxy, str) else "must be a str or None"
    if fault:
        raise ValueError(f"proxy {fault}")
    return str(proxy)


def proxy_fault(proxy: str) -> str:
    """Return what is wrong with a proxy's URL, or "". The words do not show its password."""
    scheme, found, _ = proxy.lower().partition("://")
    if scheme not in ("http", "https", "socks5", "socks5h"):
        begins = f"begins with {scheme}://, but " if found and scheme.isalnum() else ""
        return f"{begins}must be a URL such as http://host:3128 or socks5://host:1080"
    if not is_url(proxy, (scheme,)):
        return (
            "must have a host and a port from 0 to 65535, such as http://host:3128; in a user or "
            "password, special characters are written as %23 (#), %2F (/), %3A (:), %40 (@)")
    if scheme.startswith("socks") and not find_spec("socksio"):
        return 'is a SOCKS proxy, which needs: pip install "qvq_wrapper[socks]"'
    return ""


def _environment_proxies() -> tuple[tuple[str, str], ...]:
    from urllib.request import getproxies  # takes 10 ms to import

    found = getproxies()
    return tuple((kind, found[kind]) for kind in ("http", "https", "all", "no") if kind in found)


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
    """The limits of one answer, as ``Qwen_QVQ_72B.create_async_generator`` describes them.

    Raises:
        ValueError: a number is out of range.
        TypeError: a value has the wrong type.
    """

    timeout: float | None = None
    read_timeout: float = 60.0
    max_retries: int = 2
    max_chars: int = 8 * 2**20
    on_status: Callable[[Status], object] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        minimums = {"timeout": 0, "read_timeout": 1e-3, "max_retries": 0, "max_chars": 1}
        if self.read_timeout is None:
            object.__setattr__(self, "read_timeout", TIMEOUT_MAX)  # the class is frozen
        for name, minimum in minimums.items():
            value = getattr(self, name)
            if name == "timeout" and value is None:
                continue
            kind = "number" if "timeout" in name else "whole number"
            types = (int, float) if kind == "number" else int
            if isinstance(value, bool) or not isinstance(value, types):
                raise TypeError(f"{name} must be a {kind}, not {type(value).__name__}")
            if not minimum <= value <= TIMEOUT_MAX:
                valid = f"from {minimum:g} to {TIMEOUT_MAX:g}"
                raise ValueError(f"{name} must be a number {valid}, not {value}")
        call = self.on_status
        is_async = iscoroutinefunction(call) or iscoroutinefunction(getattr(call, "__call__", None))
        if call is not None and (not callable(call) or is_async):
            raise TypeError("on_status must be a synchronous function")
