"""What calls to a Space share: its config, API and cookies, and the idle connections to it."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, wait
from contextlib import suppress

import httpx

from ..question.options import Access, Limits
from .connection import Connection, KeptClient
from .failures import CallCancelled
from .info import SpaceInfo
from .tls import forget_tls_contexts
from .wire import close_inherited

INFO_MAX_AGE = 4.0  # seconds for which the info is used without a check
MAX_SPACES = 64  # Spaces that are remembered
MAX_INFO_BYTES = 2**27  # of memory for what they said, estimated
FORGET_AFTER = 600.0  # seconds; then the next call to any Space drops one that was not called
MAX_IDLE = 8  # idle connections to a Space
MAX_ALL_IDLE = 64  # idle connections of this process


class Space:
    """A Space as one Access reaches it. All its calls share its info and its idle connections.

    The lock is for calls' threads alone: cancel() and destructors come nowhere near it.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self.used = 0.0  # when the latest call began
        self.weight = 0  # bytes of memory that the latest info takes, estimated
        self.idle: list[KeptClient] = []  # the latest used is the last
        self._lock = threading.Lock()
        self._info: SpaceInfo | None = None
        self._loading: Future[SpaceInfo] | None = None
        # When the info was last known to be right, and when it last became doubtful.
        self._checked = self._suspected = -math.inf

    def connect(self, limits: Limits) -> Connection:
        """Return a connection for one call, over the idle client that was used last, if any."""
        with self._lock:
            while self.idle:
                client = self.idle.pop()
                if client.is_reusable():
                    return Connection(self.access, client, limits)
                client.close()
                self._suspected = time.monotonic()
        return Connection(self.access, KeptClient(self.access), limits)

    def release(self, connection: Connection) -> None:
        """Keep the client of a call that has ended for the next one, if it can be reused.

        A connection that was lost makes the info suspect: the Space may have been restarted.
        """
        client, may_keep = connection.end(), _may_keep(self)
        with self._lock:
            if client is None:
                self._suspected = time.monotonic()
            elif may_keep and len(self.idle) < MAX_IDLE:
                client.closes = time.monotonic() + client.keep
                self.idle.append(client)
            else:
                client.close()

    def close_idle(self, now: float = math.inf) -> None:
        """Close the idle connections that are too old at this time."""
        with self._lock:
            for client in [each for each in self.idle if each.closes <= now]:
                self.idle.remove(client)
                client.close()

    def info(self, connection: Connection) -> SpaceInfo:
        """Return the Space's info. If several calls need it, one fetches it and the others wait.

        gradio_client asks by function number. After a restart with other functions, an old number
        would reach the wrong one. So info that may be outdated is checked before the question.

        Raises:
            TimeoutError: another call, which this one waits for, needs more than ``read_timeout``.
            Exception: ``SpaceInfo.fetch`` failed, here or in the other call.
        """
        until = time.monotonic() + connection.limits.read_timeout
        while not connection.cancelled:
            own_load = Future[SpaceInfo]()
            with self._lock:
                fresh = max(time.monotonic() - INFO_MAX_AGE, self._suspected) < self._checked
                if self._info and fresh:
                    return self._info
                running_load = self._loading
                if not running_load:
                    self._loading = own_load
            if not running_load:
                return self._load(connection, own_load)
            while not (running_load.done() or connection.cancelled or time.monotonic() > until):
                wait([running_load], 0.2)  # a short wait: this call's reader may leave
            # If the other call was cancelled or lost patience, this one takes over.
            with suppress(CallCancelled, httpx.ReadTimeout):
                return running_load.result(0)
        raise CallCancelled

    def _load(self, connection: Connection, loading: Future[SpaceInfo]) -> SpaceInfo:
        info, began = self._info, time.monotonic()
        try:
            if info is None or not info.is_current(connection):
                self._info = None
                info = SpaceInfo.fetch(connection)
        except BaseException as error:
            self._loading = None  # a cancelled call's error must not reach those that wait
            loading.set_exception(CallCancelled() if connection.cancelled else error)
            raise
        self._info, self._checked, self._loading = info, began, None
        self.weight = info.weight
        loading.set_result(info)
        return info

    def forget(self, info: SpaceInfo) -> None:
        """Fetch the info anew for the next question: a refusal may be due to outdated info."""
        with self._lock:
            if self._info is info:
                self._info = None

    def confirm(self, info: SpaceInfo) -> None:
        """Count the info as checked: a complete answer shows that it was right."""
        if info is self._info:
            self._checked = time.monotonic()


_spaces: OrderedDict[Access, Space] = OrderedDict()
_spaces_lock = threading.Lock()


def space_at(access: Access) -> Space:
    """Return the one Space of this access. Also forgets Spaces that were not used lately."""
    now = time.monotonic()
    with _spaces_lock:
        space = _spaces.pop(access) if access in _spaces else Space(access)
        space.used = now
        _spaces[access] = space
        for each in _spaces.values():
            each.close_idle(now)
        while (
            len(_spaces) > MAX_SPACES
            or next(iter(_spaces.values())).used < now - FORGET_AFTER
            or len(_spaces) > 1 and sum(each.weight for each in _spaces.values()) > MAX_INFO_BYTES
        ):
            _spaces.popitem(last=False)[1].close_idle()
        return space


def _may_keep(space: Space) -> bool:
    """Return whether one more idle connection to the Space may be kept."""
    with _spaces_lock:
        is_known = _spaces.get(space.access) is space  # nobody closes those of a forgotten one
        return is_known and sum(len(each.idle) for each in _spaces.values()) < MAX_ALL_IDLE


@atexit.register
def close_idle() -> None:
    """Close all idle connections."""
    for space in list(_spaces.values()):
        space.close_idle()


def _after_fork() -> None:
    """Forget everything: a thread of the parent may hold a lock, and is not in this process."""
    global _spaces_lock
    _spaces_lock = threading.Lock()
    _spaces.clear()
    forget_tls_contexts()
    close_inherited()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
