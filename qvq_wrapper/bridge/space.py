"""A Space's config, API and cookies.

They are fetched once, shared between calls, and checked when they may be outdated.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from ..errors import ResponseError, SpaceUnavailableError
from ..question.options import Access
from . import shelf
from .bounds import load_json, weigh_json
from .connection import Connection
from .failures import CallCancelled
from .tls import forget_tls_contexts

INFO_MAX_AGE = 4.0  # seconds for which the info is used without a check
MAX_SPACES = 64  # Spaces that are remembered
MAX_INFO_BYTES = 2**27  # of memory for what they said, estimated
FORGET_AFTER = 600.0  # seconds after its last call, a Space is forgotten by the next call to any
OLDEST = (4, 44)


@dataclass(frozen=True, repr=False)
class SpaceInfo:
    """What a Space says of itself."""

    config: dict[str, Any]
    api: dict[str, Any]
    cookies: httpx.Cookies
    root: str
    weight: int  # bytes of memory, estimated

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
            login = dict(zip(("username", "password"), connection.access.auth))
            connection.send("POST", urljoin(url, "login"), data=login)
        answer = connection.send("GET", urljoin(url, "config"))
        config = _json(answer, "components", "dependencies")
        protocol = config.get("protocol", "ws")
        version = re.match(r"(\d{1,6})\.(\d{1,6})", str(config.get("version")))
        if protocol != "sse_v3" or not version or tuple(map(int, version.groups())) < OLDEST:
            raise SpaceUnavailableError(
                f"The Space at {url} is too old: its gradio {config.get('version')} speaks the "
                f"protocol {protocol}. It needs gradio 4.44 or newer.")
        prefix = str(config.get("api_prefix") or "").strip("/")
        root = urljoin(url, prefix + "/").rstrip("/") + "/"
        response = connection.send("GET", urljoin(root, "info?serialize=False"))
        api = _json(response, "named_endpoints")
        weight = weigh_json(answer.content) + weigh_json(response.content)
        return cls(config, api, httpx.Cookies(connection.http.cookies), root, weight)

    def is_current(self, connection: Connection) -> bool:
        """Return whether the same app still answers. False also if it cannot be asked."""
        connection.http.cookies = httpx.Cookies(self.cookies)
        with suppress(ResponseError, httpx.NetworkError, httpx.ProtocolError):
            answer = _json(connection.send("GET", urljoin(self.root, "app_id")))
            return answer.get("app_id") == self.config.get("app_id")
        return False


def _json(response: httpx.Response, *keys: str) -> dict[str, Any]:
    found = load_json(response.content)
    if isinstance(found, dict) and all(isinstance(found.get(key), (list, dict)) for key in keys):
        return found
    raise SpaceUnavailableError(
        f"No Gradio app at {response.url.host}: {response.url.path} answers with something else "
        f"({response.headers.get('content-type', 'no type')}).", status_code=response.status_code)


class Space:
    """A Space as one Access reaches it. All its calls share its info."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._info: SpaceInfo | None = None
        self._loading: Future[SpaceInfo] | None = None
        self._checked = self._suspected = -math.inf
        self.used = 0.0  # when the latest call began

    @property
    def weight(self) -> int:
        info = self._info
        return info.weight if info else 0

    def info(self, connection: Connection, *, outdated: SpaceInfo | None = None) -> SpaceInfo:
        """Return the Space's info. If several calls need it, one fetches it and the others wait.

        gradio_client asks by function number. After a restart with other functions, an old number
        would reach the wrong one. So info that may be outdated is checked before the question.

        Args:
            outdated: the info that turned out to be wrong. It is not used again.

        Raises:
            TimeoutError: another call, which this one waits for, needs more than ``read_timeout``.
            Exception: ``SpaceInfo.fetch`` failed, here or in the other call.
        """
        until = time.monotonic() + connection.limits.read_timeout
        while not connection.cancelled:
            mine = Future[SpaceInfo]()
            with self._lock:
                if outdated and self._info is outdated:
                    self._info = None
                fresh = max(time.monotonic() - INFO_MAX_AGE, self._suspected) < self._checked
                if self._info and fresh:
                    return self._info
                others = self._loading
                if not others:
                    self._loading = mine
            if not others:
                return self._load(connection, mine)
            while not (others.done() or connection.cancelled or time.monotonic() > until):
                wait([others], 0.2)  # a short wait: this call's reader may leave
            # If the other call was cancelled or lost patience, this one takes over.
            with suppress(CallCancelled, httpx.ReadTimeout):
                info = others.result(0)
                if info is not outdated:
                    return info
        raise CallCancelled

    def _load(self, connection: Connection, loading: Future[SpaceInfo]) -> SpaceInfo:
        info, began = self._info, time.monotonic()
        try:
            if info is None or not info.is_current(connection):
                self._info = None
                info = SpaceInfo.fetch(connection)
        except BaseException as error:
            self._loading = None  # the error of a call that was cancelled is not for others
            loading.set_exception(CallCancelled() if connection.cancelled else error)
            raise
        self._info, self._checked, self._loading = info, began, None
        loading.set_result(info)
        return info

    def confirm(self, info: SpaceInfo) -> None:
        """Count the info as checked: a complete answer shows that it was right."""
        if info is self._info:
            self._checked = time.monotonic()

    def suspect(self) -> None:
        """Check the info before the next question: a connection was lost, perhaps by a restart."""
        self._suspected = time.monotonic()


_spaces: OrderedDict[Access, Space] = OrderedDict()
_spaces_lock = threading.Lock()


def space_at(access: Access) -> Space:
    """Return the one Space of this access. Also forgets Spaces that were not used lately."""
    now = time.monotonic()
    with _spaces_lock:
        space = _spaces.pop(access) if access in _spaces else Space()
        space.used = now
        _spaces[access] = space
        while (
            len(_spaces) > MAX_SPACES
            or next(iter(_spaces.values())).used < now - FORGET_AFTER
            or len(_spaces) > 1 and sum(each.weight for each in _spaces.values()) > MAX_INFO_BYTES
        ):
            _spaces.popitem(last=False)
        return space


def _after_fork() -> None:
    """Forget everything: a thread of the parent may hold a lock, and is not in this process."""
    global _spaces_lock
    _spaces_lock = threading.Lock()
    _spaces.clear()
    forget_tls_contexts()
    shelf.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
