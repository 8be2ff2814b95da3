"""A Space that stands still for longer than it keeps a connection."""

import signal
import threading
import time
from collections import Counter

import pytest
from conftest import call_threads, close_idle_sockets_to, script, wait_until

from qvq_wrapper import ask

pytestmark = pytest.mark.chaos
KEPT = 5  # seconds for which uvicorn keeps an idle connection
BOUND = 120


class Readers:
    """Threads, each of which asks and reads one answer. ``ends`` has each text or error."""

    def __init__(self, **options):
        self._options, self._threads = options, {}
        self.streams, self.ends = {}, {}

    def start(self, name, prompt):
        self.streams[name] = ask(prompt, **self._options)
        self._threads[name] = threading.Thread(target=self._read, args=(name,), daemon=True)
        self._threads[name].start()

    def _read(self, name):
        try:
            for _ in self.streams[name].iterate():
                pass
            self.ends[name] = self.streams[name].text
        except Exception as error:
            self.ends[name] = error

    def join(self):
        for thread in self._threads.values():
            thread.join(BOUND)
        assert not any(thread.is_alive() for thread in self._threads.values())


def test_a_space_that_stands_still(start_space, certificate):
    """In mid-answer, and between two questions."""
    with start_space("--certificate", *certificate) as space:
        stand_still(space, {"url": space.url, "verify": False})
        wait_until(lambda: not call_threads() and not close_idle_sockets_to(space.port), BOUND)


def stand_still(space, options):
    readers = Readers(**options)
    steps = [*["word", 0.05, "word by word", 0.05] * 20]
    leaves = script(*steps * 20, "leaves")
    assert list(ask("one connection", **options).iterate())
    warm = [ask(script(0.2, f"{each}"), **options) for each in range(3)]
    chunks = [stream.iterate() for stream in warm]
    assert [next(each) for each in chunks] and [list(each) for each in chunks]  # three are kept
    readers.start("stays", script(*steps, "stays"))
    readers.start("leaves", leaves)
    wait_until(lambda: all(stream.text for stream in readers.streams.values()), BOUND)
    space.signal(signal.SIGSTOP)
    try:
        readers.start("kept connection", script("kept"))
        readers.start("second", script("second"))
        readers.streams["leaves"].cancel()
        wait_until(lambda: "leaves" in readers.ends, BOUND)  # while the Space stands still
        time.sleep(KEPT + 1)
        readers.start("later", script("later"))
        time.sleep(0.5)
    finally:
        space.signal(signal.SIGCONT)
    readers.join()
    assert readers.ends.pop("leaves") in ("word", "word by word")
    assert readers.ends == {
        "stays": "stays", "kept connection": "kept", "second": "second", "later": "later"}
    assert max(Counter(each["prompt"] for each in space.log("asked")).values()) == 1
    wait_until(lambda: space.log("left", prompt=leaves), BOUND)
    assert not space.log("finished", prompt=leaves)
