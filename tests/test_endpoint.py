"""Spaces of every shape: what an endpoint takes, what it gives, and which endpoint is asked."""

import gradio_client
import pytest
from conftest import PNG, failure

from qvq_wrapper import Qwen_QVQ_72B, SpaceUnavailableError

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def shapes(start_space):
    """A Space with endpoints of every shape (see spaces/shapes.py)."""
    with start_space("--shapes") as space:
        yield space


def question(space, api_name=None, prompt="what?", image=PNG, **options):
    """Return the stream of a question, with a picture unless ``image`` is None."""
    if api_name:
        options["api_name"] = api_name
    messages = [{"role": "user", "content": prompt}]
    media = None if image is None else [image]
    return Qwen_QVQ_72B.create_async_generator("", messages, media, url=space.url, **options)


async def refusal(space, *arguments, **options):
    """Ask, which has to be refused before anything is sent. Return the message."""
    stages = []
    stream = question(
        space, *arguments, on_status=lambda status: stages.append(status.stage), **options)
    error = await failure(stream)
    assert isinstance(error, SpaceUnavailableError)
    assert set(stages) == {"connecting", "failed"}
    return error.message


def require(space, name):
    """Skip what the Space's gradio does not have."""
    api = gradio_client.Client(space.url, verbose=False).view_api(return_format="dict")
    if f"/{name}" not in api["named_endpoints"]:
        pytest.skip(f"this gradio has no /{name}")


# What endpoints take

PICTURE_AND_PROMPT = {
    "plain": "what? 256",
    "prompt_first": "what? 256",
    "more": "what? 256 state 0.5",
    "choice": "a what? 256",
    "hidden": "hid what? 256",
    "key": "no key what? 256",
    "code": "what? 256",
    "file": "what? 256",
    "files": "what? 256",
    "folder": "what? 256",
    "upload": "what? 256",
    "uploads": "what? 256",
    "gallery": "what? 256",
    "imageeditor": "what? 256 256 no picture",
    "imagemask": "what? 256 256 no picture",
    "sketchpad": "what? 256 256 no picture",
    "paint": "what? 256 256 no picture",
    "message": "what? 256",
    "message_more": "what? 256 7",
    "system_message": "be brief what? 256",
    "chat": "what? 256",
    "chat_inputs": "be brief 1 what? 256",
}


@pytest.mark.parametrize("name", PICTURE_AND_PROMPT)
async def test_picture_and_prompt_reach_the_app(shapes, name):
    require(shapes, name)
    assert await question(shapes, name).read() == PICTURE_AND_PROMPT[name]


@pytest.mark.parametrize("name", PICTURE_AND_PROMPT)
async def test_a_prompt_without_a_picture_reaches_the_app(shapes, name):
    require(shapes, name)
    expected = PICTURE_AND_PROMPT[name].replace("256", "no picture")
    assert await question(shapes, name, image=None).read() == expected
