"""The Python contenders, and the process that runs one of them: ``contenders.py NAME SPEC``.

SPEC is JSON from ``run.py``. Each step's results go to stdout as one line of JSON, and the next
step waits for a line on stdin. Imports are late, because the contenders live in different
environments.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

Answer = AsyncGenerator[str, None]


class Bare:
    """The bare protocol over httpx. A connection is kept for each answer at once.

    One client with a pool would do, but httpx's pool looks at every connection for each request.
    """

    def __init__(self, url: str, picture: bytes | None) -> None:
        import httpx

        tls = httpx.create_ssl_context()
        self._new = lambda: httpx.AsyncClient(
            base_url=url + "/gradio_api", verify=tls, timeout=None)
        self._picture = picture
        self._free: list[Any] = []

    async def ask(self, prompt: str, with_picture: bool) -> Answer:
        client = self._free.pop() if self._free else self._new()
        image, text, done = None, "", False
        if with_picture:
            files = {"files": ("picture.png", self._picture, "image/png")}
            (uploaded,) = await post(client, "/upload", files=files)
            image = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
        path, job = await self.join(client, [image, prompt])
        try:
            async with aclosing(events(client, path)) as stream:
                async for event in stream:
                    new, done = self.read(event, text)
                    if chunk := new[len(text):]:
                        yield chunk
                    text = new
        finally:
            if not done:
                await post(client, "/cancel", json=job)
            self._free.append(client)

    async def join(self, client: Any, data: list[Any]) -> tuple[str, dict[str, Any]]:
        """Ask. Gives the path of the answer's events, and what names the job."""
        raise NotImplementedError

    def read(self, event: bytes, text: str) -> tuple[str, bool]:
        """The text after an event, and whether the answer has ended."""
        raise NotImplementedError


async def post(client: Any, path: str, **options: Any) -> Any:
    response = await client.post(path, **options)
    return response.raise_for_status().json()


async def events(client: Any, path: str) -> AsyncGenerator[bytes, None]:
    buffer = b""
    async with client.stream("GET", path) as response:
        response.raise_for_status()
        async for data in response.aiter_bytes():
            *found, buffer = (buffer + data).split(b"\n\n")
            for event in found:
                yield event


class Limit(Bare):
    """The queue protocol: what there is to gain at most."""

    async def join(self, client: Any, data: list[Any]) -> tuple[str, dict[str, Any]]:
        job = {"session_hash": uuid.uuid4().hex, "fn_index": 0}
        job |= await post(client, "/queue/join", json={"data": data, **job})
        return f"/queue/data?session_hash={job['session_hash']}", job

    def read(self, event: bytes, text: str) -> tuple[str, bool]:
        message = json.loads(event.removeprefix(b"data:"))
        if message["msg"] not in ("process_generating", "process_completed"):
            return text, message["msg"] == "close_stream"
        if not message["success"]:
            raise RuntimeError(str(message["output"])[:200])
        change = (message["output"].get("data") or [[]])[0]
        if isinstance(change, str):
            text = change
        else:  # Gradio's differences
            for action, _, value in change:
                text = text + value if action == "append" else value
        return text, message["msg"] == "process_completed"


class Call(Bare):
    """The protocol that Gradio documents for curl, which repeats the whole text in each event."""

    async def join(self, client: Any, data: list[Any]) -> tuple[str, dict[str, Any]]:
        event_id = (await post(client, "/call/generate", json={"data": data}))["event_id"]
        job = {"session_hash": event_id, "fn_index": 0, "event_id": event_id}
        return f"/call/generate/{event_id}", job

    def read(self, event: bytes, text: str) -> tuple[str, bool]:
        kind, _, data = event.partition(b"\ndata: ")
        if kind == b"event: error":
            raise RuntimeError(data.decode()[:200])
        if kind != b"event: heartbeat":
            text = json.loads(data)[0]
        return text, kind == b"event: complete"


class Stock:
    """gradio_client as its documentation shows it, bridged with to_thread."""

    keep = True

    def __init__(self, url: str, picture: bytes | None) -> None:
        self._url, self._lock = url, asyncio.Lock()
        self._client: Any = None
        self._file = Path(tempfile.mkdtemp(dir=os.environ.get("QVQ_BENCH_TEMP")), "picture.png")
        self._file.write_bytes(picture or b"")

    async def _open(self) -> Any:
        from anyio.to_thread import run_sync
        from gradio_client import Client

        if not self.keep:
            return await run_sync(lambda: Client(self._url))
        async with self._lock:
            self._client = self._client or await run_sync(lambda: Client(self._url))
            return self._client

    async def ask(self, prompt: str, with_picture: bool) -> Answer:
        from anyio.to_thread import run_sync
        from gradio_client import handle_file

        client = await self._open()
        image = handle_file(self._file) if with_picture else None
        job = client.submit(image, prompt, api_name="/generate")
        position = 0
        try:
            while (text := await run_sync(next, job, None)) is not None:
                if chunk := text[position:]:
                    yield chunk
                position = len(text)
            await run_sync(job.result)
        finally:
            if not job.done():
                await run_sync(job.cancel)


class StockNew(Stock):
    keep = False


class G4f:
    """g4f's provider, pointed at our Space."""

    def __init__(self, url: str, picture: bytes | None) -> None:
        from g4f.Provider.hf_space.Qwen_QVQ_72B import Qwen_QVQ_72B

        self._provider: Any = type("Here", (Qwen_QVQ_72B,), {"url": url})
        self._media = [(picture, "picture.png")]

    def ask(self, prompt: str, with_picture: bool) -> Answer:
        return self._provider.create_async_generator(
            "qvq-72b", [{"role": "user", "content": prompt}],
            self._media if with_picture else None)


class This:
    """qvq_wrapper, as its documentation shows it."""

    def __init__(self, url: str, picture: bytes | None) -> None:
        self._url, self._picture = url, picture

    async def ask(self, prompt: str, with_picture: bool) -> Answer:
        from qvq_wrapper import ask

        async with ask(prompt, self._picture if with_picture else None, url=self._url) as stream:
            async for chunk in stream:
                yield chunk


CONTENDERS: dict[str, Any] = {
    "limit": Limit, "call": Call, "stock-new": StockNew, "stock-kept": Stock, "g4f": G4f,
    "this": This}


async def one(peer: Any, step: dict[str, Any]) -> dict[str, Any]:
    """One answer, with the times at which its words came."""
    start, chars = time.perf_counter(), 0
    times: list[float] = []
    late: list[float] = []
    found: dict[str, Any] = {"times": times, "late": late}
    async with aclosing(peer.ask(json.dumps(step["prompt"]), step.get("picture", False))) as stream:
        async for chunk in stream:
            if not chunk:
                continue
            times.append(time.perf_counter() - start)
            found.setdefault("first_at", time.time())
            chars += len(chunk)
            if step["prompt"].get("stamp"):
                late.append(time.time() - float(chunk.split()[0]))
            if step.get("cancel"):
                found["cancelled_at"] = time.time()
                return found
            if step.get("pause") and len(times) == 1:
                await asyncio.sleep(step["pause"])
    if not times or step.get("chars") not in (None, chars):
        raise RuntimeError(f"the answer has {chars} characters")
    return found


def quantile(values: list[float], part: float) -> float | None:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else None


async def run(peer: Any, step: dict[str, Any]) -> dict[str, Any]:
    """One step: as many answers at once, and so many times, as it says. Times in seconds."""
    start, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    results: list[Any] = []
    for _ in range(step.get("times", 1)):
        results += await asyncio.gather(
            *(one(peer, step) for _ in range(step.get("count", 1))), return_exceptions=True)
    total, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    good = [result for result in results if isinstance(result, dict)]
    bad = [result for result in results if not isinstance(result, dict)]
    firsts = [result["times"][0] for result in good]
    gaps = [b - a for result in good for a, b in zip(result["times"], result["times"][1:])]
    late = [value for result in good for value in result["late"]]
    found = {
        "first": quantile(firsts, 0.5), "first_max": max(firsts, default=None), "total": total,
        "gap50": quantile(gaps, 0.5), "gap99": quantile(gaps, 0.99),
        "late50": quantile(late, 0.5), "late99": quantile(late, 0.99),
        "cpu": after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime}
    if good:
        found |= {name: good[0].get(name) for name in ("first_at", "cancelled_at")}
    if bad:
        error = f"{type(bad[0]).__name__}: {bad[0]}"
        found["error"] = f"{len(bad)} of {len(results)} failed: {error}"[:200]
    return found


async def main(name: str, spec: dict[str, Any]) -> None:
    out = os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr  # some contenders print

    def report(mark: str, **found: Any) -> None:
        print(json.dumps({"mark": mark, **found}), file=out, flush=True)
        if not sys.stdin.readline():
            raise SystemExit

    picture = Path(spec["picture"]).read_bytes()
    if spec.get("warm"):  # makes the late imports; nothing is known of the measured address yet
        step = {"prompt": {"tokens": 3}, "picture": True}
        await one(CONTENDERS[name](spec["warm"], picture), step)
    peer = CONTENDERS[name](spec["url"], picture)
    gc.collect()
    report("start")
    for step in spec["steps"]:
        await asyncio.sleep(step.get("wait", 0))
        report(step["mark"], **await run(peer, step))


if __name__ == "__main__":
    # Every answer at once has a connection.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
    sys.stdout.flush()
    os._exit(0)  # gradio_client's threads are joined at exit, which is not measured
