"""What tests have to know of the package's inside. No other file looks there.

Everything else is asked for from outside: at the Space, at a relay, or of this process.
"""

from qvq_wrapper.batch import brake
from qvq_wrapper.bridge import call, connection, space
from qvq_wrapper.bridge.space import close_idle
from qvq_wrapper.question import files

__all__ = ["close_idle"]


def set_bounds(monkeypatch, **bounds):
    """Replace bounds by name: ``info_max_age``, ``max_spaces``, ``connect_timeout`` and more."""
    modules = space, connection, call, files, brake
    for name, value in bounds.items():
        module = next(each for each in modules if hasattr(each, name.upper()))
        monkeypatch.setattr(module, name.upper(), value)


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


def _space_at(url):
    known = space._spaces.items()
    return next(each for access, each in known if access.url.startswith(url))
