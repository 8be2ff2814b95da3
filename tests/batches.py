"""What the tests of many questions have in common."""

import json
import os
import subprocess
import sys

import anyio

COMMAND = [sys.executable, "-m", "qvq_wrapper.batch"]
EACH = """
import json, sys
from contextlib import redirect_stdout
from qvq_wrapper.batch.__main__ import main

for arguments in json.load(sys.stdin):
    try:
        with redirect_stdout(sys.stderr):
            status = main(arguments)
    except SystemExit as error:
        status = error.code
    print(json.dumps(status), flush=True)
    print(chr(0), file=sys.stderr, flush=True)
"""


class Asker:
    """An ``ask`` that carries out outcomes in turn, then answers. It counts the questions.

    For the prompts in ``failing``, it raises ``error``.
    """

    def __init__(self, *outcomes, seconds=0.0, failing=(), error=RuntimeError("too dark")):
        self.outcomes, self.seconds, self.failing = list(outcomes), seconds, dict.fromkeys(
            failing, error)
        self.asked, self.at_once, self.most_at_once = [], 0, 0

    async def __call__(self, row):
        prompt = row["prompt"]
        self.asked.append(prompt)
        outcome = self.outcomes.pop(0) if self.outcomes else self.failing.get(prompt)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await anyio.sleep(self.seconds)
            if isinstance(outcome, Exception):
                raise outcome
            return prompt.upper() if outcome is None else outcome
        finally:
            self.at_once -= 1


async def echo(row):
    return row["prompt"].upper()


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def answered(path):
    """Return the answers by prompt. Fail if a key is there twice."""
    found = lines(path)
    assert len({line["key"] for line in found}) == len(found)
    return {line["prompt"]: line.get("answer") for line in found}


def run_each(commands, folder):
    """Return exit status and output of each of these commands, which one process carries out."""
    result = subprocess.run(
        [sys.executable, "-c", EACH], input=json.dumps(commands), cwd=folder, text=True,
        capture_output=True, timeout=120, env=os.environ | {"COLUMNS": "80"})
    statuses, shown = map(json.loads, result.stdout.split()), result.stderr.split("\0\n")
    return list(zip(statuses, shown[:-1], strict=True))
