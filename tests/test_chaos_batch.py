"""``qvq-batch`` is killed, and its disk is full, again and again. All answers are right then."""

import random
import resource
import signal
import subprocess
import sys
from functools import partial

import pytest
from batches import COMMAND, lines, write
from conftest import script, wait_until

pytestmark = pytest.mark.chaos
BOUND = 120
COUNT, CONCURRENCY = 600, 8


def bound_files(size):
    """Let this process write no file beyond this size, as if the disk were full then."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def run(start_space, tmp_path):
    """A Space, and the function that starts the command, which takes the file for the answers."""
    rows = [{"prompt": script(0.01, f"answer {n}"), "n": n} for n in range(COUNT)]
    questions = write(tmp_path / "questions.jsonl", rows)
    with start_space() as space:
        def start(answers, program=COMMAND, stderr=subprocess.PIPE, **options):
            command = [*program, questions, answers, "--url", space.url, "--api-name", "/generate",
                       "--concurrency", CONCURRENCY]
            return subprocess.Popen(
                [*map(str, command)], stderr=stderr, text=True, **options)

        yield space, start


def finish(start, answers):
    """Run to the end. Each question then has one line, with the right answer."""
    with start(answers) as process:
        _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 0, errors
    found = lines(answers)
    assert len(found) == len({line["key"] for line in found})
    assert sorted(line["n"] for line in found) == list(range(COUNT))
    assert all(line["answer"] == f"answer {line['n']}" for line in found)


def test_thirty_kills_and_ten_full_disks(run, answers):
    """It happens at random moments. No question is asked twice but those under way then."""
    space, start = run
    chance = random.Random("kills")
    answers.touch()
    for number in range(40):
        asked, size = len(space.log("asked")), answers.stat().st_size
        if number % 4 == 3:
            room = size + chance.randrange(3000)
            with start(answers, preexec_fn=partial(bound_files, room)) as process:
                _, errors = process.communicate(timeout=BOUND)
            assert process.returncode == 1, errors
            assert "File too large; the answers before this one are safe" in errors
            assert "Traceback" not in errors
            data = answers.read_bytes()
            assert len(data) <= room and (data.endswith(b"\n") or not data)
        else:
            with start(answers) as process:
                more = chance.randrange(20)  # 0: while it starts
                wait_until(lambda: len(space.log("asked")) >= asked + more, BOUND)
                process.send_signal(signal.SIGKILL)
    assert answers.read_bytes().count(b"\n") < COUNT, "the runs were too long to be cut off"
    finish(start, answers)
    assert len(space.log("asked")) <= COUNT + 40 * CONCURRENCY


def test_a_full_disk_behind_standard_error(run, answers):
    """What is printed is lost. The answers are not."""
    space, start = run
    command = "import sys\nfrom qvq_wrapper.batch import __main__ as command\n" \
        "command.LOG_INTERVAL = 0.01\nsys.exit(command.main())"
    with open("/dev/full", "w") as full, start(
            answers, program=[sys.executable, "-c", command], stderr=full) as process:
        assert process.wait(BOUND) in (0, 120)  # 120 is Python's own, for what it cannot flush
    assert len(lines(answers)) == COUNT
    finish(start, answers)
