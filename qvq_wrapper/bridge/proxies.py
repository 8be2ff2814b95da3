"""Which proxy a call uses: the one that it was given, or the one that the environment names."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import IPv6Address

import httpx

from ..errors import SpaceConnectionError
from ..question.options import Access, proxy_fault


def find_proxy(access: Access) -> tuple[httpx.Proxy | None, str]:
    """Return the proxy of an access, and words that name it without its password.

    Only the variables that apply to the Space's address are looked at. httpx itself would read all
    of them, and fail for one that is not used.

    Raises:
        SpaceConnectionError: the proxy, or NO_PROXY, cannot be used.
    """
    name, proxy = "", access.proxy
    if not proxy and access.environment:
        name, proxy = _from_environment(httpx.URL(access.url), dict(access.environment))
    if not proxy:
        return None, ""
    fault = proxy_fault(proxy)
    if not fault:
        with suppress(ValueError, httpx.InvalidURL):  # their words can hold the password
            usable = httpx.Proxy(proxy)
            address = f"{usable.url.scheme}://{usable.url.netloc.decode()}"
            return usable, f"{address} ({name})" if name else address
        fault = "is not a URL that httpx understands"
    raise SpaceConnectionError(f"{name or 'proxy'} {fault}.")


def _from_environment(url: httpx.URL, environment: dict[str, str]) -> tuple[str, str]:
    """Return the variable that applies to a URL and its proxy, "" for no proxy.

    As httpx does: www.python-httpx.org/environment_variables/#proxies
    """
    exceptions = [entry.strip() for entry in environment.get("no", "").split(",")]
    # A list: a faulty entry is an error also behind one that covers the URL.
    if "*" in exceptions or any([_covers(entry, url) for entry in exceptions if entry]):
        return "", ""
    kind = url.scheme if environment.get(url.scheme) else "all"
    proxy = environment.get(kind, "")
    return _variable(kind), proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _covers(entry: str, url: httpx.URL) -> bool:
    """Return whether an entry of NO_PROXY covers a URL. A name covers its subdomains too."""
    address = entry
    if "://" not in entry:
        address = f"all://*{entry}"
        with suppress(ValueError):
            IPv6Address(entry.partition("/")[0])
            address = f"all://[{entry}]"
    try:
        pattern = httpx.URL(address)
    except httpx.InvalidURL:
        shown = entry.rpartition("@")[2]
        raise SpaceConnectionError(
            f"{_variable('no')} has an entry that cannot be used: {shown!r}. Valid are names and "
            "addresses such as example.com, 192.0.2.1, 192.0.2.1:8080 and ::1 (without brackets "
            "or a network's length).") from None
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
