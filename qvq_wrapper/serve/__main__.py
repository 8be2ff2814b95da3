"""The command ``python -m qvq_wrapper.serve``: serves the local Space until Ctrl-C."""

from __future__ import annotations

import _thread
import argparse
import os
import signal
import socket
import sys
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from threading import Thread


def main() -> None:
    """Read the command line and serve the Space. Ctrl-C and SIGTERM end it with exit status 0.

    Raises:
        SystemExit: a package is missing, the address cannot be used, or the Space was stopped.
    """
    parser = argparse.ArgumentParser(
        "python -m qvq_wrapper.serve", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Serve a Space that reads the text in a picture. Ctrl-C ends it.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860, help="port, or 0 for any free port")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with standard input")
    options = parser.parse_args()
    missing = [name for name in ("gradio", "onnxruntime", "rapidocr") if find_spec(name) is None]
    if missing:
        sys.exit(f"The demo needs {', '.join(missing)}: pip install \"qvq_wrapper[demo]\"")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    if options.until_stdin_closes:
        Thread(target=_end_with_stdin, daemon=True).start()
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        listener = socket.create_server((options.host, options.port), family=family)
    except (OSError, OverflowError) as error:
        sys.exit(f"Cannot listen on {options.host}, port {options.port}: {error}")
    with TemporaryDirectory(prefix="qvq_wrapper-demo-", ignore_cleanup_errors=True) as folder:
        _serve(listener, folder)


def _end_with_stdin() -> None:
    os.read(0, 1)  # not sys.stdin: its lock must be free when the interpreter exits
    _thread.interrupt_main(signal.SIGTERM)


def _serve(listener: socket.socket, folder: str) -> None:
    # Set before the imports below, some of which read them. The first two turn telemetry off.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", ORT_DISABLE_TELEMETRY="1")
    os.environ.update(GRADIO_RUN_HISTORY="False", GRADIO_TEMP_DIR=folder)
    # It asks nobody, so no proxy is needed. Gradio would not start with one that httpx refuses.
    os.environ.update(NO_PROXY="*", no_proxy="*")
    from .reader import Reader

    reader = Reader()  # loads its models while Gradio is imported, which saves seconds
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from .page import build_page

    app = mount_gradio_app(FastAPI(), build_page(reader), path="/", show_error=True, theme="soft")
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host  # an IPv6 address in a URL (RFC 3986, 3.2.2)
    print(f"http://{host}:{port}/", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
