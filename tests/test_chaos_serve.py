"""An own Space under attack: many questions, visitors who leave, and a model's server that dies."""

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import HERE, PNG, free_port, script, wait_until
from test_chaos import ChaosRelay
from test_serve import begin
from upstream import Upstream

from qvq_wrapper import ResponseError, ask
from qvq_wrapper.serve import running_space

pytestmark = [pytest.mark.chaos, pytest.mark.space]
BOUND = 120
ENDLESS = [{"repeat": "word ", "times": 100_000, "delay": 0.02}]


@contextmanager
def serving(base_url):
    """Run a Space. Yields its address and the id of its process."""
    with running_space(base_url=base_url, model="a-model") as url:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        yield url.rstrip("/"), next(
            int(pid) for pid in children
            if "qvq_wrapper.serve" in Path(f"/proc/{pid}/cmdline").read_text())


def memory_of(pid):
    """Return the resident memory of a process in kB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") // 1024


def works(url):
    return asyncio.run(ask("Hi", PNG, url=url).read()) == "You asked: Hi "


async def visit(url, number):
    """Be one of several kinds of visitors."""
    if number % 10 == 3:  # leaves in mid-answer
        async with ask(script(f"{number}", *ENDLESS), url=url) as stream:
            await anext(stream)
    elif number % 10 == 6:
        with pytest.raises(ResponseError, match="too long"):
            await ask(script("a", {"error": f"too long {number}"}), url=url).read()
    else:
        picture = PNG if number % 10 == 0 else None
        words = [f"{each} " for each in range(number % 50)]
        text = await ask(script(*words, f"end {number}"), picture, url=url).read()
        assert text == "".join(words) + f"end {number}"


async def visit_all(url, numbers, at_once=8):
    numbers = iter(numbers)

    async def work():
        for number in numbers:
            await visit(url, number)

    await asyncio.gather(*(work() for _ in range(at_once)))


def test_two_thousand_questions():
    """The memory of the Space does not grow with the number of its answers."""
    with Upstream() as server, serving(server.url) as (url, pid):
        asyncio.run(visit_all(url, range(500)))
        warm = memory_of(pid)
        asyncio.run(visit_all(url, range(500, 2000)))
        grown = memory_of(pid) / warm
        wait_until(lambda: server.running == 0, BOUND)
        assert grown < 1.1


STAGES = ["page", "half an upload", "upload", "join", "call", "before a word", "in mid-answer"]
HALF = (b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; "
        b"boundary=b\r\nContent-Length: 90000\r\n\r\n--b\r\nContent-Disposition: form-data; "
        b"name=\"files\"; filename=\"a.png\"\r\n\r\n" + bytes(30000))


def leave(url, stage):
    """Visit as a browser does, and leave at this stage."""
    if stage == "half an upload":
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(HALF)
        return
    with httpx.Client(base_url=url, timeout=BOUND) as client:
        if stage == "page":
            client.get("/config").raise_for_status()
            return
        path = client.post("/gradio_api/upload", files={"files": ("a.png", PNG)}).json()[0]
        if stage == "upload":
            return
        picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        steps = [600] if stage == "before a word" else ENDLESS
        path = begin(client, "curl" if stage == "call" else "browser", *steps, picture=picture)
        if stage in ("join", "call"):
            return
        with client.stream("GET", path) as response:
            for line in response.iter_lines():
                if "process_starts" in line and stage == "before a word" or "word word" in line:
                    break


def test_visitors_who_leave_at_every_stage():
    """The model stops for all of them, also for those who never come to read."""
    with Upstream() as server, serving(server.url) as (url, _):
        visitors = [threading.Thread(target=leave, args=(url, stage))
                    for stage in STAGES for _ in range(5)]
        random.Random("leave").shuffle(visitors)
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(BOUND)
        assert len(server.requests) >= 3 * 5
        wait_until(lambda: server.running == 0, BOUND)
        assert works(url)


def test_a_models_server_that_sends_garbage():
    """It also cuts answers off. Each ends, and the Space goes on."""
    wrong = []

    async def ask_through(relay, url):
        async def one(number):
            right = f"{relay.kind} {number} " + "word " * 20
            stream = ask(script(f"{relay.kind} {number} ", *["word "] * 20), url=url)
            try:
                if await stream.read() != right and relay.kind != "corrupt":
                    wrong.append((relay.kind, stream.text))
            except ResponseError as error:
                if relay.kind in ("delay", "slow") or relay.kind != "corrupt" and (
                        not right.startswith(stream.text)):
                    wrong.append((relay.kind, stream.text, error))

        await asyncio.wait_for(asyncio.gather(*map(one, range(12))), BOUND)

    with Upstream() as server, ChaosRelay(
            int(server.url.split(":")[2].split("/")[0]), "delay", "garbage") as relay, serving(
            f"{relay.url}/v1") as (url, _):
        for relay.kind in ("delay", "slow", "cut", "truncate", "corrupt", "reset", "refusal"):
            asyncio.run(ask_through(relay, url))
        relay.kind = "delay"
        assert not wrong and works(url)
        wait_until(lambda: server.running == 0, BOUND)


@contextmanager
def model_server(port):
    with subprocess.Popen([sys.executable, HERE / "spaces" / "upstream.py", str(port)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        yield process
        process.kill()


def test_a_models_server_that_dies():
    port = free_port()

    async def ask_while(process, url):
        streams = [ask(script(*before, *ENDLESS), url=url) for before in [[], [600]] * 5]
        ends = [asyncio.ensure_future(stream.read()) for stream in streams]
        for stream in streams:
            while stream.status.stage != "processing" and not stream.text:
                await asyncio.sleep(0.05)
        process.kill()
        errors = await asyncio.wait_for(asyncio.gather(*ends, return_exceptions=True), BOUND)
        for error in errors:
            assert isinstance(error, ResponseError)
            assert str(error).startswith("The connection to the model's server "), error

    with serving(f"http://127.0.0.1:{port}/v1") as (url, _):
        for _ in range(3):
            with model_server(port) as process:
                assert works(url)
                asyncio.run(ask_while(process, url))
            with pytest.raises(ResponseError, match="connection to the model's server failed"):
                works(url)
