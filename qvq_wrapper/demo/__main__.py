"""``python -m qvq_wrapper.demo``: serves the Space until Ctrl-C."""

from __future__ import annotations

import _thread
import argparse
import os
import signal
import socket
import sys
import tempfile
from importlib.util import find_spec
from threading import Thread


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m qvq_wrapper.demo",
        description="Serve a Space that reads the text in a picture, standing in for QVQ. Ctrl-C ends it.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="port (default: %(default)s; 0: any free one)")
    parser.add_argument("--until-stdin-closes", action="store_true",
                        help="end when standard input does, as when the program that started this one is gone")
    options = parser.parse_args()
    missing = [name for name in ("gradio", "onnxruntime", "rapidocr") if find_spec(name) is None]
    if missing:
        sys.exit(f'The demo needs {" and ".join(missing)}: pip install "qvq_wrapper[demo]"')
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    if options.until_stdin_closes:
        Thread(target=_end_with_stdin, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="qvq_wrapper-demo-", ignore_cleanup_errors=True) as folder:
        _serve(options.host, options.port, folder)


if __name__ == "__main__":
    main()
