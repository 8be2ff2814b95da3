"""A Space that stands still, a process that forks while answers run, and two hundred threads."""

import os
import random
import signal
import threading
import time
import traceback
from collections import Counter

import pytest
from conftest import call_threads, close_idle_sockets_to, script, wait_until

from qvq_wrapper import ResponseError, ask

pytestmark = [
    pytest.mark.chaos, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]
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


def nothing_left(port):
    wait_until(lambda: not call_threads() and not close_idle_sockets_to(port), BOUND)


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def near(request, start_space, certificate):
    """A Space of its own, and the options with which to ask it."""
    with start_space(*(["--certificate", *certificate] if request.param else [])) as space:
        yield space, {"url": space.url, "verify": False}
        nothing_left(space.port)


def test_a_space_that_stands_still(near):
    """It does for longer than it keeps a connection, in mid-answer and between two questions."""
    space, options = near
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


def test_answers_in_the_parent_and_in_forked_children(near):
    space, options = near
    chance = random.Random("fork")
    readers = Readers(**options)
    for number in range(5):
        readers.start(number, script(*[f"{number} ", 0.05] * 60, f"parent {number}"))
    wait_until(lambda: all(stream.text for stream in readers.streams.values()), BOUND)
    children = []
    for child in range(6):
        # Leaves an idle connection, which both processes have after the fork.
        assert "".join(ask(f"before {child}", **options).iterate()) == f"You asked: before {child}"
        time.sleep(chance.random() * 0.1)
        pid = os.fork()
        if pid == 0:
            answer_in_child(child, readers, options)
        children.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    readers.join()
    assert statuses == [0] * len(children)
    assert readers.ends == {number: f"parent {number}" for number in range(5)}
    assert max(Counter(each["prompt"] for each in space.log("asked")).values()) == 1


def answer_in_child(child, parents, options):
    """Ask three questions at once, touch the parent's, and end the process."""
    signal.alarm(BOUND)  # ends it, whatever it waits for
    try:
        own = Readers(**options)
        for number in range(3):
            own.start(number, script(*["x", 0.05, "y", 0.05] * 10, f"child {child} {number}"))
        # A parent's thread may be waiting for the next chunk, and hold the stream in this copy too.
        with pytest.raises((ResponseError, RuntimeError), match="forked process|being read"):
            list(parents.streams[child % 5].iterate())
        parents.streams[(child + 1) % 5].cancel()
        own.join()
        assert own.ends == {number: f"child {child} {number}" for number in range(3)}
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def test_two_hundred_threads(start_space):
    """All are in mid-answer at once. Then they read on, stop, or are cancelled by another."""
    count, texts = 200, {}
    with start_space() as space:
        barrier = threading.Barrier(count, timeout=BOUND)
        streams = [ask(script(f"{number} ", 0.1, *["more"] * (number % 4), f"{number} end"),
                       url=space.url) for number in range(count)]

        def read(number):
            chunks = streams[number].iterate()
            next(chunks)
            barrier.wait()
            if number % 4 == 1:
                chunks.close()
            elif number % 4 == 2:
                streams[number + 1].cancel()
            for _ in chunks:
                pass
            texts[number] = streams[number].text

        threads = [threading.Thread(target=read, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        assert len(texts) == count
        assert all(texts[number] == f"{number} end" for number in range(0, count, 2))
        assert all(stream.status.stage in ("finished", "cancelled") for stream in streams)
        assert all(streams[number].status.stage == "finished" for number in range(0, count, 2))
        nothing_left(space.port)
