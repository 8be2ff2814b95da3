"""A Space's config, API and cookies, as a call fetches them."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from ..errors import ResponseError, SpaceUnavailableError
from .bounds import load_json, weigh_json
from .connection import Connection

OLDEST_GRADIO = (4, 44)


@dataclass(frozen=True, repr=False)
class SpaceInfo:
    """What a Space says of itself."""

    config: dict[str, Any]
    api: dict[str, Any]
    cookies: httpx.Cookies
    root: str
    weight: int  # bytes of memory, estimated
    fetched: float  # when, by time.monotonic()

    @classmethod
    def fetch(cls, connection: Connection) -> SpaceInfo:
        """Ask the Space, after a login where there is one.

        Raises:
            ResponseError: of the kind that fits what was found at the address.
            httpx.HTTPError: the Space could not be reached.
        """
        url, now = connection.url, time.monotonic()
        connection.http.cookies = httpx.Cookies()
        if connection.access.auth:
            login = dict(zip(("username", "password"), connection.access.auth))
            connection.send("POST", urljoin(url, "login"), data=login)
        answer = connection.send("GET", urljoin(url, "config"))
        config = _json(answer, "components", "dependencies")
        protocol = config.get("protocol", "ws")
        version = re.match(r"(\d{1,6})\.(\d{1,6})", str(config.get("version")))
        if protocol != "sse_v3" or not version or tuple(map(int, version.groups())) < OLDEST_GRADIO:
            raise SpaceUnavailableError(
                f"The Space at {url} is too old: its gradio {config.get('version')} speaks the "
                f"protocol {protocol}. It needs gradio 4.44 or newer.")
        prefix = str(config.get("api_prefix") or "").strip("/")
        root = urljoin(url, prefix + "/").rstrip("/") + "/"
        response = connection.send("GET", urljoin(root, "info?serialize=False"))
        api = _json(response, "named_endpoints")
        weight = weigh_json(answer.content) + weigh_json(response.content)
        return cls(config, api, httpx.Cookies(connection.http.cookies), root, weight, now)

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
    host, kind = response.url.netloc.decode(), response.headers.get("content-type", "no type")
    raise SpaceUnavailableError(
        f"No Gradio app at {host}: {response.url.path} answers with something else ({kind}).",
        status_code=response.status_code)
