"""What a Space told us once (its config, its API and its cookies): fetched once, shared and kept true."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from .errors import ResponseError, SpaceUnavailableError
from .line import CallCancelled, Line
from .options import Access

FRESH = 5.0  # seconds for which facts are used without asking whether the Space is still the same
MAX_SPACES = 64  # Spaces remembered at once
PROTOCOLS = ("sse_v1", "sse_v2", "sse_v2.1", "sse_v3")

logger = logging.getLogger("qvq_wrapper")

# Components that can hold no picture, nor (but for the textbox) a prompt.
_TYPED = {"textbox", "number", "slider", "checkbox", "checkboxgroup", "radio", "dropdown", "colorpicker",
          "datetime", "audio", "video", "dataframe"}


@dataclass(frozen=True, repr=False)
class Facts:
    """What a Space says of itself."""

    config: dict[str, Any]
    api: dict[str, Any]
    cookies: dict[str, str]
    root: str

    @classmethod
    def fetch(cls, line: Line) -> Facts:
        """Ask the Space for its facts.

        Raises:
            ResponseError: of the kind that fits what was found at the address.
            httpx.HTTPError: the Space could not be reached.
        """
        url = line.url
        with httpx.Client(verify=line.verify, **line.options) as client:
            if line.access.auth:
                user, password = line.access.auth
                client.post(urljoin(url, "login"), data={"username": user, "password": password})
            config = _json(client.get(urljoin(url, "config")), "components", "dependencies")
            if config.get("protocol") not in PROTOCOLS:
                raise SpaceUnavailableError(
                    f"The Space at {url} is too old: its gradio {config.get('version')} speaks the protocol "
                    f"{config.get('protocol', 'ws')}; gradio 4.44 or newer is needed.")
            root = urljoin(url, str(config.get("api_prefix") or "").strip("/") + "/").rstrip("/") + "/"
            api = _json(client.get(urljoin(root, "info?serialize=False")), "named_endpoints")
            cookies = {cookie.name: cookie.value or "" for cookie in client.cookies.jar}
        return cls(config, api, cookies, root)

    def arguments(self, api_name: str, picture: Any, prompt: str, extras: Mapping[str, Any]) -> list[Any]:
        """The endpoint's arguments in order; those not given have the Space's own defaults.

        The places of picture and prompt are found by component type, then by position.

        Raises:
            SpaceUnavailableError: there is no such endpoint, or it is none that takes picture and prompt.
        """
        endpoints = self.api["named_endpoints"]
        if api_name not in endpoints:
            raise SpaceUnavailableError(
                f"The Space has no endpoint {api_name}; it has: {', '.join(sorted(endpoints)) or 'none'}.")
        parameters = endpoints[api_name]["parameters"]
        names = [str(p.get("parameter_name") or p.get("label")) for p in parameters]
        kinds = [str(p.get("component")).lower() for p in parameters]
        image = kinds.index("image") if "image" in kinds else 0
        text = kinds.index("textbox") if "textbox" in kinds else 1
        if image == text or text >= len(kinds) or kinds[image] in _TYPED or kinds[text] in _TYPED - {"textbox"}:
            raise SpaceUnavailableError(
                f"The Space's {api_name} takes no picture and prompt, but: {', '.join(kinds) or 'nothing'}.")
        values = [extras.get(name, p.get("parameter_default")) for name, p in zip(names, parameters)]
        values[image], values[text] = picture, prompt
        left_out = sorted(extras.keys() - set(names))
        if left_out:
            logger.debug("%s has no parameter %s: left out", api_name, ", ".join(left_out))
        # gradio_client would upload a default that is a file, from whatever path on this machine the Space says.
        missing = [name for i, (name, p) in enumerate(zip(names, parameters))
                   if i not in (image, text) and name not in extras
                   and (not p.get("parameter_has_default") or "gradio.FileData" in str(p.get("parameter_default")))]
        if missing:
            raise SpaceUnavailableError(
                f"The Space's {api_name} also needs {', '.join(missing)}; give them as keywords.")
        return values

    def same_layout(self, other: Facts, api_name: str) -> bool:
        """Whether a call made by these facts reaches the function that ``other`` means."""
        return self._layout(api_name) == other._layout(api_name)

    def _layout(self, api_name: str) -> object:
        ids = [dependency.get("id", i) for i, dependency in enumerate(self.config["dependencies"])
               if dependency.get("api_name") == api_name[1:]]
        return ids, self.api["named_endpoints"].get(api_name), self.config["protocol"], self.root


def _json(response: httpx.Response, *keys: str) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and all(isinstance(found.get(key), (list, dict)) for key in keys):
        return found
    raise SpaceUnavailableError(
        f"No Gradio app at {response.url.host}: {response.url.path} answers with something else "
        f"({response.headers.get('content-type', 'of no type')}).", status_code=response.status_code)


class Space:
    """The facts of one Space, shared by all calls to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: Future[Facts] | None = None
        self._checked = 0.0

    def facts(self, line: Line) -> tuple[Facts, bool]:
        """The facts, and whether they are fresh; asked for once, however many wait.

        Raises:
            TimeoutError: another call that is asking for them needs longer than ``read_timeout``.
            Exception: what ``Facts.fetch`` raised, here or in the call that was waited for.
        """
        while True:
            with self._lock:
                future = self._facts
                mine = future is None
                if future is None:
                    future = self._facts = Future()
            if mine:
                self._fetch(line, future)
                return future.result(), True
            with suppress(CallCancelled, httpx.ReadTimeout):  # the one that asked; then this one takes over
                return future.result(line.limits.read_timeout), time.monotonic() - self._checked < FRESH

    def _fetch(self, line: Line, future: Future[Facts]) -> None:
        try:
            facts = Facts.fetch(line)
        except BaseException as error:
            with self._lock:
                self._facts = None
            future.set_exception(error)
        else:
            self._checked = time.monotonic()
            future.set_result(facts)

    def check(self, facts: Facts, line: Line) -> Facts:
        """``facts`` if they are still true, otherwise the new ones."""
        with httpx.Client(verify=line.verify, cookies=facts.cookies, **line.options) as client:
            # Another app answers there, or none yet, or the line broke off: the facts are asked for anew.
            with suppress(ResponseError, httpx.NetworkError, httpx.ProtocolError):
                app_id = _json(client.get(urljoin(facts.root, "app_id"))).get("app_id")
                if app_id == facts.config.get("app_id"):
                    self._checked = time.monotonic()
                    return facts
        with self._lock:
            if self._facts and self._facts.done() and self._facts.result() is facts:
                self._facts = None
        return self.facts(line)[0]


_spaces: OrderedDict[Access, Space] = OrderedDict()
_spaces_lock = threading.Lock()


def space_at(access: Access) -> Space:
    """The one Space of this address and access."""
    with _spaces_lock:
        space = _spaces.pop(access) if access in _spaces else Space()
        _spaces[access] = space
        if len(_spaces) > MAX_SPACES:
            _spaces.popitem(last=False)
        return space
