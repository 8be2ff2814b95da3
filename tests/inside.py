"""What tests have to know of the package's inside. No other file looks there.

Everything else is asked for from outside: at the Space, at a relay, or of this process.
"""

from importlib import import_module

from qvq_wrapper.bridge import call, space
from qvq_wrapper.bridge.space import close_idle

__all__ = ["close_idle"]
MODULES = (
    "bridge.space", "bridge.connection", "bridge.call", "bridge.bounds", "bridge.failures",
    "stream", "question.files", "serve.repetition", "serve.uploads", "serve.picture",
    "serve.upstream")


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
    monkeypatch.setattr(call.random, "uniform", lambda *ends: waits.append(ends) or ends[0])
    return waits


def known_tokens():
    """Return the tokens of the Spaces that are remembered."""
    return [access.api_key for access in space._spaces]


def info_of(url):
    """Return what is remembered of the Space at this address."""
    return _space_at(url)._info


def forget(url):
    """Have the next call fetch the Space's info anew, after a login if there is one."""
    _space_at(url)._info = None


def doubt(url):
    """Have the next call look first whether the Space is still the same."""
    _space_at(url)._suspected = float("inf")


def _module_with(name):
    modules = (import_module(f"qvq_wrapper.{each}") for each in MODULES)
    return next(each for each in modules if hasattr(each, name.upper()))


def _space_at(url):
    known = space._spaces.items()
    return next(each for access, each in known if access.url.startswith(url))
