"""Check that threads, open files and memory do not grow with the number of answers.

``python tests/benchmarks/soak.py [--answers 2000] [--cancelled 500]`` starts a Space and warms up
with some of both kinds. Then it prints the figures, and ends with status 1 if one of them grew.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from qvq_wrapper import ask

SPACE = Path(__file__).parents[1] / "spaces" / "space.py"
AT_ONCE = 10


def figures():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd")),
            "kB": pages * os.sysconf("SC_PAGESIZE") // 1024}


async def answer(url, number):
    assert await ask(f"answer {number}", url=url).read() == f"You asked: answer {number}"


async def cancelled(url, number):
    async with ask("script:" + json.dumps([f"{number} ", 0.01] * 500), url=url) as stream:
        await anext(stream)


async def soak(url, answers, cancels, report):
    await run(url, cancelled, 100)
    await run(url, answer, 100)
    report("warm", 200)
    await run(url, answer, answers, report)
    await run(url, cancelled, cancels, report)


async def run(url, kind, total, report=lambda kind, done: None):
    for start in range(0, total, AT_ONCE):
        end = min(start + AT_ONCE, total)
        await asyncio.gather(*(kind(url, number) for number in range(start, end)))
        done = start + AT_ONCE
        if done % max(total // 10, AT_ONCE) == 0:
            await asyncio.sleep(0.5)
            report(kind.__name__, done)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--cancelled", type=int, default=500)
    options = parser.parse_args()
    seen = []

    def report(kind, done):
        seen.append(figures())
        print(kind, done, *(f"{name} {value}" for name, value in seen[-1].items()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        space = subprocess.Popen(
            [sys.executable, SPACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder})
        try:
            print(json.dumps(["--log", os.path.join(folder, "log")]), file=space.stdin, flush=True)
            pid, url, _ = space.stdout.readline().split()
            asyncio.run(soak(url, options.answers, options.cancelled, report))
            os.kill(int(pid), 9)
        finally:
            space.kill()
    base, last = seen[0], seen[-1]
    room = {"threads": 0, "files": 0, "kB": base["kB"] // 20}
    grown = [name for name in room if last[name] > base[name] + room[name]]
    print("flat" if not grown else f"grew: {', '.join(grown)}")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
