"""Ctrl-C at random moments: nothing is left of the call, here and at the Space."""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from conftest import HERE, call_threads, script, wait_until
from interrupted import Tracer, prompt_of
from test_notebook import Kernel, jupyter  # noqa: F401  # a fixture that every test here uses

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


READ = "await ask({0!r}).read()"
CELLS = [READ, "await show(ask({0!r}))", "for chunk in ask({0!r}): pass",
         "async with ask({0!r}) as stream:\n    async for chunk in stream: pass"]


def test_an_interrupt_in_a_notebook(start_space):
    chance = random.Random("kernel")
    kernel = Kernel()
    with start_space() as space:
        try:
            assert not kernel.run(
                f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
                "from conftest import call_threads, close_idle_sockets_to\n"
                "from qvq_wrapper import Qwen_QVQ_72B, ask\nfrom qvq_wrapper.notebook import show\n"
                f"Qwen_QVQ_72B.url = {space.url!r}").error
            assert not kernel.run(READ.format("warm")).error
            prompts = [script({"kernel": each}, *["a", 0.01, "b", 0.01] * 1500)
                       for each in range(20)]
            for number, prompt in enumerate(prompts):
                cell = kernel.run(
                    "print('begun')\n" + CELLS[number % len(CELLS)].format(prompt),
                    Interrupt(kernel, chance.random() * 0.3))
                assert cell.error and cell.error["ename"] in ("KeyboardInterrupt", "CancelledError")
            end = kernel.run(
                "import time\nfor _ in range(1000):\n"
                f"    left = [*call_threads(), *close_idle_sockets_to({space.port})]\n"
                "    if not left: break\n    time.sleep(0.03)\nprint(left)")
            assert end.printed == "[]\n", end.printed
            assert kernel.run("print(" + READ.format("at the end") + ")").printed == (
                "You asked: at the end\n")
            wait_until(lambda: jobs_ended(space, prompts), 20)
        finally:
            kernel.client.stop_channels()
            kernel.manager.shutdown_kernel(now=True)


class Interrupt:
    """Interrupts a cell once, so many seconds after it has begun."""

    def __init__(self, kernel, seconds):
        self._kernel, self._seconds = kernel, seconds

    def __call__(self, cell):
        if self._kernel and "begun" in cell.printed:
            time.sleep(self._seconds)
            self._kernel.manager.interrupt_kernel()
            self._kernel = None
