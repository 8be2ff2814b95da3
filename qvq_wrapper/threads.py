"""In whose thread the tasks of a gradio_client session run: as far as it goes, in the one that asks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any


class Here(Executor):
    """Runs a task in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.run(future, partial(fn, *args, **kwargs))
        return future

    def run(self, future: Future[Any], task: Callable[[], Any]) -> None:
        try:
            future.set_result(task())
        except BaseException as error:
            future.set_exception(error)


class Daemons(Here):
    """Runs each task in a daemon thread: none is joined at the interpreter's exit."""

    def run(self, future: Future[Any], task: Callable[[], Any]) -> None:
        threading.Thread(target=super().run, args=(future, task), name="qvq_wrapper", daemon=True).start()


class Readers(Daemons):
    """Where gradio_client would start its reader of the stream, the job's thread reads for itself.

    gradio_client's own prints tracebacks, never looks at the response's status, and feeds a consumer
    that polls every 50 ms. It is used where our queue was not.
    """

    def __init__(self, events: Events, reader: Iterator[dict[str, Any]]) -> None:
        self._events = events
        self._reader = reader

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self._events.in_use:
            return super().submit(fn, *args, **kwargs)
        self._events.reader = self._reader
        return Future()


class Events(deque[Any]):
    """The messages of a job, read from the Space by the thread that looks for one."""

    in_use = False
    reader: Iterator[dict[str, Any]] | None = None

    def __len__(self) -> int:
        if not super().__len__() and self.reader:
            self.append(next(self.reader))
        return super().__len__()


class Pending(dict[str, Any]):
    """Has gradio_client use our queue for the one job of a session."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def setdefault(self, key: str, default: Any = None) -> Any:
        self._events.in_use = True
        return super().setdefault(key, self._events)
