"""Measure what the Space adds to the model's server behind it.

``python tests/benchmarks/serve.py [--smoke]``, where ``qvq_wrapper[serve]`` is installed. The same
answers are asked of a stand-in for the model's server directly, with ``openai``, and through the
Space. The figures are medians of the rounds, and the ratios are medians of each round's ratio.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import openai

from qvq_wrapper import ask
from qvq_wrapper.serve import running_space

UPSTREAM = Path(__file__).parents[1] / "spaces" / "upstream.py"


def words(count, delay):
    return "script:" + json.dumps([{"repeat": "a word. ", "times": count, "delay": delay}])


@contextmanager
def upstream():
    with subprocess.Popen([sys.executable, UPSTREAM], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


async def directly(client, prompt):
    messages = [{"role": "user", "content": prompt}]
    async with await client.chat.completions.create(
            model="m", messages=messages, max_tokens=8192, stream=True) as stream:
        async for chunk in stream:
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                yield piece


async def through(space, prompt):
    async with ask(prompt, url=space) as stream:
        async for chunk in stream:
            yield chunk


async def first_word(chunks):
    """Read an answer. Return the seconds to its first word, and its length."""
    start, first, length = time.perf_counter(), None, 0
    async for chunk in chunks:
        first = first or time.perf_counter() - start
        length += len(chunk)
    return first, length


async def at_once(ask_one, count, prompt):
    """Return the seconds to the end of all answers, and the median first word."""
    start = time.perf_counter()
    answers = await asyncio.gather(*(first_word(ask_one(prompt)) for _ in range(count)))
    total = time.perf_counter() - start
    assert len({length for _, length in answers}) == 1
    return total, statistics.median(first for first, _ in answers)


async def measure(url, space, options):
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    ways = [lambda prompt: directly(client, prompt), lambda prompt: through(space, prompt)]
    found = {}
    for way in ways:
        await first_word(way(words(1, 0)))  # opens connections
    for _ in range(options.rounds):
        for count, length, delay in ((1, 5, 0.02), (options.count, options.words, 0.1)):
            pair = [await at_once(way, count, words(length, delay)) for way in ways]
            for row, figures in zip(("all done, s", "first word, s"), zip(*pair)):
                found.setdefault(f"{count} at once: {row}", []).append(figures)
    print(f"{'':32}{'directly':>10}{'Space':>10}{'ratio':>8}{'added':>8}")
    for row, pairs in found.items():
        direct, spaced = (statistics.median(values) for values in zip(*pairs))
        ratio = statistics.median(spaced / direct for direct, spaced in pairs)
        added = statistics.median(spaced - direct for direct, spaced in pairs)
        print(f"{row:32}{direct:10.3f}{spaced:10.3f}{ratio:8.2f}{added:8.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="answers at once")
    parser.add_argument("--words", type=int, default=100, help="of an answer, ten a second")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="two small rounds")
    options = parser.parse_args()
    if options.smoke:
        options.count, options.words, options.rounds = 10, 10, 2
    with upstream() as url, running_space(base_url=url, model="m") as space:
        asyncio.run(measure(url, space, options))
