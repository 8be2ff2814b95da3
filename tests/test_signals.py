"""A reader that waits can be stopped at any moment, also by a signal handler in its own thread."""

import signal
import socket
import sys
import time
from contextlib import suppress
from itertools import count

import anyio
import pytest
from conftest import BOUND
from hostile import generating

from qvq_wrapper import ResponseError, ask

pytestmark = pytest.mark.anyio


class SignalAtLine:
    """Sends this thread a signal before it runs the ``number``-th line of a block.

    The signal's handler cancels the stream. The lines of this file do not count. ``line`` is where
    the signal came, or None if the block has fewer lines.
    """

    def __init__(self, number, stream):
        self.line, self._left, self._stream = None, number, stream

    def __enter__(self):
        self._handlers = [
            (each, signal.signal(each, handler))
            for each, handler in ((signal.SIGUSR1, self._cancel), (signal.SIGALRM, self._fail))]
        self._tracer = sys.gettrace()
        signal.alarm(BOUND)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error):
        sys.settrace(self._tracer)
        signal.alarm(0)
        for each, handler in self._handlers:
            signal.signal(each, handler)

    def _trace(self, frame, event, argument):
        if frame.f_code.co_filename == __file__:
            return None
        if event == "line" and self.line is None:
            self._left -= 1
            if self._left < 0:
                self.line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGUSR1)
        return self._trace

    def _cancel(self, *arguments):
        self._stream.cancel()

    def _fail(self, *arguments):
        raise AssertionError(f"the reader hangs; the signal came before {self.line}")


@pytest.fixture
def ask_silent():
    """A function that asks a server which never answers."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(BOUND)  # the call's thread runs only while the reader's thread waits
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield lambda: ask("silent", url=url, read_timeout=0.3, max_retries=0)
    sys.setswitchinterval(interval)


def test_a_signal_at_any_line_of_a_synchronous_reader(ask_silent):
    for number in count():
        stream = ask_silent()
        with SignalAtLine(number, stream), suppress(ResponseError):
            assert next(stream.iterate(), "the end") == "the end"
        if stream.status.stage == "failed":  # it waited for good before it came to that line
            break
    assert number > 20


def test_a_signal_at_any_line_of_a_reader_in_an_event_loop(ask_silent, anyio_backend_name):
    async def read_each():
        for number in count():
            stream = ask_silent()
            with SignalAtLine(number, stream), suppress(ResponseError):
                assert await anext(stream, "the end") == "the end"
            if stream.status.stage == "failed":
                return number

    assert anyio.run(read_each, backend=anyio_backend_name) > 20


class OneWord:
    """A Space's messages: one word, and then nothing for a while."""

    def __iter__(self):
        yield generating("a")
        time.sleep(BOUND)


def test_a_signal_at_any_line_of_close(hostile):
    hostile.messages = OneWord()
    for number in count():
        stream = ask("one word", url=hostile.url)
        chunks = stream.iterate()
        next(chunks)
        with SignalAtLine(number, stream) as block:
            chunks.close()
        if not block.line:
            break
    assert number > 10


def test_a_signal_at_any_line_of_aclose(ask_silent, anyio_backend_name):
    async def close_each():
        for number in count(0, 5):  # the reader's own test has tried most of the lines
            stream = ask_silent()
            async with anyio.create_task_group() as group:
                group.start_soon(anext, stream, None)
                await anyio.wait_all_tasks_blocked()
                with SignalAtLine(number, stream) as block:
                    await stream.aclose()
            if not block.line:
                return number

    assert anyio.run(close_each, backend=anyio_backend_name) > 20
