"""The README's recipe for a cluster, word for word, on a real one: scheduler and two workers."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PNG, free_port, script, wait_until
from readmes import examples

DASK = Path(sys.executable).with_name("dask")
pytestmark = [
    pytest.mark.batch,
    pytest.mark.skipif(not DASK.exists(), reason='needs: pip install "dask[distributed]"'),
]


def recipe():
    (block,) = (block for block in examples("qvq_wrapper/batch/README.rst") if "dask" in block)
    return block


@contextmanager
def running(*command, **environment):
    """Run a command and what it starts, in a session of its own."""
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env=os.environ | environment)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def worker_process(nanny):
    """Return the process id of the worker that this `dask worker` has started."""
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
def cluster(start_space, tmp_path):
    """A Space, the scheduler's address, and the two `dask worker` processes."""
    scheduler = f"tcp://127.0.0.1:{free_port()}"
    worker = [DASK, "worker", scheduler, "--nthreads", 4, "--local-directory", tmp_path / "dask"]
    port = scheduler.rsplit(":", 1)[1]
    start = [DASK, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    with start_space() as space, running(*start), \
            running(*worker, QVQ_URL=space.url) as one, running(*worker, QVQ_URL=space.url) as two:
        wait_until(lambda: worker_process(one) and worker_process(two), 60)
        yield space, scheduler, [one, two]


def questions(tmp_path, count):
    (tmp_path / "a.png").write_bytes(PNG)
    path = tmp_path / "questions.jsonl"
    rows = [{"prompt": script(0.1, f"answer {n}"), "image": "a.png", "n": n} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check(answers, count):
    found = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(found) == len({line["key"] for line in found}) == count
    assert all(line["answer"] == f"answer {line['n']}" for line in found)


def most_at_once(entries):
    """Return how many questions were under way at once, by the Space's log."""
    now = most = 0
    for entry in entries:
        now += {"asked": 1, "left": -1}.get(entry["event"], 0)
        most = max(most, now)
    return most


def test_a_worker_is_killed(cluster, tmp_path):
    space, scheduler, workers = cluster
    (tmp_path / "cluster.py").write_text(recipe())
    answers = tmp_path / "answers.jsonl"
    arguments = [scheduler, questions(tmp_path, 200).name, answers.name]
    driver = subprocess.Popen(
        [sys.executable, "cluster.py", *arguments], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    with driver:
        wait_until(lambda: len(space.log("finished")) > 50, 60)
        os.kill(worker_process(workers[0]), signal.SIGKILL)
        assert driver.wait(60) == 0
        assert driver.stdout.read().startswith("200 answered, 0 failed, 0 asked again")
    check(answers, 200)
    assert 200 <= len(space.log("asked")) <= 200 + 4  # what the worker had under way
    assert most_at_once(space.log()) <= 8 + 4
    assert space.seen(script(0.1, "answer 7"))["image"] == "a.png"


def test_driver_and_workers_are_killed(cluster, tmp_path):
    space, scheduler, workers = cluster
    (tmp_path / "cluster.py").write_text(recipe())
    answers = tmp_path / "answers.jsonl"
    count = 1000
    command = [sys.executable, "cluster.py", scheduler, questions(tmp_path, count).name,
               answers.name]
    for kill in range(1, 6):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as driver:
            asked = len(space.log("asked"))
            wait_until(lambda: len(space.log("asked")) > asked + 130, 120)
            if kill in (2, 4):
                os.kill(worker_process(workers[kill // 4]), signal.SIGKILL)
                wait_until(lambda: len(space.log("asked")) > asked + 150, 120)
            driver.kill()
    assert subprocess.run(command, cwd=tmp_path, timeout=300).returncode == 0
    check(answers, count)
    assert len(space.log("asked")) <= count + 5 * 8 + 2 * 4
