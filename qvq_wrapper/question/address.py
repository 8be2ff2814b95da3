"""Reads the address of a Space, in the forms in which people have it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_OWNER_AND_NAME = r"([\w-]+/[\w.-]+)"  # an owner has no dot; a host without a scheme has one
# Paths of Gradio's own API, at the end of an address.
_API_PATH = (
    r"/(?:gradio_api(?:/.*)?|call(?:/[^/]+){1,2}|(?:run|api)/predict|queue/(?:join|data)|config)$")


def space_url(url: object) -> str:
    """Return the URL of a Space, with a slash at the end.

    Args:
        url: an http(s) URL, ``owner/name`` of a Space on Hugging Face, or the address of its page
            there, ``https://huggingface.co/spaces/owner/name``.

    Raises:
        ValueError, TypeError: ``url`` is something else. The message says what to write.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    url = url.strip()
    if re.fullmatch(_OWNER_AND_NAME, url.rstrip("/"), re.A):
        return _hosted(url)
    has_scheme = "://" in url
    address = url if has_scheme else f"https://{url}"
    if not is_url(address, ("http", "https")) or urlsplit(address).username is not None:
        raise ValueError("url must be an http(s) URL without user and password, or 'owner/name'")
    host, path = str(urlsplit(address).hostname), urlsplit(address).path.rstrip("/")
    if host.removeprefix("www.").rstrip(".") in ("huggingface.co", "hf.co"):
        if page := re.match(rf"/spaces/{_OWNER_AND_NAME}(?:/|$)", path, re.A):
            return _hosted(page[1])
        raise ValueError(
            "url is at Hugging Face, but is not a Space's page. Such a page is "
            "https://huggingface.co/spaces/owner/name; 'owner/name' is enough")
    if not has_scheme:
        scheme = "http" if is_loopback(host) else "https"
        raise ValueError(f"url has no scheme: write {scheme}://{url}, or 'owner/name'")
    if api := re.search(_API_PATH, path):
        raise ValueError(
            f"url must be the address of the Space itself, without {api[0]}. "
            "Name an endpoint by api_name, such as api_name='/generate'")
    return address.split("?")[0].split("#")[0].rstrip("/") + "/"


def _hosted(name: str) -> str:
    """Return a Space's URL (https://huggingface.co/docs/hub/spaces-embed#direct-url)."""
    subdomain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"https://{subdomain}.hf.space/"


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port (https://www.rfc-editor.org/rfc/rfc6454#section-4).

    The token is sent only to the origin of the Space's URL.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_url(url: str, schemes: tuple[str, ...]) -> bool:
    """Return whether ``url`` has a host and one of these schemes."""
    try:
        parts = urlsplit(url)
        parts.port  # raises ValueError if the port is not a number
    except ValueError:
        return False
    has_control = re.search(r"[\s\x00-\x1f\x7f]", url)
    return parts.scheme in schemes and bool(parts.hostname) and not has_control
