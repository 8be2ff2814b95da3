"""Executors that decide in which thread gradio_client's tasks run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any


class InlineExecutor(Executor):
    """Runs each task in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.run(future, partial(fn, *args, **kwargs))
        return future

    def run(self, future: Future[Any], task: Callable[[], Any]) -> None:
        try:
            future.set_result(task())
        except BaseException as error:
            future.set_exception(error)


class DaemonExecutor(InlineExecutor):
    """Runs each task in a daemon thread. A pool's threads are joined at the interpreter's exit."""

    def run(self, future: Future[Any], task: Callable[[], Any]) -> None:
        thread = threading.Thread(
            target=super().run, args=(future, task), name="qvq_wrapper", daemon=True)
        thread.start()
