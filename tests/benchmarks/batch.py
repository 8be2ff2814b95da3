"""Measure runs of many questions, beside ``asyncio.gather`` with a semaphore.

``python tests/benchmarks/batch.py [rows] [file] [pace] [refused] [away] [--plot FILE]``
runs the named measurements, or all of them. ``qvq_wrapper[bench,batch]`` has to be installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

from qvq_wrapper import ask
from qvq_wrapper.batch import answer_file, ask_many

SPACE = Path(__file__).parents[1] / "spaces" / "space.py"


class Space:
    """A Space of the tests in a process of its own, and its log."""

    def __init__(self, folder, *arguments):
        self.log = Path(folder) / f"{time.time_ns()}.log"
        self.log.touch()
        self.launcher = subprocess.Popen(
            [sys.executable, SPACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder})
        self.arguments = ["--log", str(self.log), *map(str, arguments)]
        self.start()

    def start(self):
        print(json.dumps(self.arguments), file=self.launcher.stdin, flush=True)
        pid, url, _ = self.launcher.stdout.readline().split()
        self.pid, self.url = int(pid), url.rstrip("/")

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)

    def count(self, event, **fields):
        entries = map(json.loads, self.log.read_text().splitlines())
        return sum(entry["event"] == event and fields.items() <= entry.items() for entry in entries)


@contextmanager
def running_space(*arguments):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        space = Space(folder, *arguments)
        try:
            yield space
        finally:
            space.stop()
            space.launcher.kill()


async def at_once(row):
    return "x"


async def gather(rows, ask, concurrency):
    """What people write: all tasks at once, and a semaphore. Return the results and the errors."""
    semaphore = asyncio.Semaphore(concurrency)

    async def one(row):
        async with semaphore:
            return await ask(row)

    found = await asyncio.gather(*(one(row) for row in rows), return_exceptions=True)
    failed = sum(isinstance(each, Exception) for each in found)
    return len(found) - failed, failed


async def many(rows, **options):
    """The same by ``ask_many``."""
    answered = failed = 0
    async for result in ask_many(rows, **options):
        answered, failed = answered + ("answer" in result), failed + ("error" in result)
    return answered, failed


async def ask_all(name, rows, url, concurrency=4):
    """Ask a Space by one of the contenders."""
    if name == "ask_many":
        return await many(rows, url=url, concurrency=concurrency)
    return await gather(rows, lambda row: ask(row["prompt"], url=url).read(), concurrency)


def scripts(count, seconds):
    """Return questions that the Space answers after so many seconds."""
    prompts = ["script:" + json.dumps([seconds, f"answer {number}"]) for number in range(count)]
    return [{"prompt": prompt, "n": number} for number, prompt in enumerate(prompts)]


def measure_rows(options):
    """Time and memory for each row, with an ask that answers at once."""
    def rows(count):
        return ({"prompt": f"question {number}"} for number in range(count))

    contenders = {
        "ask_many": lambda count: many(rows(count), ask=at_once),
        "gather": lambda count: gather(rows(count), at_once, 4)}
    for name, run in contenders.items():
        peaks = []
        for count in (options.rows // 10, options.rows):
            start, cpu = time.perf_counter(), time.process_time()
            asyncio.run(run(count))
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            gc.collect()
            tracemalloc.start()
            asyncio.run(run(count))
            peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
            print(f"{name}: {count:,} rows: {wall / count * 1e6:.1f} us each "
                  f"(CPU {cpu / count * 1e6:.1f}), peak {peaks[-1]:.2f} MB")
        print(f"{name}: ten times the rows take {peaks[1] - peaks[0]:.2f} MB more")


def measure_file(options):
    """Time from file to file, and of a second run, which finds everything answered."""
    measure_answer_file(options.rows)
    measure_answer_file(options.rows // 10, b"\x89PNG\r\n\x1a\n".ljust(100_000))


def measure_answer_file(count, picture=b""):
    with tempfile.TemporaryDirectory() as folder:
        questions, answers = Path(folder) / "q.jsonl", Path(folder) / "a.jsonl"
        with questions.open("w") as file:
            for number in range(count):
                row = {"prompt": f"question {number}"}
                if picture:
                    row["image"] = f"{number}.png"
                    (Path(folder) / row["image"]).write_bytes(picture)
                file.write(json.dumps(row) + "\n")
        for words in ("to a file", "resume"):
            start, cpu = time.perf_counter(), time.process_time()
            asyncio.run(answer_file(questions, answers, ask=at_once))
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            about = f"{len(picture) // 1000} kB of picture each, " if picture else ""
            print(f"{words}: {count:,} rows in {wall:.2f} s (CPU {cpu:.2f} s), {about}"
                  f"{most:.0f} MB")


def measure_pace(options):
    """Answers a minute of a Space that serves each question in 0.5 s."""
    paces = {"ask_many": {}, "gather": {}}
    for concurrency in (1, 4, 16, 32):
        rows = scripts(int(2 * concurrency * options.seconds), 0.5)
        for name in paces:
            with running_space("--at-once", 64) as space:
                asyncio.run(many(scripts(1, 0), url=space.url))  # gradio_client is imported
                start = time.perf_counter()
                found = asyncio.run(ask_all(name, rows, space.url, concurrency))
                pace = 60 * found[0] / (time.perf_counter() - start)
            paces[name][concurrency] = pace
            print(f"{name}, {concurrency} at once: {pace:.0f} a minute, "
                  f"{pace / (120 * concurrency):.0%} of {120 * concurrency}, {found[1]} failed")
    if options.plot:
        plot(paces, options.plot)


def plot(paces, path):
    from matplotlib.figure import Figure

    figure = Figure((5, 3.2), layout="constrained")
    axes = figure.subplots()
    sizes = list(paces["ask_many"])
    axes.plot(sizes, [120 * size for size in sizes], ":", color="gray", label="0.5 s each")
    axes.plot(sizes, paces["gather"].values(), "s--", label="asyncio.gather and a semaphore")
    axes.plot(sizes, paces["ask_many"].values(), "o-", label="ask_many")
    axes.set(xlabel="questions at once", ylabel="answers a minute", xticks=sizes)
    axes.legend()
    figure.savefig(path, dpi=100)


def measure_refused(options):
    """A queue of 2 with 16 questions at once, and a Space that lets 10 in every 3 s."""
    cases = {
        "queue of 2": (("--queue", 2, "--at-once", 1, "--door", 10**6, 1), scripts(100, 0.05)),
        "429, Retry-After": (("--door", 10, 3), scripts(60, 0.05))}
    for words, (arguments, rows) in cases.items():
        for name in ("ask_many", "gather"):
            with running_space(*arguments) as space:
                start = time.perf_counter()
                found = asyncio.run(ask_all(name, rows, space.url, 16))
                print(f"{words}, {name}: {found[0]} of {len(rows)} answered, {found[1]} failed, "
                      f"{space.count('asked')} asked, "
                      f"{space.count('join') - space.count('join', status=200)} refused, "
                      f"{time.perf_counter() - start:.1f} s")


def measure_away(options):
    """A Space that is killed in mid-run and comes back after 20 s, or hangs for 20 s."""
    async def run(space, rows, name, interrupt):
        async def disturb():
            while space.count("finished") < 30:
                await asyncio.sleep(0.01)
            await interrupt(space)

        disturbing = asyncio.create_task(disturb())
        found = await ask_all(name, rows, space.url)
        await disturbing
        return found

    async def restart(space):
        space.stop()
        await asyncio.sleep(20)
        space.arguments += ["--port", space.url.rsplit(":", 1)[1]]
        space.start()

    async def hang(space):
        os.kill(space.pid, signal.SIGSTOP)
        await asyncio.sleep(20)
        os.kill(space.pid, signal.SIGCONT)

    for words, interrupt in {"restarted after 20 s": restart, "hangs for 20 s": hang}.items():
        for name in ("ask_many", "gather"):
            with running_space() as space:
                start = time.perf_counter()
                rows = scripts(100, 0.2)
                found = asyncio.run(run(space, rows, name, interrupt))
                print(f"{words}, {name}: {found[0]} of {len(rows)} answered, {found[1]} failed, "
                      f"{space.count('asked')} asked, {time.perf_counter() - start:.1f} s")


def main():
    measurements = {
        name.removeprefix("measure_"): function for name, function in globals().items()
        if name.startswith("measure_")}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(measurements))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20, help="of each pace")
    parser.add_argument("--plot", metavar="FILE", help="plot the paces")
    options = parser.parse_args()
    for name in options.names or measurements:
        print(f"== {measurements[name].__doc__}", flush=True)
        measurements[name](options)


if __name__ == "__main__":
    main()
