"""Decides in which thread gradio_client's tasks run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from gradio_client import utils


class JobExecutor(Executor):
    """Runs each task in the thread that submits it.

    A pool's threads would be joined at the interpreter's exit.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if fn is utils.check_for_cancel:
            return future  # it polls, and posts past the proxy: we cut the job's connection instead
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future
