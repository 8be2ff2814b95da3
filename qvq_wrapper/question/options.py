"""What a caller asked for, checked before anything is sent: the address, the bounds, the question."""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import iscoroutinefunction
from ipaddress import ip_address
from threading import TIMEOUT_MAX
from typing import Any
from urllib.parse import urlsplit

from ..types import Status
from .media import Picture


@dataclass(frozen=True)
class Access:
    """A Space's address and how to get there: all that can change what the Space says to us."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    verify: bool | ssl.SSLContext = field(default=True, repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The proxies that the environment names. An httpx client reads them once, when it is made."""

    @classmethod
    def checked(
        cls,
        url: object,
        api_key: object = None,
        auth: Any = None,
        headers: Mapping[str, str] | None = None,
        proxy: object = None,
        verify: bool | ssl.SSLContext = True,
    ) -> Access:
        """The access that these options describe. No message holds a secret.

        Raises:
            ValueError, TypeError: an option cannot be used.
        """
        if api_key is not None:
            if not isinstance(api_key, str):
                raise TypeError(f"api_key must be a str, not {type(api_key).__name__}")
            api_key = api_key.strip()  # a token read from a file ends with a newline
            if not re.fullmatch(r"[!-~]+", api_key):
                raise ValueError("api_key is empty or holds a blank, control or non-ASCII character")
        if auth is not None and not (
            isinstance(auth, (tuple, list)) and len(auth) == 2 and all(isinstance(part, str) for part in auth)
        ):
            raise TypeError("auth must be a pair of strings: (user, password)")
        if headers is not None and not isinstance(headers, Mapping):
            raise TypeError(f"headers must be a dict of strings, not {type(headers).__name__}")
        pairs = tuple(dict(headers or {}).items())
        for name, value in pairs:
            if not (isinstance(name, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)):
                raise ValueError("headers holds a name that is no HTTP header name")
            if not (isinstance(value, str) and re.fullmatch(r"[\t -~]*", value)):
                raise ValueError(f"headers: the value of {name!r} must be a str of printable ASCII")
        if not isinstance(verify, (bool, ssl.SSLContext)):
            raise TypeError("verify must be a bool or an ssl.SSLContext")
        access = cls(
            _space_url(url), api_key, tuple(auth) if auth else None, pairs, _proxy_url(proxy), verify,
            () if proxy else _proxies_of_environment())
        scheme, host, _ = origin(access.url)
        if (api_key or auth) and scheme == "http" and not _is_loopback(str(host)):
            warnings.warn(f"a secret goes to {host} over plain http, where others can read it", stacklevel=4)
        return access

    @property
    def request_headers(self) -> dict[str, str]:
        """The headers that go with every request to the Space's own origin."""
        result = {"Accept": "application/json, text/event-stream", "Accept-Encoding": "identity"}
        if self.api_key:
            result["Authorization"] = result["x-hf-authorization"] = f"Bearer {self.api_key}"
        return result | dict(self.headers)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: where the token may go."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _space_url(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    url = url.strip()
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", url, re.ASCII):
        # https://huggingface.co/docs/hub/spaces-embed#direct-url
        return f"https://{re.sub(r'[^a-z0-9]+', '-', url.lower()).strip('-')}.hf.space/"
    if not _is_url(url, ("http", "https")) or urlsplit(url).username is not None:
        raise ValueError("url must be an http(s) URL without user and password, or 'owner/name' of a Space")
    return url.split("?")[0].split("#")[0].rstrip("/") + "/"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy_url(proxy: object) -> str | None:
    if proxy is None:
        return None
    if not isinstance(proxy, str) or not _is_url(proxy, ("http", "https", "socks5", "socks5h")):
        raise ValueError("proxy must be a URL such as http://host:3128 or socks5://host:1080")
    if proxy.startswith("socks") and not find_spec("socksio"):
        raise ValueError('a SOCKS proxy needs: pip install "qvq_wrapper[socks]"')
    return proxy


def _proxies_of_environment() -> tuple[tuple[str, str], ...]:
    from urllib.request import getproxies  # takes 10 ms to import

    return tuple(sorted(getproxies().items()))


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not re.search(r"[\s\x00-\x1f\x7f]", url)


@dataclass(frozen=True, repr=False)
class Question:
    """What is asked, and where."""

    access: Access
    api_name: str
    prompt: str
    picture: Picture | None
    extras: dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """The bounds of one answer; see ``Qwen_QVQ_72B.create_async_generator``."""

    timeout: float | None = None
    read_timeout: float = 60.0
    max_retries: int = 2
    max_chars: int = 8 * 2**20
    on_status: Callable[[Status], object] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("timeout", 0), ("read_timeout", 1e-3), ("max_retries", 0), ("max_chars", 1)):
            value = getattr(self, name)
            if name == "timeout" and value is None:
                continue
            whole = name in ("max_retries", "max_chars")
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "whole number" if whole else "number"
                raise TypeError(f"{name} must be a {kind}, not {type(value).__name__}")
            if not least <= value <= TIMEOUT_MAX:
                raise ValueError(f"{name} must be a number from {least:g} to {TIMEOUT_MAX:g}, not {value}")
        if self.on_status is not None and (not callable(self.on_status) or iscoroutinefunction(self.on_status)):
            raise TypeError("on_status must be a function, and no asynchronous one")
