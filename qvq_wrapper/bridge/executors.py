"""Decides in which thread gradio_client's tasks run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from gradio_client import utils


class JobExecutor(Executor):
    """Runs each task in the thread that submits it, or in a daemon thread of its own.

    A pool's threads would be joined at the interpreter's exit.
    """

    def __init__(self, *, daemon: bool = False) -> None:
        self._daemon = daemon

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        if self._daemon:
            threading.Thread(target=run, name="gradio_client", daemon=True).start()
        elif fn is not utils.check_for_cancel:
            # check_for_cancel polls, and posts past the proxy. We cut the job's connection instead.
            run()
        return future
