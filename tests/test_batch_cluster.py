"""Runs on a real cluster of dask.distributed: a scheduler and workers, each in its own process."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from conftest import PNG, free_port, script, wait_until
from test_batch_files import COMMAND, lines, write

DASK = Path(sys.executable).with_name("dask")
COUNT, CONCURRENCY, THREADS = 500, 8, 4
pytestmark = [
    pytest.mark.batch,
    pytest.mark.skipif(not DASK.exists(), reason='needs: pip install "dask[distributed]"'),
]


class Cluster:
    """A scheduler and workers. ``environment`` is that of all, which the workers ask with."""

    def __init__(self, folder, processes, **environment):
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers = []
        self._folder, self._processes, self._environment = folder, processes, environment

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
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                command = (folder / "cmdline").read_text()
            except OSError:  # the process has ended
                continue
            if int(status[1]) == nanny.pid and "spawn_main" in command:
                return int(folder.name)
    return None


@pytest.fixture
def start_cluster(tmp_path):
    with ExitStack() as processes:
        def start(workers, **environment):
            cluster = Cluster(tmp_path / "dask", processes, **environment)
            cluster.start_scheduler()
            cluster.start_workers(workers)
            return cluster

        yield start


def test_workers_scheduler_and_driver_are_killed(start_space, start_cluster, tmp_path):
    """In the end each row has one line, with the right answer about the right picture."""
    rows = [{"prompt": script(0.1, f"answer {n}"), "image": f"{n}.png", "n": n}
            for n in range(COUNT)]
    pictures = [PNG + b"%d" % n for n in range(COUNT)]
    for row, picture in zip(rows, pictures, strict=True):
        (tmp_path / row["image"]).write_bytes(picture)
    questions, answers = write(tmp_path / "questions.jsonl", rows), tmp_path / "answers.jsonl"
    with start_space("--at-once", 3 * THREADS) as space:
        cluster = start_cluster(3, QVQ_URL=space.url, QVQ_API_KEY="of-the-worker")
        command = [*COMMAND, questions, answers, "--concurrency", CONCURRENCY, "--dask",
                   cluster.address]

        def start():
            return subprocess.Popen(
                [*map(str, command)], stderr=subprocess.PIPE, text=True,
                env=os.environ | {"QVQ_API_KEY": "of-the-driver"})

        def wait_asked(count):
            wait_until(lambda: len(space.log("asked")) >= count, 120)

        with start() as driver:
            wait_asked(80)
            os.kill(worker_of(cluster.workers[0]), signal.SIGKILL)
            wait_asked(160)
            os.kill(worker_of(cluster.workers[1]), signal.SIGKILL)
            wait_asked(240)
            driver.kill()
        with start() as driver:
            wait_asked(340)
            cluster.scheduler.kill()
            _, shown = driver.communicate(timeout=60)
        assert driver.returncode == 1 and "0 failed" in shown, shown
        assert shown.splitlines()[-1] == (
            "qvq-batch: the run was ended: the connection to the cluster's scheduler is lost. "
            "The same command goes on from here.")
        assert not {"Traceback", "distributed"} & set(re.findall("\\w+", shown)), shown
        assert all("answer" in line for line in lines(answers)) and len(lines(answers)) < COUNT
        cluster.start_scheduler()
        print([nanny.poll() for nanny in cluster.workers])
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
        assert len(asked) - COUNT <= 2 * THREADS + 2 * CONCURRENCY
        here = subprocess.run([*map(str, command[:-2]), "--url", space.url], stderr=subprocess.PIPE)
        assert here.returncode == 0 and b"0 answered and 500 earlier" in here.stderr
