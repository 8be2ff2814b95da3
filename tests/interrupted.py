"""Asks questions and presses Ctrl-C in each of them. test_chaos_interrupts.py runs it.

``python tests/interrupted.py KIND URL SEED ROUNDS`` prints what happened as one JSON object. KIND
is ``asyncio``, ``trio`` or ``sync``.
"""

import asyncio
import gc
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import qvq_wrapper
import trio
from conftest import PNG, call_threads, close_idle_sockets_to, script, wait_until

from qvq_wrapper import ResponseError, ask

PACKAGE = str(Path(qvq_wrapper.__file__).parent)
BOUND = 30
SHORT, LONG = 5, 3000
"""Steps of an answer. Each takes 10 ms."""


def prompt_of(name, steps):
    texts = [f"{each}" for each in range(steps)]
    return script({"interrupt": name}, *[step for text in texts for step in (text, 0.01)])


async def read(stream, leaves):
    async with stream:
        async for _ in stream:
            if leaves:
                break


def read_here(stream, leaves):
    with closing(stream.iterate()) as chunks:
        for _ in chunks:
            if leaves:
                break


RUN = {
    "asyncio": lambda *arguments: asyncio.run(read(*arguments)),
    "trio": lambda *arguments: trio.run(read, *arguments),
    "sync": read_here,
}


class Timer:
    """Presses Ctrl-C after some seconds, whatever the main thread does then."""

    def __init__(self, seconds):
        self._seconds, self._thread = seconds, threading.Thread(target=self._press)

    def _press(self):
        time.sleep(self._seconds)
        os.kill(os.getpid(), signal.SIGINT)

    def __repr__(self):
        return f"after {self._seconds:.4f} s"

    def start(self):
        self._thread.start()

    def stop(self):
        self._thread.join()


class Tracer:
    """Presses Ctrl-C before the main thread runs a line of the package for the n-th time.

    Attributes:
        seen: how often each line was run: file and number of the line.
    """

    def __init__(self, line=None, times=1):
        self._line, self._left, self.seen = line, times, Counter()

    def __repr__(self):
        return f"at {self._line}, {self._left}"

    def start(self):
        sys.settrace(self._trace)

    def stop(self):
        sys.settrace(None)

    def _trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            self.seen[line] += 1
            self._left -= line == self._line
            if self._left == 0:
                self.stop()
                self._left = -1
                signal.raise_signal(signal.SIGINT)
        return self._trace


def ask_once(kind, url, prompt, leaves, presser):
    """Ask, with Ctrl-C on the way. Return how it ended."""
    try:
        try:
            presser.start()
            RUN[kind](ask(prompt, PNG, url=url), leaves)
        finally:
            presser.stop()
    except KeyboardInterrupt:
        return "interrupted"
    except ResponseError as error:
        return repr(error)
    return "ended"


def find_moments(ask, chance, rounds):
    """Return what presses Ctrl-C in each round, and whether the reader leaves then.

    Half of the rounds are lines that the main thread runs, each another one.
    """
    lines, seconds = Counter(), {}
    for leaves in (False, True, False, True):  # the first two warm up
        tracer, start = Tracer(), time.monotonic()
        ended = ask(SHORT, leaves, tracer)
        assert ended == "ended", ended
        seconds[leaves] = time.monotonic() - start
        lines.update({(leaves, line): times for line, times in tracer.seen.items()})
    for leaves, line in chance.sample(sorted(lines), min(rounds // 2, len(lines))):
        yield leaves, Tracer(line, chance.randint(1, min(3, lines[leaves, line] // 2)))
    for _ in range(rounds - rounds // 2):
        leaves = chance.random() < 0.5
        yield leaves, Timer(chance.random() * 1.2 * seconds[leaves])


def main(kind, url, seed, rounds):
    chance, port = random.Random(f"{kind} {seed}"), int(url.rsplit(":", 1)[1])
    outcomes, wrong, prompts = Counter(), [], []

    def ask(steps, leaves, presser):
        prompts.append(prompt_of(f"{kind} {len(prompts)} {time.time_ns()}", steps))
        return ask_once(kind, url, prompts[-1], leaves, presser)

    def left():
        return call_threads() or close_idle_sockets_to(port)

    for leaves, presser in find_moments(ask, chance, rounds):
        # A long answer would show a job that is left. The end of a short one is interrupted too.
        ended = ask(LONG if leaves else SHORT, leaves, presser)
        outcomes[ended] += 1
        gc.collect()
        try:
            wait_until(lambda: not left(), BOUND)
        except AssertionError:
            wrong.append([repr(presser), leaves, ended, repr(left())])
    threads = [each.name for each in threading.enumerate()][1:]
    print(json.dumps({
        "outcomes": outcomes, "wrong": wrong, "prompts": prompts, "threads": threads}))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
