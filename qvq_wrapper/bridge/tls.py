"""TLS contexts that all calls share."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import Any

import httpx

from ..errors import SpaceConnectionError

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")  # read by httpx and Python's ssl


@lru_cache(maxsize=16)
def _tls_context(verify: Any) -> Any:
    return httpx.create_ssl_context(verify=verify)


def tls_context(verify: Any) -> Any:
    """Return a shared TLS context. httpx would build one for each client, which takes 20 ms.

    Under a lock: OpenSSL may crash at exit while several threads build their first one.

    Raises:
        SpaceConnectionError: a file that the environment names cannot be used.
    """
    try:
        with _tls_lock:
            return _tls_context(verify)
    except OSError as error:  # ssl.SSLError is one
        names = " or ".join(filter(os.environ.get, VARIABLES)) or "this machine's certificates"
        kind = type(error).__name__
        raise SpaceConnectionError(
            f"TLS cannot be set up with {names} ({kind}: {error}).") from error


def forget_tls_contexts() -> None:
    """Start anew in a forked process: OpenSSL's own locks may be held."""
    global _tls_lock
    _tls_lock = threading.Lock()
    _tls_context.cache_clear()


_tls_lock = threading.Lock()
