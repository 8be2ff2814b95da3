"""Ctrl-C at random moments: nothing is left of the call, here and at the Space."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from conftest import HERE, call_threads, wait_until
from interrupted import Tracer, prompt_of

from qvq_wrapper import ask

pytestmark = pytest.mark.chaos
ROUNDS = 40
BOUND = 60


def jobs_ended(space, prompts):
    """Return whether no job of these prompts has logged a step for a second."""
    before = len([each for each in space.log("step") if each["prompt"] in prompts])
    time.sleep(1)
    return before == len([each for each in space.log("step") if each["prompt"] in prompts])


@pytest.mark.parametrize("kind", ["asyncio", "trio", "sync"])
def test_ctrl_c_in_a_process(start_space, tmp_path, kind):
    """Half of the interrupts come at a random time, and half before a random line of ours."""
    folder = tmp_path / "child"
    folder.mkdir()
    with start_space() as space:
        result = subprocess.run(
            [sys.executable, HERE / "interrupted.py", kind, space.url, "seed", str(ROUNDS)],
            env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, text=True, timeout=900)
        assert result.returncode == 0, result.stderr[-3000:]
        found = json.loads(result.stdout)
        assert found["wrong"] == [] and found["threads"] == []
        # Python loses the KeyboardInterrupt that it raises in a destructor. Such a call just ends.
        assert set(found["outcomes"]) <= {"interrupted", "ended"}
        assert found["outcomes"]["interrupted"] > ROUNDS * 3 // 4
        assert not any(folder.iterdir())
        asked = [each["prompt"] for each in space.log("asked")]
        assert len(asked) == len(set(asked)) > ROUNDS // 4
        wait_until(lambda: jobs_ended(space, set(found["prompts"])), 20)  # a long answer takes 30 s


def close_early(chunks, tracer):
    """Close an iterator in mid-answer, with Ctrl-C on the way."""
    next(chunks)
    try:
        tracer.start()
        chunks.close()
    finally:
        tracer.stop()


def test_ctrl_c_before_each_line_that_closes_an_answer(space):
    def prompt(name):
        return prompt_of(f"{name} {time.time_ns()}", 600)

    seen = Tracer()
    close_early(ask(prompt("all"), url=space.url).iterate(), seen)
    assert len(seen.seen) > 10
    for line in sorted(seen.seen):
        asked = prompt(line)
        with suppress(KeyboardInterrupt):
            close_early(ask(asked, url=space.url).iterate(), Tracer(line))
        wait_until(lambda: not call_threads(), BOUND)
        assert not space.log("finished", prompt=asked), line
