"""A Space's config, API and cookies: fetched once, shared between calls, checked when they may be outdated."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from ..errors import ResponseError, SpaceUnavailableError
from ..question.options import Access
from . import shelf
from .connection import CallCancelled, Connection, tls_context

INFO_MAX_AGE = 4.0  # seconds for which the info is used without asking whether the app is still the same
MAX_SPACES = 64  # Spaces remembered at once
OLDEST = (4, 44)


@dataclass(frozen=True, repr=False)
class SpaceInfo:
    """What a Space says of itself."""

    config: dict[str, Any]
    api: dict[str, Any]
    cookies: httpx.Cookies
    root: str

    @classmethod
    def fetch(cls, connection: Connection) -> SpaceInfo:
        """Ask the Space, after a login where there is one.

        Raises:
            ResponseError: of the kind that fits what was found at the address.
            httpx.HTTPError: the Space could not be reached.
        """
        url = connection.url
        connection.http.cookies = httpx.Cookies()
        if connection.access.auth:
            user, password = connection.access.auth
            connection.send("POST", urljoin(url, "login"), data={"username": user, "password": password})
        config = _json(connection.send("GET", urljoin(url, "config")), "components", "dependencies")
        protocol = config.get("protocol", "ws")
        version = re.match(r"(\d{1,6})\.(\d{1,6})", str(config.get("version")))
        if protocol != "sse_v3" or not version or tuple(map(int, version.groups())) < OLDEST:
            raise SpaceUnavailableError(
                f"The Space at {url} is too old: its gradio {config.get('version')} speaks the protocol "
                f"{protocol}; gradio 4.44 or newer is needed.")
        root = urljoin(url, str(config.get("api_prefix") or "").strip("/") + "/").rstrip("/") + "/"
        api = _json(connection.send("GET", urljoin(root, "info?serialize=False")), "named_endpoints")
        return cls(config, api, httpx.Cookies(connection.http.cookies), root)

    def is_current(self, connection: Connection) -> bool:
        """Whether the same app still answers there. False also where it cannot be asked."""
        connection.http.cookies = httpx.Cookies(self.cookies)
        with suppress(ResponseError, httpx.NetworkError, httpx.ProtocolError):
            answer = _json(connection.send("GET", urljoin(self.root, "app_id")))
            return answer.get("app_id") == self.config.get("app_id")
        return False


def _json(response: httpx.Response, *keys: str) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and all(isinstance(found.get(key), (list, dict)) for key in keys):
        return found
    raise SpaceUnavailableError(
        f"No Gradio app at {response.url.host}: {response.url.path} answers with something else "
        f"({response.headers.get('content-type', 'of no type')}).", status_code=response.status_code)


class Space:
    """One address with one access. All calls to it share what is known of it."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._lock = threading.Lock()
        self._info: SpaceInfo | None = None
        self._loading: Future[SpaceInfo] | None = None
        self._checked = -math.inf

    def info(self, connection: Connection, *, check: bool = False) -> SpaceInfo:
        """The Space's info; asked for once, however many wait.

        gradio_client asks by function number, and after a restart with another layout an old number is
        another function's. So what may be outdated is checked before a question is sent.

        Args:
            check: ask the Space, however fresh the info is.

        Raises:
            TimeoutError: another call that is asking for it needs longer than ``read_timeout``.
            Exception: what ``SpaceInfo.fetch`` raised, here or in the call that was waited for.
        """
        while True:
            with self._lock:
                fresh = time.monotonic() - self._checked < INFO_MAX_AGE
                if self._info and fresh and not check:
                    return self._info
                loading = self._loading
                mine = loading is None
                if loading is None:
                    loading = self._loading = Future()
            if mine:
                self._load(connection, loading)
                return loading.result()
            # Where the call that was asking has gone or lost patience, this one takes over.
            with suppress(CallCancelled, httpx.ReadTimeout):
                return loading.result(connection.limits.read_timeout)

    def _load(self, connection: Connection, loading: Future[SpaceInfo]) -> None:
        info = self._info
        try:
            if info is None or not info.is_current(connection):
                self._info = None
                info = SpaceInfo.fetch(connection)
        except BaseException as error:
            self._loading = None
            loading.set_exception(error)
        else:
            self._info, self._checked, self._loading = info, time.monotonic(), None
            loading.set_result(info)

    def confirm(self, info: SpaceInfo) -> None:
        """A complete answer shows that the info was right."""
        if info is self._info:
            self._checked = time.monotonic()

    def suspect(self) -> None:
        """A connection ended, and the app may have ended with it: check before the next question."""
        self._checked = -math.inf


_spaces: OrderedDict[Access, Space] = OrderedDict()
_spaces_lock = threading.Lock()


def space_at(access: Access) -> Space:
    """The one Space of this address and access."""
    with _spaces_lock:
        space = _spaces.pop(access) if access in _spaces else Space(access)
        _spaces[access] = space
        if len(_spaces) > MAX_SPACES:
            _spaces.popitem(last=False)
        return space


def _after_fork() -> None:
    """Forget everything: a lock may be held, and the thread that holds it is not in this process."""
    global _spaces_lock
    _spaces_lock = threading.Lock()
    _spaces.clear()
    tls_context.cache_clear()  # OpenSSL's locks may be held too
    shelf.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
