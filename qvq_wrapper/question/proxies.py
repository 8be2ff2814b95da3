"""Which proxy a call uses: the one that it was given, or the one that the environment names."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv6Address
from urllib.request import getproxies

import httpx

from .address import is_url


@dataclass(frozen=True, repr=False)
class Proxy:
    """The proxy for every connection of a call.

    Attributes:
        url: its URL, which can have a password.
        name: words that name it without its password.
        fault: why the environment's proxy cannot be used, as a sentence, or "".
    """

    url: str = ""
    name: str = ""
    fault: str = ""


def find_proxy(address: str, given: object) -> Proxy | None:
    """Return the proxy for a Space's address, or None if there is to be no proxy.

    Args:
        given: the option ``proxy``. None stands for the environment's proxy. If that cannot be
            used, the call's first step fails and not the call.

    Raises:
        ValueError: the given proxy cannot be used. The message does not show its password.
    """
    if given is None:
        return _from_environment(httpx.URL(address), getproxies())
    if not isinstance(given, str):
        raise ValueError("proxy must be a str or None")
    proxy = _checked("proxy", given)
    if proxy.fault:
        raise ValueError(proxy.fault)
    return proxy


def _from_environment(url: httpx.URL, environment: dict[str, str]) -> Proxy | None:
    """Return the environment's proxy for a URL.

    Only the variables that apply are looked at. httpx itself would read all of them, and fail for
    one that is not used. The rules are httpx's: www.python-httpx.org/environment_variables/#proxies
    """
    exceptions = [entry.strip() for entry in environment.get("no", "").split(",")]
    is_exempt = "*" in exceptions
    for entry in [] if is_exempt else filter(None, exceptions):
        try:
            is_exempt |= _covers(entry, url)
        except httpx.InvalidURL:  # an error also behind an entry that covers the URL
            shown = entry.rpartition("@")[2]
            return Proxy(fault=(
                f"{_variable('no')} has an entry that cannot be used: {shown!r}. Valid are names "
                "and addresses such as example.com, 192.0.2.1, 192.0.2.1:8080 and ::1 (without "
                "brackets or a network's length)."))
    kind = url.scheme if environment.get(url.scheme) else "all"
    proxy = environment.get(kind)
    if is_exempt or not proxy:
        return None
    return _checked(_variable(kind), proxy if "://" in proxy else f"http://{proxy}")


def _checked(name: str, proxy: str) -> Proxy:
    """Return the proxy of this URL, which comes from the option or variable of this name."""
    fault = (
        "must be a URL such as http://host:3128 or socks5://host:1080, with a port from 0 to 65535;"
        " in a user or password, special characters are written as %23 (#), %2F (/), %3A (:), "
        "%40 (@)")
    # Their words can hold the password.
    with suppress(ValueError, httpx.InvalidURL):
        url = httpx.Proxy(proxy).url
        if url.scheme.startswith("socks") and not find_spec("socksio"):
            fault = 'is a SOCKS proxy, which needs: pip install "qvq_wrapper[socks]"'
        elif is_url(proxy, (url.scheme,)):
            source = "" if name == "proxy" else f" ({name})"
            return Proxy(proxy, f"{url.scheme}://{url.netloc.decode()}{source}")
    return Proxy(fault=f"{name} {fault}.")


def _covers(entry: str, url: httpx.URL) -> bool:
    """Return whether an entry of NO_PROXY covers a URL. A name covers its subdomains too."""
    address = entry
    if "://" not in entry:
        address = f"all://*{entry}"
        with suppress(ValueError):
            IPv6Address(entry.partition("/")[0])
            address = f"all://[{entry}]"
    pattern = httpx.URL(address)
    host = pattern.host.removeprefix("*")
    return (
        pattern.scheme in ("all", url.scheme)
        and pattern.port in (None, url.port)
        and (host in ("", url.host) or url.host.endswith("." + host.removeprefix("."))))


def _variable(kind: str) -> str:
    """Return the name of the variable that is set. urllib prefers small letters."""
    wanted = f"{kind}_proxy"
    found = [name for name in os.environ if name.lower() == wanted and os.environ[name]]
    return max(found, default=f"the system's setting for {wanted.upper()}")
