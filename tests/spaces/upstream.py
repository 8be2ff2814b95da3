"""A server with OpenAI's chat completions that does what the prompt says.

A prompt ``script:[...]`` holds a JSON list of steps. A string is the next piece of the answer. A
number is a pause in seconds. A dict does what its key says: ``at_once`` waits until so many answers
have run at the same time; for the others see ``_do``. Any other prompt is echoed word by word. A
script that does not finish its answer itself ends with ``stop``.

``python tests/spaces/upstream.py [PORT]`` serves until standard input closes, and prints its
address.
"""

import asyncio
import json
import sys
import threading
import time


class Upstream:
    """The server, in a thread of its own.

    Args:
        port: of 127.0.0.1, or 0 for any free port.
        scripts: the script of each prompt that is none itself.

    Attributes:
        requests, headers, paths: of each request: the body, the headers with names in lower case,
            the path.
        left: the time at which a client left before the end of its answer.
        running: how many answers are under way.
        most_at_once: how many answers have run at the same time, at most.
    """

    def __init__(self, port=0, scripts=None):
        self._port, self._scripts = port, scripts or {}
        self.requests, self.headers, self.paths, self.left = [], [], [], []
        self.most_at_once = self.running = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=512)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(self, *error):
        async def stop():
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        key = next((line[22:] for line in head if line.lower().startswith("authorization:")), "")
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or "{}")
        self.paths.append(head[0].split()[1])
        self.headers.append(headers)
        self.requests.append(body)
        answer = asyncio.ensure_future(self._answer(writer, body, key))
        leaving = asyncio.ensure_future(reader.read())  # ends when the client closes its side
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await asyncio.wait([answer, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done() or answer.exception():  # writing failed
                self.left.append(time.monotonic())
        finally:
            self.running -= 1
            answer.cancel()
            leaving.cancel()
            writer.close()

    async def _answer(self, writer, body, key):
        prompt = body["messages"][-1]["content"]
        if isinstance(prompt, list):
            prompt = prompt[-1].get("text", "")
        prompt = self._scripts.get(prompt, prompt)
        steps = [word + " " for word in f"You asked: {prompt}".split(" ")]
        if prompt.startswith("script:"):
            steps = json.loads(prompt.removeprefix("script:"))
        stream = _Stream(writer, key)
        for step in steps:
            if isinstance(step, str):
                await stream.send_piece(step)
            elif isinstance(step, dict):
                while self.most_at_once < step.get("at_once", 0):  # wait for other answers
                    await asyncio.sleep(0.01)
                if await _do(stream, step):
                    return
            else:
                await asyncio.sleep(step)
        await stream.finish("stop")


async def _do(stream, step):
    """Carry out one step. Return whether the response is over."""
    if "status" in step:  # an error in place of an answer
        await stream.send_response(step["status"], step.get("body", ""), step.get("headers", {}))
        return True
    if "error" in step:  # an error in the middle of an answer
        await stream.send_event({"error": step["error"]})
        return True
    if "piece" in step:  # whatever JSON it is, in the place of a piece
        await stream.send_piece(step["piece"])
    if "event" in step:
        await stream.send_event(step["event"])
    if "raw" in step:
        await stream.send_raw(step["raw"].encode("latin-1"))
    if "repeat" in step:
        for _ in range(step["times"]):
            await stream.send_piece(step["repeat"])
            await asyncio.sleep(step.get("delay", 0))
    if "finish" in step:
        await stream.finish(step["finish"])
        return True
    return "cut" in step  # the connection closes without an end of the answer


class _Stream:
    """One response. Its head is sent with its first data, as llama.cpp does it."""

    def __init__(self, writer, key):
        self._writer, self._key, self._begun = writer, key, False

    async def send_response(self, status, body, headers):
        if not isinstance(body, str):
            headers = {"Content-Type": "application/json"} | headers
            body = json.dumps(body)
        data = body.replace("{key}", self._key).encode()
        lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(data)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await self._writer.drain()

    async def send_piece(self, text):
        await self.send_event({"choices": [{"index": 0, "delta": {"content": text}}]})

    async def finish(self, reason):
        await self.send_event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        await self.send_event({"choices": [], "usage": {"completion_tokens": 1}})
        await self.send_raw(b"data: [DONE]\n\n")
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def send_event(self, event):
        data = json.dumps(event).replace("{key}", self._key)
        await self.send_raw(f"data: {data}\n\n".encode())

    async def send_raw(self, data):
        if not self._begun:
            self._begun = True
            self._writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n")
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()


if __name__ == "__main__":
    with Upstream(*map(int, sys.argv[1:])) as server:
        print(server.url, flush=True)
        sys.stdin.read()
