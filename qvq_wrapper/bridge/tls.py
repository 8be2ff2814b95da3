"""TLS contexts that all calls share."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import httpx


@lru_cache(maxsize=16)
def _tls_context(verify: Any) -> Any:
    return httpx.create_ssl_context(verify=verify)


def tls_context(verify: Any) -> Any:
    """Return a shared TLS context. httpx would build one for each client, which takes 20 ms.

    Under a lock: OpenSSL may crash at exit while several threads build their first one.
    """
    with _tls_lock:
        return _tls_context(verify)


def forget_tls_contexts() -> None:
    """Start anew in a forked process: OpenSSL's own locks may be held."""
    global _tls_lock
    _tls_lock = threading.Lock()
    _tls_context.cache_clear()


_tls_lock = threading.Lock()
