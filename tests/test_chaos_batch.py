"""``qvq-batch`` is killed, and its disk is full, again and again. All answers are right then."""

import os
import random
import resource
import signal
import subprocess
import sys
from functools import partial

import pytest
from batches import COMMAND, lines, write
from conftest import script, wait_until
from test_batch_files import small_disk  # noqa: F401  # a fixture

pytestmark = pytest.mark.chaos
BOUND = 120
COUNT, CONCURRENCY = 600, 8


def bound_files(size):
    """Let this process write no file beyond this size, as if the disk were full then."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def size_of(path):
    return path.stat().st_size if path.exists() else 0


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


def test_thirty_kills_and_ten_full_disks(run, tmp_path):
    """It happens at random moments. No question is asked twice but those under way then."""
    space, start = run
    answers, chance = tmp_path / "answers.jsonl", random.Random("kills")
    for number in range(40):
        asked, size = len(space.log("asked")), size_of(answers)
        if number % 4 == 3:
            room = size + chance.randrange(3000)
            with start(answers, preexec_fn=partial(bound_files, room)) as process:
                _, errors = process.communicate(timeout=BOUND)
            assert process.returncode == 1, errors
            assert "File too large; the answers before this one are safe" in errors
            assert "Traceback" not in errors and size_of(answers) <= room
            assert answers.read_bytes().endswith(b"\n") or not size_of(answers)
        else:
            with start(answers) as process:
                more = chance.randrange(20)  # 0: while it starts
                wait_until(lambda: len(space.log("asked")) >= asked + more, BOUND)
                process.send_signal(signal.SIGKILL)
    assert len(lines_that_are_whole(answers)) < COUNT, "the runs were too long to be cut off"
    finish(start, answers)
    assert len(space.log("asked")) <= COUNT + 40 * CONCURRENCY


def lines_that_are_whole(path):
    return path.read_bytes().split(b"\n")[:-1]


def test_a_disk_with_no_room_for_a_second_copy(run, small_disk):  # noqa: F811
    """Outdated failures stay in the file. No answer is lost, and a later run removes them."""
    space, start = run
    answers = small_disk / "answers.jsonl"
    with start(answers) as process:
        _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 1 and "No space left on device" in errors
    # The temporary copy of the file has no room beside it.
    before = lines(answers)
    failure = {key: value for key, value in before.pop().items() if key != "answer"}
    failure["error"] = {"kind": "ResponseError", "message": "too dark", "retryable": False}
    write(answers, [*before, failure])
    with start(answers, env=os.environ | {"PYTHONWARNINGS": "error"}) as process:
        _, errors = process.communicate(timeout=BOUND)
    assert process.returncode == 1 and "Traceback" not in errors, errors
    found = lines(answers)
    assert len(found) >= len(before)
    assert {each.name for each in small_disk.iterdir()} <= {answers.name, f"{answers.name}.lock"}
    assert all(line["answer"] == f"answer {line['n']}" for line in found if "answer" in line)
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    finish(start, answers)


def test_a_full_disk_behind_standard_error(run, tmp_path):
    """What is printed is lost. The answers are not."""
    space, start = run
    answers = tmp_path / "answers.jsonl"
    command = "import sys\nfrom qvq_wrapper.batch import __main__ as command\n" \
        "command.LOG_INTERVAL = 0.01\nsys.exit(command.main())"
    with open("/dev/full", "w") as full, start(
            answers, program=[sys.executable, "-c", command], stderr=full) as process:
        assert process.wait(BOUND) in (0, 120)  # 120 is Python's own, for what it cannot flush
    assert len(lines(answers)) == COUNT
    finish(start, answers)
