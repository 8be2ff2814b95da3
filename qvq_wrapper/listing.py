"""The function ``endpoints``, which tells what a Space offers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from .base import hide_arguments
from .provider import Qwen_QVQ_72B
from .question.options import Access, Limits
from .types import EndpointInfo


@hide_arguments
def endpoints(
    url: str | None = None, *,
    api_key: str | None = None,
    proxy: str | None = None,
    read_timeout: float | None = 60.0,
    headers: Mapping[str, str] | None = None,
    verify: bool | ssl.SSLContext = True,
    auth: tuple[str, str] | None = None,
) -> list[EndpointInfo]:
    """Return the endpoints of a Space that have a name: what ``api_name`` and ``parameters`` take.

    It asks for nothing that a question just before or after it would not ask for as well: both
    share it. It blocks. In asynchronous code write ``await asyncio.to_thread(endpoints, url)``.

    Args:
        url: a URL, or ``owner/name``. None is QVQ's Space.
        api_key, proxy, read_timeout, headers, verify, auth: as ``ask`` has them. Nothing is tried
            again.

    Raises:
        ValueError, TypeError: an argument cannot be used. Nothing has been sent.
        ResponseError: something failed at the Space or on the way to it.

    Example::

        for endpoint in endpoints("owner/name"):
            print(endpoint.name, endpoint.fits, [each.name for each in endpoint.parameters])
    """
    from .bridge.offers import find_offers  # gradio_client takes 0.4 s

    access = Access.checked(
        Qwen_QVQ_72B.url if url is None else url, api_key, auth, headers, proxy, verify)
    return find_offers(access, Limits.checked(None, read_timeout, 0, 1, None))
