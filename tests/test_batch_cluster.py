"""Runs on a real cluster of dask.distributed: a scheduler and workers, each in its own process."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest
from batches import COMMAND, lines, write
from conftest import BOUND, PNG, free_port, script, wait_until
from inside import set_bounds

from qvq_wrapper import SpaceConnectionError, SpaceUnavailableError
from qvq_wrapper.batch import answer_file, ask_many, on_dask

DASK = Path(sys.executable).with_name("dask")
COUNT, CONCURRENCY, THREADS = 240, 8, 4
pytestmark = [pytest.mark.anyio, pytest.mark.batch]


class Cluster:
    """A scheduler and workers. ``environment`` is that of all, which the workers ask with."""

    def __init__(self, folder, processes, workers, **environment):
        self.port, self.workers = free_port(), []
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder, self._processes, self._environment = folder, processes, environment
        self.start_scheduler()
        self.start_workers(workers)

    def start_scheduler(self):
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard")

    def start_workers(self, count):
        self.workers = [
            self._start("worker", self.address, "--nthreads", THREADS, "--no-dashboard",
                        "--local-directory", self._folder) for _ in range(count)]
        for nanny in self.workers:
            wait_until(lambda: worker_of(nanny))

    def _start(self, *arguments):
        return self._processes.enter_context(running(DASK, *arguments, **self._environment))


def client_of(cluster):
    from distributed import Client  # only the extra test-all has it

    return Client(cluster.address, set_as_default=False)


@contextmanager
def running(*command, **environment):
    """Run a command and what it starts, in a session of its own."""
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env=os.environ | environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def worker_of(nanny):
    """Return the process id of the worker that a `dask worker` has started."""
    import psutil  # Dask needs it

    children = psutil.Process(nanny.pid).children()
    return next((each.pid for each in children if "spawn_main" in " ".join(each.cmdline())), None)


@pytest.fixture
def start_cluster(tmp_path):
    with ExitStack() as processes:
        yield partial(Cluster, tmp_path / "dask", processes)


def test_workers_scheduler_and_driver_are_killed(
        start_space, start_cluster, tmp_path, answers):
    """In the end each row has one line, with the right answer about the right picture."""
    rows = [{"prompt": script(0.1, f"answer {n}"), "image": f"{n}.png", "n": n}
            for n in range(COUNT)]
    pictures = [PNG + b"%d" % n for n in range(COUNT)]
    for row, picture in zip(rows, pictures, strict=True):
        (tmp_path / row["image"]).write_bytes(picture)
    questions = write(tmp_path / "questions.jsonl", rows)
    with start_space("--at-once", 3 * THREADS) as space:
        cluster = start_cluster(3, QVQ_URL=space.url, QVQ_API_KEY="of-the-worker")
        command = [*COMMAND, questions, answers, "--concurrency", CONCURRENCY, "--dask",
                   cluster.address]

        def start():
            return subprocess.Popen(
                [*map(str, command)], stderr=subprocess.PIPE, text=True,
                env=os.environ | {
                    "QVQ_API_KEY": "of-the-driver",
                    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"})  # 30 s by default

        def wait_asked(count):
            wait_until(lambda: len(space.log("asked")) >= count, 120)

        with start() as driver:
            wait_asked(40)
            os.kill(worker_of(cluster.workers[0]), signal.SIGKILL)
            wait_asked(80)
            os.kill(worker_of(cluster.workers[1]), signal.SIGKILL)
            wait_asked(120)
            driver.kill()
        with start() as driver:
            wait_asked(160)
            cluster.scheduler.kill()
            _, shown = driver.communicate(timeout=60)
        assert driver.returncode == 1 and "0 failed" in shown, shown
        assert shown.splitlines()[-1] == (
            "qvq-batch: the run was ended: the connection to the cluster's scheduler is lost. "
            "The same command goes on from here.")
        assert not {"Traceback", "distributed"} & set(re.findall("\\w+", shown)), shown
        assert all("answer" in line for line in lines(answers)) and len(lines(answers)) < COUNT
        for nanny in cluster.workers:
            nanny.wait(60)  # the README says that workers end with their scheduler
        cluster.start_scheduler()
        cluster.start_workers(3)
        with start() as driver:
            _, shown = driver.communicate(timeout=120)
        assert driver.returncode == 0, shown
        found = lines(answers)
        assert len(found) == len({line["key"] for line in found}) == COUNT
        assert all(line["answer"] == f"answer {line['n']}" for line in found)
        asked = space.log("asked")
        sent = {(entry["prompt"], entry["image"], entry["sha256"]) for entry in asked}
        assert sent == {
            (row["prompt"], row["image"], hashlib.sha256(picture).hexdigest())
            for row, picture in zip(rows, pictures, strict=True)}
        assert {entry["headers"]["authorization"] for entry in asked} == {"Bearer of-the-worker"}
        print(f"{len(asked) - COUNT} of {COUNT} rows were asked twice")
        assert len(asked) - COUNT <= 4 * CONCURRENCY  # at each kill, those under way
        here = subprocess.run([*map(str, command[:-2]), "--url", space.url], stderr=subprocess.PIPE)
        assert here.returncode == 0 and b"0 answered and 240 earlier" in here.stderr


async def results(rows, ask, **options):
    """Return what became of each row: the answer, or the error's kind and message."""
    found = {}
    with anyio.fail_after(BOUND):
        async for result in ask_many(rows, ask=ask, **options):
            error = result.get("error", {})
            found.setdefault(result["n"], []).append(
                result.get("answer") or (error["kind"], error["message"]))
    return {number: sorted(each) for number, each in found.items()}


async def test_rows_end_as_they_do_on_one_machine(space, start_cluster, tmp_path, monkeypatch):
    """The client is one that blocks, so it is used in trio, too. The worker has another folder."""
    (tmp_path / "a.png").write_bytes(PNG)
    rows = [
        {"n": 0, "prompt": "a", "image": "a.png"}, {"n": 0, "prompt": "a", "image": "a.png"},
        {"n": 1, "prompt": "b", "image": "no/such.png"},
        *[{"n": 2, "prompt": "c", "image": [PNG]}] * 12,
        {"n": 3, "messages": [{"role": "user", "content": "d"}], "image": float("nan")},
        {"n": 4, "prompt": script({"raise": "too dark"})}, {"n": 5, "prompt": script("e" * 100)},
        {"n": 6, "prompt": "f", "unfit": threading.Lock()}]
    options = {"url": space.url, "max_chars": 50, "timeout": None, "read_timeout": None}
    cluster = start_cluster(1, QVQ_URL="nonsense")
    monkeypatch.chdir(tmp_path)
    with client_of(cluster) as client:
        asked = len(space.log("asked", prompt="a", image="a.png"))
        found = await results(rows, on_dask(client, **options))
        assert len(space.log("asked", prompt="a", image="a.png")) == asked + 2
        assert found == await results(rows, None, **options)
        assert found[0] == ["You asked: a"] * 2 and found[4] == [("ResponseError", "too dark")]
        with pytest.raises(SpaceUnavailableError, match="environment of a worker: url has no"):
            await results(rows[:1], on_dask(client))


@pytest.mark.backends("asyncio")
async def test_a_question_whose_worker_dies_is_asked_again(start_space, start_cluster, tmp_path):
    """Also where Dask itself gives it up: here, after the first death."""
    rows = [{"n": n, "prompt": script(0.5, f"answer {n}")} for n in range(20)]
    with start_space() as space:
        cluster = start_cluster(
            1, QVQ_URL=space.url, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
        with client_of(cluster) as client:

            async def kill():
                await space.wait_log("asked")
                os.kill(worker_of(cluster.workers[0]), signal.SIGKILL)

            async with anyio.create_task_group() as group:
                group.start_soon(kill)
                summary = await answer_file(rows, tmp_path / "a.jsonl", ask=on_dask(client))
    assert summary.answered == 20 and not summary.failed and summary.asked_again


async def test_a_cluster_that_cannot_ask_ends_the_run(start_cluster, monkeypatch):
    """No worker is there, or the scheduler hangs. No row fails."""
    set_bounds(monkeypatch, look=0.1, silence=1.0)
    rows = [{"n": n, "prompt": "a"} for n in range(20)]
    cluster = start_cluster(0)
    with client_of(cluster) as client:
        with pytest.raises(SpaceUnavailableError, match="has no worker"):
            await results(rows, on_dask(client), patience=1)
        cluster.scheduler.send_signal(signal.SIGSTOP)
        with pytest.raises(SpaceConnectionError, match="scheduler is lost"):
            await results(rows, on_dask(client))
        cluster.scheduler.send_signal(signal.SIGCONT)
