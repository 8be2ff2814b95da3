"""Many calls through relays that do harm at random: bounded, right, and never asked twice."""

import random
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress

import anyio
import pytest
from conftest import call_threads, close_idle_sockets_to, script, wait_until
from network import Relay, connect, read_head

from qvq_wrapper import ResponseError, ask

pytestmark = pytest.mark.anyio
KINDS = ["delay", "stall", "cut", "truncate", "corrupt", "reset", "half-close", "silence",
         "refusal", "slow"]
BOUND = 60  # seconds for one call, which hangs otherwise
AT_ONCE = 10


class ChaosRelay(Relay):
    """A relay whose connections have a fault of one kind at a random place.

    About a third of the connections have none, so that calls also succeed.
    """

    def __init__(self, target, kind, seed):
        super().__init__(target)
        self.kind, self._random = kind, random.Random(seed)

    def handle(self, client):
        chance = self._random.random()
        if chance < 0.35:
            super().handle(client)
        elif self.kind == "silence":
            while client.recv(65536):
                pass
        elif self.kind == "refusal":
            self._refuse(client)
        else:
            server = connect(("127.0.0.1", self.target))
            self.pump(client, server, self._fault(client))

    def _refuse(self, client):
        status = self._random.choice([429, 500, 502, 503, None])
        if status:
            read_head(client)
            client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
        else:
            reset(client)

    def _fault(self, client):
        """Return a function that changes each piece of data. It does harm after some pieces."""
        left = [self._random.choice([0, 1, 2, 3, 5, 8, 13])]
        rest = random.Random(self._random.random())

        def change(data):
            left[0] -= 1
            if self.kind == "delay":
                time.sleep(rest.random() * 0.05)
            if left[0] >= 0 or self.kind == "delay":
                return data
            return self._harm(client, data, rest)

        return change

    def _harm(self, client, data, rest):
        if self.kind == "cut":
            return None
        if self.kind == "stall":
            return b""
        if self.kind == "truncate":
            with suppress(OSError):
                client.sendall(data[: rest.randrange(len(data))])
            return None
        if self.kind == "corrupt":
            place = rest.randrange(len(data))
            return data[:place] + bytes([rest.randrange(256)]) + data[place + 1:]
        if self.kind == "reset":
            reset(client)
            return None
        if self.kind == "half-close":
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            return b""
        for start in range(0, len(data), 64):  # slow
            with suppress(OSError):
                client.sendall(data[start: start + 64])
            time.sleep(0.001)
        return b""


def reset(client):
    """Close a connection by a TCP reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)
    client.close()


class Chaos:
    """Calls through relays of all kinds. ``wrong`` has what was not as promised."""

    def __init__(self, space, seed, stack):
        self.space, self._random, self.wrong = space, random.Random(seed), []
        self.outcomes = dict.fromkeys(("right", "error"), 0)
        self._name = f"{seed} {time.time_ns()}"
        self.relays = [stack.enter_context(ChaosRelay(space.port, kind, f"{seed} {kind}"))
                       for kind in KINDS]
        self.prompts = []

    def make(self, number):
        """Return the relay, the stream and the right text of the next call."""
        relay = self.relays[number % len(self.relays)]
        words = [f"{number}."] + [f" word{each}" for each in range(self._random.randrange(1, 20))]
        texts = ["".join(words[: each + 1]) for each in range(len(words))]
        steps = [step for text in texts for step in (text, self._random.choice([0, 0.005, 0.02]))]
        prompt = script({"chaos": f"{self._name} {number}"}, *steps)
        self.prompts.append(prompt)
        stream = ask(prompt, url=relay.url, timeout=8, read_timeout=0.7, max_retries=1)
        return relay, stream, texts[-1]

    def check(self, relay, right, text, error, seconds):
        """Write down what is wrong with the outcome of a call."""
        self.outcomes["error" if error else "right"] += 1
        if seconds > BOUND:
            self.wrong.append((relay.kind, "took", seconds))
        if error is not None and not isinstance(error, ResponseError):
            self.wrong.append((relay.kind, "raised", repr(error)))
        elif relay.kind == "corrupt":
            return
        elif error is None and text != right:
            self.wrong.append((relay.kind, "text", text, right))
        elif error is not None and not right.startswith(error.text):
            self.wrong.append((relay.kind, "no prefix", error.text, right))

    async def run(self, number):
        """Ask one question in a task."""
        relay, stream, right = self.make(number)
        start, error = time.monotonic(), None
        try:
            await stream.read()
        except Exception as caught:
            error = caught
        self.check(relay, right, stream.text, error, time.monotonic() - start)

    def run_here(self, number):
        """Ask one question in this thread."""
        relay, stream, right = self.make(number)
        start, error = time.monotonic(), None
        try:
            for _ in stream.iterate():
                pass
        except Exception as caught:
            error = caught
        self.check(relay, right, stream.text, error, time.monotonic() - start)

    def check_afterwards(self):
        """No question was asked twice, and no job, thread or socket is left."""
        for prompt in self.prompts:
            if len(self.space.log("asked", prompt=prompt)) > 1:
                self.wrong.append(("asked twice", prompt))
        assert not self.wrong
        assert self.outcomes["right"] and self.outcomes["error"], self.outcomes
        wait_until(lambda: not call_threads(), 10)
        for relay in self.relays:
            wait_until(lambda: not close_idle_sockets_to(relay.port), 5)
        wait_until(lambda: not [each.name for each in threading.enumerate()
                                if each.name.startswith("qvq_wrapper")], 5)
        wait_until(self.jobs_ended, 10)

    def jobs_ended(self):
        """Return whether each job has finished or left, or makes no step for half a second.

        gradio closes no generator that has yielded nothing yet, so that such a job logs no end.
        """
        before = self._log()
        ended = {each["prompt"] for each in before if each["event"] in ("finished", "left")}
        if ended == {each["prompt"] for each in before}:
            return True
        time.sleep(0.5)
        return len(self._log()) == len(before)

    def _log(self):
        prompts = set(self.prompts)
        return [each for each in self.space.log() if each.get("prompt") in prompts]


@pytest.mark.parametrize("count", [
    pytest.param(20, id="few"),
    pytest.param(200, id="many", marks=pytest.mark.chaos)])
async def test_calls_in_tasks(space, anyio_backend_name, count):
    with ExitStack() as stack:
        chaos = Chaos(space, f"tasks {anyio_backend_name} {count}", stack)
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def run(number):
            async with limiter:
                await chaos.run(number)

        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(run, number)
        await anyio.to_thread.run_sync(chaos.check_afterwards)


@pytest.mark.parametrize("count", [
    pytest.param(20, id="few"),
    pytest.param(200, id="many", marks=pytest.mark.chaos)])
def test_calls_in_threads(space, count):
    with ExitStack() as stack:
        chaos = Chaos(space, f"threads {count}", stack)
        numbers = iter(range(count))
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                chaos.run_here(number)

        threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        chaos.check_afterwards()
