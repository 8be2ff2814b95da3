"""Spaces of every shape: what an endpoint takes, what it gives, and which endpoint is asked."""

import base64
import json
import re

import gradio_client
import httpx
import pytest
from conftest import BOUND, PNG, failure
from hostile import RIGHT
from PIL import Image

from qvq_wrapper import Qwen_QVQ_72B, SpaceUnavailableError
from qvq_wrapper.bridge.outputs import TextFinder

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]
PICTURE_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.fixture(scope="module")
def shapes(shapes_space):
    """The Space with endpoints of every shape, and what it says of itself."""
    space = shapes_space
    space.require_gradio(6)
    space.config = httpx.get(f"{space.url}/config", timeout=BOUND).json()
    prefix = space.config.get("api_prefix") or ""
    space.info = httpx.get(f"{space.url}{prefix}/info?serialize=False", timeout=BOUND).json()
    return space


def ask(space, api_name=None, text="what?", picture=True, **options):
    """Return the stream of a question, with or without the test's picture."""
    if api_name:
        options["api_name"] = api_name
    content = [{"type": "text", "text": text}]
    if picture:
        content.append({"type": "image_url", "image_url": {"url": PICTURE_URI}})
    messages = [{"role": "user", "content": content}]
    return Qwen_QVQ_72B.create_async_generator("", messages, url=space.url, **options)


async def refusal(space, *arguments, **options):
    """Ask, which has to be refused before anything is sent. Return the message."""
    stages = []
    stream = ask(
        space, *arguments, on_status=lambda status: stages.append(status.stage), **options)
    error = await failure(stream)
    assert isinstance(error, SpaceUnavailableError)
    assert set(stages) == {"connecting", "failed"}
    return error.message


# What endpoints take

TAKEN = {
    "plain": "what? 256",
    "prompt_first": "what? 256",
    "more": "what? 256 state 0.5",
    "choice": "a what? 256",
    "hidden": "hid what? 256",
    "key": "no key what? 256",
    "code": "what? 256",
    "file": "what? 256",
    "files": "what? 256",
    "upload": "what? 256",
    "uploads": "what? 256",
    "gallery": "what? 256",
    "imageeditor": "what? 256 256 no picture",
    "message": "what? 256",
    "message_more": "what? 256 7",
    "system_message": "be brief what? 256",
    "chat": "what? 256",
    "chat_inputs": "be brief 1 what? 256",
}
"""What each endpoint says that it saw of a prompt and a picture of 256 pixels."""


async def test_picture_and_prompt_reach_the_app(shapes):
    for name, seen in TAKEN.items():
        assert await ask(shapes, name).read() == seen, name
    assert await ask(shapes, "image_alone", text="").read() == "256"


async def test_a_prompt_alone_or_a_picture_alone_reaches_the_app(shapes):
    for name in ("plain", "file", "files", "gallery", "imageeditor", "message"):
        expected = TAKEN[name].replace("256", "no picture")
        assert await ask(shapes, name, picture=False).read() == expected, name
    for name in ("plain", "file", "message"):
        assert await ask(shapes, name, text="").read() == TAKEN[name].removeprefix("what? ")
    assert await ask(shapes, "prompt_alone", picture=False).read() == "what?"
    assert await ask(shapes, "history", picture=False).read() == "anything"


REFUSED = {
    "image_alone": "no place for the prompt. It takes: picture (image).",
    "prompt_alone": "no place for the picture. It takes: prompt (textbox).",
    "two_images_and_text": "also needs second; give them in parameters={...}.",
    "two_texts": "also needs prompt; give them in parameters={...}.",
    "slider": "no place for the picture. It takes: param_0 (slider), param_1 (number).",
    "history": "no place for the picture. It takes: param_0 (chatbot), param_1 (textbox).",
    "audio": "no place for the picture. It takes: param_0 (audio), param_1 (textbox).",
    "json": "no place for the picture",
}


async def test_what_has_no_place_is_refused(shapes):
    for name, reason in REFUSED.items():
        message = await refusal(shapes, name)
        assert message.startswith(f"The Space's /{name} ") and reason in message
    message = await refusal(shapes, "more", parameters={"temprature": 1})
    assert "/more has no parameter temprature. It takes: picture (image), prompt" in message


NAMED = [
    ("system", {"first": "be kind"}, "be kind what? 256"),
    ("two_texts", {"first": "be kind"}, "be kind what? 256"),
    ("key", {"first": "a key"}, "a key what? 256"),
    ("choice", {"first": "b"}, "b what? 256"),
    ("message_more", {"number": 8}, "what? 256 8"),
    ("more", {"temperature": 1.5}, "what? 256 state 1.5"),
    ("chat_inputs", {"system": "be kind"}, "be kind 1 what? 256"),
    ("image_alone", {"picture": None}, "refused"),
    ("message", {"message": {"text": "given", "files": []}}, "refused"),
    ("plain", {"prompt": "given"}, "refused"),
]


async def test_a_named_parameter_keeps_its_value(shapes):
    for name, given, expected in NAMED:
        if expected == "refused":
            assert "has no place for the" in await refusal(shapes, name, parameters=given)
        else:
            assert await ask(shapes, name, parameters=given).read() == expected
            assert await ask(shapes, name, **given).read() == expected


async def test_a_file_of_the_caller_is_sent_with_the_picture(shapes, tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (5, 5)).save(path)
    parameters = {"first": gradio_client.handle_file(path)}
    stream = ask(shapes, "two_images_and_text", parameters=parameters)
    assert await stream.read() == "what? 5 256"


# What endpoints give

STREAMED = [
    "to_textbox", "to_html", "updates", "then_skip", "second", "emptied_box", "messages",
    "chat_words"]


async def test_words_are_streamed(shapes, tmp_path):
    for name in STREAMED:
        last_step = tmp_path / f"last step of {name}"  # the app waits for this file
        async with ask(shapes, name, str(last_step)) as stream:
            chunks = [await anext(stream)]
            while stream.text != "one two":
                chunks.append(await anext(stream))
            last_step.touch()
            chunks += [chunk async for chunk in stream]
            assert "".join(chunks) == stream.text == "one two three", name


GIVEN = {
    "last": "text",
    "by_value": "the second",
    "messages_picture": "the text",
    "only_thought": "hm",
    "chat_message": "what? 256",
    "chat_text": "what? 256",
    "chat_list": "the last",
}


async def test_the_text_is_found(shapes):
    for name, text in GIVEN.items():
        assert await ask(shapes, name).read() == text, name


async def test_an_endpoint_without_text_is_refused(shapes):
    for kind in ("number", "image", "json", "state", "nothing"):
        said = f"The Space's /to_{kind} gives no text, but: {kind.replace('state', 'nothing')}."
        assert await refusal(shapes, f"to_{kind}") == said


async def test_an_answer_that_turns_out_to_be_no_text(shapes):
    texts = {"then_nothing": "one two three", "nothing": "", "only_skip": "", "unanswered": ""}
    for name in texts:
        error = await failure(ask(shapes, name))
        assert re.fullmatch("The Space's output is no text but .*[.]", error.message)
        assert error.text == texts[name]


ODD = [
    None, 3, [], {}, [[]], [None], [3], [[None, None]], [["a", 3]], {"__type__": "update"},
    {"__type__": "update", "value": None}, {"__type__": "update", "value": {"__type__": "update"}},
    {"content": 3}, {"content": [3, None, {}]}, [{"role": "user", "content": "a"}],
    [{"role": [], "content": {"path": "a"}, "metadata": 3}], [ValueError("a")]]


def test_a_reader_takes_anything():
    pairs = [["before", "the answer before"], ["what?", "one"]]  # of gradio 5
    assert TextFinder([0]).find(pairs) == "one"
    assert TextFinder([0]).find([*pairs, ["what?", None]]) is None
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert TextFinder([0]).find([{"role": "assistant", "content": parts}]) == "one\ntwo"
    for value in ODD:
        for outputs in (value, (value, 3), ()):
            for final in (True, False):
                assert TextFinder([0]).find(outputs, final=final) is None, value


# Which endpoint is asked


def offer(hostile, shapes, names):
    """Have a Space say that it has only these endpoints."""
    hostile.config = shapes.config | {"dependencies": [
        each for each in shapes.config["dependencies"] if each["api_name"] in names]}
    hostile.info = shapes.info | {"named_endpoints": {
        name: each for name, each in shapes.info["named_endpoints"].items() if name[1:] in names}}


FOUND = [
    (["plain"], True, "plain"),
    (["plain"], False, "plain"),
    (["message", "to_number", "image_alone", "prompt_alone", "load"], True, "message"),
    (["describe", "describe_1"], True, "describe"),  # a button and a box for one function
    (["prompt_alone", "slider", "audio"], False, "prompt_alone"),
]
NOT_FOUND = [
    (["plain", "updates", "slider"], {}, "no endpoint /generate. .*api_name .*: /plain, /updates."),
    (["plain", "slider"], {"api_name": "/x"}, "no endpoint /x. .*api_name .*: /plain."),
    (["slider", "to_number"], {}, "no endpoint /generate, .*It has: /slider, /to_number."),
    ([], {}, "no endpoint with a name"),
]


async def test_the_one_endpoint_that_fits_is_found(hostile, shapes):
    for number, (names, picture, expected) in enumerate(FOUND):
        offer(hostile, shapes, names)
        stream = ask(hostile, picture=picture, headers={"x-case": str(number)})
        assert await stream.read() == RIGHT
        [question] = [json.loads(body) for (_, path), body in zip(hostile.requests, hostile.bodies)
                      if path.endswith("/queue/join")][number:]
        functions = {each["id"]: each["api_name"] for each in shapes.config["dependencies"]}
        assert functions[question["fn_index"]] == expected


async def test_no_endpoint_is_guessed(hostile, shapes):
    for number, (names, options, expected) in enumerate(NOT_FOUND):
        offer(hostile, shapes, names)
        options = options | {"headers": {"x-case": str(number)}}
        assert re.search(expected, await refusal(hostile, **options))


async def test_generate_is_asked_where_there_is_one(space):
    assert await ask(space, picture=False).read() == "You asked: what?"
