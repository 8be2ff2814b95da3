"""Keeps huggingface_hub's telemetry switched off while a gradio_client session is built."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub

_telemetry_lock = threading.Lock()


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Keep huggingface_hub from asking the Hub for a list of AI agents while a Client is built.

    Its ``build_hf_headers`` does, in 2.4, past the proxy and for up to 3 s. The environment that
    switches it off is read at import, so that only the module's constant is left.
    """
    constants = huggingface_hub.constants
    with _telemetry_lock:
        before, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_TELEMETRY = before


if hasattr(os, "register_at_fork"):  # not on Windows; no fork while a Client is built
    os.register_at_fork(
        before=_telemetry_lock.acquire, after_in_parent=_telemetry_lock.release,
        after_in_child=_telemetry_lock.release)
