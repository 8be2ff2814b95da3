"""What tests have to know of the package's inside. No other file looks there.

Everything else is asked for from outside: at the Space, at a relay, or of this process.
"""

import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from traceback import walk_stack

from gradio_client import Client
from httpcore import ConnectionPool, SyncBackend

from qvq_wrapper.bridge import attempts, call, connection, info, messages, session, space
from qvq_wrapper.bridge.space import close_idle
from qvq_wrapper.bridge.tls import forget_tls_contexts
from qvq_wrapper.question import options

__all__ = ["close_idle", "forget_tls_contexts"]
MODULES = (
    "bridge.space", "bridge.connection", "bridge.attempts", "bridge.bounds", "bridge.failures",
    "stream", "question.files", "batch.brake", "batch.cluster", "batch.run", "serve.repetition",
    "serve.uploads", "serve.picture", "serve.upstream")


def bound(name):
    """Return a bound by its name, such as ``connect_timeout``."""
    return getattr(_module_with(name), name.upper())


def set_bounds(monkeypatch, **bounds):
    """Replace bounds by name: ``info_max_age``, ``max_spaces``, ``connect_timeout`` and more."""
    for name, value in bounds.items():
        monkeypatch.setattr(_module_with(name), name.upper(), value)


def skip_random_waits(monkeypatch):
    """Let a retry wait only as long as it must. Return a list of its shortest and longest wait."""
    waits = []
    monkeypatch.setattr(attempts.random, "uniform", lambda *ends: waits.append(ends) or 1e-6)
    return waits


def make_own(monkeypatch, url):
    """Treat a Space as one that this process has started."""
    monkeypatch.setattr(options, "own_spaces", {f"{url}/"})


def forget_spaces():
    """Forget what is known of all Spaces: a new server can have the port of an earlier one."""
    close_idle()
    space._spaces.clear()


def known_tokens():
    """Return the tokens of the Spaces that are remembered."""
    return [access.api_key for access in space._spaces]


class Clock:
    """What is remembered of Spaces ages by this clock, and so does a call's ``timeout``.

    It stands still by itself.
    """

    def __init__(self, monkeypatch):
        self._now = time.monotonic()
        for module in (space, call, connection, info):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self):
        return self._now

    def pass_time(self, seconds):
        self._now += seconds


def forget_info():
    """Have the next calls fetch their Spaces' info anew, after a login if there is one."""
    for each in space._spaces.values():
        each._info = None


def waits_for_info():
    """Return whether a call waits for the info that another call fetches."""
    for frame in sys._current_frames().values():
        steps = {each.f_code for each, _ in walk_stack(frame)}
        if space.Space.info.__code__ in steps and space.Space._load.__code__ not in steps:
            return True
    return False


def slow_down_ends(monkeypatch):
    """Let the reader know of an answer's end well before the call's thread goes on."""
    original = call.Call.end

    def end_slowly(*arguments):
        original(*arguments)
        time.sleep(0.1)

    monkeypatch.setattr(call.Call, "end", end_slowly)


def undo_wire(monkeypatch):
    """Act like a newer httpcore that opens connections by its own backend, whatever was set."""
    monkeypatch.setattr(
        ConnectionPool, "_network_backend", property(lambda pool: SyncBackend(), lambda *_: None),
        raising=False)


def listen(stream, listener):
    """Call ``listener`` at the next news of an answer, which is how a reader waits."""
    stream._call.listen(listener, lambda: False)


# Our overrides of gradio_client's methods and attributes, called seams

UNDO = {
    "executor": lambda session: setattr(session, "executor", ThreadPoolExecutor(1)),
    "helper_executor": lambda session: setattr(session, "helper_executor", ThreadPoolExecutor(2)),
    "send_data": lambda session: setattr(session, "send_data", partial(Client.send_data, session)),
    "new_helper":
        lambda session: setattr(session, "new_helper", partial(Client.new_helper, session)),
}
"""What undoes a seam of a session that was made."""
OVERRIDES = [
    "_get_config", "_stream_heartbeat", "_get_api_info", "_telemetry_thread", "analytics_enabled"]
"""Seams that gradio_client uses while a session is made."""
SEAMS = [
    (session.Session, "_get_config"), (session.Session, "_get_api_info"),
    (session.Session, "new_helper"), (session.Session, "send_data"), (session, "publish"),
    (session.JobExecutor, "submit"), (messages.MessageQueue, "popleft")]
"""Where a call in which nothing is undone comes through."""


def undo_seams(monkeypatch, *names):
    """Act like a newer gradio_client that does not use these seams."""
    class Undone(session.Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            for name in names:
                UNDO.get(name, lambda session: None)(self)

    for name in set(names) & set(OVERRIDES):
        monkeypatch.delattr(session.Session, name)
    monkeypatch.setattr(session, "Session", Undone)


def watch_seams(monkeypatch):
    """Return the set of the ``SEAMS`` that have been used."""
    used = set()

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            used.add((owner, name))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    for seam in SEAMS:
        watch(*seam)
    return used


def watch_sessions(monkeypatch):
    """Return a list of weak references to the gradio_client sessions that are made."""
    made = []

    class Watched(session.Session):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(session, "Session", Watched)
    return made


def watch_outputs(monkeypatch):
    """Return a list of how many outputs gradio_client keeps, as of each text."""
    counts, helpers = [], []
    new_helper, publish = session.Session.new_helper, session.publish

    def watched_new_helper(*arguments, **options):
        helpers.append(new_helper(*arguments, **options))
        return helpers[-1]

    def watched_publish(*arguments):
        counts.append(len(helpers[-1].job.outputs))
        publish(*arguments)

    monkeypatch.setattr(session.Session, "new_helper", watched_new_helper)
    monkeypatch.setattr(session, "publish", watched_publish)
    return counts


def _module_with(name):
    modules = (import_module(f"qvq_wrapper.{each}") for each in MODULES)
    return next(each for each in modules if hasattr(each, name.upper()))
