"""The command ``python -m qvq_wrapper.serve``: serves a local Space until Ctrl-C."""

from __future__ import annotations

import _thread
import argparse
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..printable import printable
from .options import parse

if TYPE_CHECKING:
    import gradio


def main() -> None:
    """Read the command line and serve the Space. Ctrl-C and SIGTERM end it with exit status 0.

    Raises:
        SystemExit: an option is wrong, a package is missing, the address cannot be used, or the
            Space was stopped.
    """
    options = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    if options.until_stdin_closes:
        Thread(target=_end_with_stdin, daemon=True).start()
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family)
        # asyncio does this only for sockets made with a protocol number. Without it, a small piece
        # of an answer waits up to 40 ms for the acknowledgement of the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        address = printable(f"{options.host}, port {options.port}")
        sys.exit(f"Cannot listen on {address}: {error}")
    with TemporaryDirectory(prefix="qvq_wrapper-demo-", ignore_cleanup_errors=True) as folder:
        try:
            _serve(listener, Path(folder).resolve(), options)
        except ImportError as error:
            extra = "serve" if options.base_url else "demo"
            sys.exit(f'{error}. This Space needs: pip install "qvq_wrapper[{extra}]"')


def _end_with_stdin() -> None:
    os.read(0, 1)  # not sys.stdin: its lock must be free when the interpreter exits
    _thread.interrupt_main(signal.SIGTERM)


def _serve(listener: socket.socket, folder: Path, options: argparse.Namespace) -> None:
    # Set before the imports below, some of which read them. The first two turn telemetry off.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", ORT_DISABLE_TELEMETRY="1")
    os.environ.update(GRADIO_RUN_HISTORY="False", GRADIO_TEMP_DIR=str(folder))
    # Otherwise gradio 6.31 makes statistics of its last 10,000 answers after each answer.
    os.environ.update(
        GRADIO_ANALYTICS_MAX_EVENTS="1", GRADIO_ANALYTICS_CACHE_FREQUENCY=str(10**9))
    from .disconnect import Readers
    from .uploads import MAX_FILE, Uploads

    readers = Readers()
    page = _model_page(options, readers) if options.base_url else _reader_page()
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from .fetch import take_pictures
    from .page import CSS, theme
    from .visitors import Visitors

    uploads = Uploads(folder)
    uploads.keep_present()
    Thread(target=uploads.delete_old_forever, daemon=True).start()
    take_pictures(uploads)
    page.has_launched = True  # else Gradio checks no path; mount_gradio_app does not set it
    readers.app = mount_gradio_app(
        FastAPI(), page, path="/", auth=options.auth, theme=theme(), css=CSS,
        max_file_size=MAX_FILE, enable_monitoring=False, mcp_server=False,
        show_error=False)  # gr.Error is shown all the same, and the log has everything
    config = uvicorn.Config(
        Visitors(readers, uploads), log_level="critical", timeout_graceful_shutdown=1)
    host, port = listener.getsockname()[:2]
    if not options.auth and not ipaddress.ip_address(host).is_loopback:
        print("Anyone who can reach this machine can use the Space. To set users and passwords: "
              "--auth-file FILE", file=sys.stderr, flush=True)
    host = f"[{host}]" if ":" in host else host  # an IPv6 address in a URL (RFC 3986, 3.2.2)
    print(f"http://{host}:{port}/", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _reader_page() -> gradio.Blocks:
    _ignore_proxies()
    from .reader import Reader

    reader = Reader()  # loads its models while Gradio is imported, which saves seconds
    from .page import reader_page

    return reader_page(reader)


def _model_page(options: argparse.Namespace, readers: Any) -> gradio.Blocks:
    from .upstream import Upstream

    try:
        upstream = Upstream(
            options.base_url, options.model, api_key=options.api_key or "", system=options.system,
            max_tokens=options.max_tokens, temperature=options.temperature,
            max_pixels=options.max_pixels, stop_repetition=options.stop_repetition,
            show_thinking=options.show_thinking)
    except (ValueError, ImportError):  # the message could hold the proxy's password
        sys.exit("A proxy in the environment cannot be used. Check HTTP_PROXY, HTTPS_PROXY, "
                 "ALL_PROXY and NO_PROXY; socks5:// needs: pip install \"httpx2[socks]\"")
    _ignore_proxies()
    from .page import model_page

    return model_page(upstream, readers, options.concurrency)


def _ignore_proxies() -> None:
    # Gradio asks nobody, so it needs no proxy. It would not start with one that httpx refuses.
    os.environ.update(NO_PROXY="*", no_proxy="*")


if __name__ == "__main__":
    main()
