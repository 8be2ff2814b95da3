"""What calls to a Space share: its config, API and cookies, and the idle connections to it."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import httpx

from ..errors import AuthenticationError, SpaceUnavailableError
from ..question.options import Access, Limits
from .connection import Connection, KeptClient
from .failures import CallCancelled, from_exception
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
    """A Space as one Access reaches it. All its calls share its info and its idle connections."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.used = 0.0  # when the latest call began
        self.weight = 0  # bytes of memory that the latest info takes, estimated
        self.idle: list[KeptClient] = []  # the latest used is the last
        self._loading = threading.Lock()  # held by the call that checks or fetches the info
        self._info: SpaceInfo | None = None
        self._error: Exception | None = None  # of the call that could not fetch it
        # When the info was last known to be right, became doubtful, and could not be fetched.
        self._checked = self._suspected = self._failed = -math.inf

    def connect(self, limits: Limits) -> Connection:
        """Return a connection for one call, over the idle client that was used last, if any."""
        with _lock:
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
        client = connection.end()
        with _lock:
            is_known = _spaces.get(self.access) is self  # nobody closes those of a forgotten one
            total = sum(len(each.idle) for each in _spaces.values())
            if client is None:
                self._suspected = time.monotonic()
            elif is_known and len(self.idle) < MAX_IDLE and total < MAX_ALL_IDLE:
                client.closes = time.monotonic() + client.keep
                self.idle.append(client)
            else:
                client.close()

    def close_idle(self, now: float = math.inf) -> None:
        """Close the idle connections that are too old at this time."""
        with _lock:
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
        while not self._loading.acquire(timeout=0.2):  # a short wait: this call's reader may leave
            if connection.cancelled:
                raise CallCancelled
            if time.monotonic() > connection.began + connection.limits.read_timeout:
                raise TimeoutError
        try:
            return self._load(connection)
        finally:
            self._loading.release()

    def _load(self, connection: Connection) -> SpaceInfo:
        now = time.monotonic()
        if self._info and max(now - INFO_MAX_AGE, self._suspected) < self._checked:
            return self._info
        if self._error and self._failed > connection.began:  # in the call that this one waited for
            raise copy(self._error)
        try:
            if self._info is None or not self._info.is_current(connection):
                self._info = None
                self._info = SpaceInfo.fetch(connection)
        except BaseException as error:
            # If this call was cancelled or lost patience, the next one tries.
            if not (connection.cancelled or isinstance(error, httpx.ReadTimeout)):
                self._error, self._failed = from_exception(error), time.monotonic()
            raise
        self._checked, self.weight = now, self._info.weight
        return self._info

    @contextmanager
    def info_for_question(self, connection: Connection) -> Iterator[SpaceInfo]:
        """Hand out the info, and learn from the answer whether it is right.

        A refusal may be due to outdated info: another app may answer there by now, or the login may
        have ended. Then the info is fetched anew for the next attempt.
        """
        info = self.info(connection)
        try:
            yield info
        except (SpaceUnavailableError, AuthenticationError) as error:
            if not error.retryable and info.fetched < connection.began:
                connection.ask_again = True
                if self._info is info:
                    self._info = None
            raise
        if self._info is info:
            self._checked = time.monotonic()


_spaces: OrderedDict[Access, Space] = OrderedDict()
_lock = threading.RLock()
"""Guards the Spaces and their idle connections. cancel() and destructors come nowhere near it."""


def space_at(access: Access) -> Space:
    """Return the one Space of this access. Also forgets Spaces that were not used lately."""
    now = time.monotonic()
    with _lock:
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


@atexit.register
def close_idle() -> None:
    """Close all idle connections."""
    for space in list(_spaces.values()):
        space.close_idle()


def _after_fork() -> None:
    """Forget everything: a thread of the parent may hold a lock, and is not in this process."""
    global _lock
    _lock = threading.RLock()
    _spaces.clear()
    forget_tls_contexts()
    close_inherited()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
