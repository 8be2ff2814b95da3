"""How messages become a prompt and a picture."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from cases import each
from conftest import PNG
from hypothesis import given, settings
from hypothesis.strategies import (
    binary, dictionaries, just, lists, none, one_of, recursive, sampled_from, text,
)
from openai.types.chat import ChatCompletionMessage
from openai.types.responses import ResponseOutputMessage
from PIL import Image
from pydantic import AnyUrl, BaseModel

from qvq_wrapper.errors import MediaError
from qvq_wrapper.question.prompt import prompt_of


def user(content):
    return {"role": "user", "content": content}


def test_prompt():
    for case, (messages, prompt) in each([
        ([user("Hi")], "Hi"),
        ([{"role": "system", "content": "A"}, {"content": "B"}, {"role": "model", "content": "C"}],
         "System: A\nUser: B\nAssistant: C\nAssistant:"),
        ([user("A"), {"role": "assistant", "content": None}], "A"),
        ([user([{"type": "text", "text": "A"}, "B"])], "A\nB"),
    ]):
        with case:
            assert prompt_of(messages) == (prompt, None)


def test_a_message_that_is_only_a_picture_url():
    """Of several pictures, the latest is taken."""
    suffixes = "PNG jpeg jfif gif webp bmp tiff avif heic".split()
    urls = [" http://h/a/b.PNG?size=3#x\n", "http://[::1]:1/a.gif"]
    for case, url in each(urls + [f"https://h/a.{suffix}" for suffix in suffixes]):
        with case:
            for content in (url, [{"type": "text", "text": url}]):
                prompt, picture = prompt_of([user("https://h/0.png"), user("What?"), user(content)])
                assert prompt == "What?" and picture.url == url.strip()
    parts = [{"type": "image_url", "image_url": {"url": f"https://h/{n}.png"}} for n in (1, 2)]
    messages = [user("https://h/0.png"), user([*parts, {"type": "text", "text": "Q"}])]
    assert prompt_of(messages)[1].url == "https://h/2.png"
    for case, words in each([
        "see https://h/image.jpg", "https://h/a.png and more", "https://h/page.html",
        "ftp://h/a.png", "/etc/passwd", "file:///etc/passwd", "data:image/png;base64,AA",
        "https://h/apng",
    ]):
        with case:
            assert prompt_of([user(words)]) == (words, None)
    assert prompt_of([{"role": "assistant", "content": "https://h/a.png"}])[1] is None


BASE64 = base64.b64encode(PNG).decode()
DATA = f"data:image/png;base64,{BASE64}"


@dataclass
class Holder:
    """A part of a message as an object, with any of these attributes."""

    type: str | None = None
    image: object = None
    inline_data: object = None
    data: object = None
    url: object = None
    value: object = None
    text: str | None = None


# Each is a form of a library; the sources stand in question/prompt.py.
FORMS = {
    "OpenAI": {"type": "image_url", "image_url": {"url": DATA, "detail": "high"}},
    "OpenAI's Responses, Mistral": {"type": "input_image", "image_url": DATA},
    "Qwen with a path": {"type": "image", "image": Path("picture.png")},
    "AI SDK": {"type": "image", "image": BASE64},
    "DashScope": {"image": DATA},
    "Transformers": {"type": "image", "url": DATA},
    "LangChain": {"type": "image", "base64": BASE64, "mime_type": "image/png"},
    "LangChain 0, MCP": {"type": "image", "source_type": "base64", "data": BASE64},
    "Anthropic": {"type": "image", "source": {"type": "base64", "data": BASE64}},
    "Anthropic's URL": {"type": "image", "source": {"type": "url", "url": DATA}},
    "Google's REST": {"inlineData": {"mimeType": "image/png", "data": BASE64}},
    "Google": Holder(inline_data=Holder(data=PNG)),
    "Bedrock": {"image": {"format": "png", "source": {"bytes": PNG}}},
    "LlamaIndex": {"block_type": "image", "image": BASE64.encode(), "url": None},
    "datasets": {"type": "image", "image": {"bytes": PNG, "path": "no/such/file.png"}},
    "a file": io.BytesIO(PNG),
    "an object": Holder(type="image", image=Holder(data=BASE64)),
}


def test_the_form_of_a_picture_in_another_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("picture.png").write_bytes(PNG)
    for case, form in each(FORMS):
        with case:
            prompt, picture = prompt_of([user([FORMS[form], {"type": "text", "text": "Q"}])])
            assert prompt == "Q" and picture.read() == PNG
    for images in ([PNG], [BASE64], [Holder(value=PNG)]):  # Ollama
        prompt, picture = prompt_of([{"role": "user", "content": "Q", "images": images}])
        assert prompt == "Q" and picture.read() == PNG
    image, address = Image.linear_gradient("L"), AnyUrl("https://h/no-suffix")
    for content in (image, [Holder(type="image", image=image)], {"image": image}):
        assert prompt_of([user(content)])[1].read()
    assert prompt_of([user([Holder(type="image", url=address)])])[1].url == str(address)


def test_the_form_of_a_text_in_another_library():
    """Thoughts are left out."""
    texts = [
        {"text": "A"}, {"type": "input_text", "text": "B"}, {"type": "output_text", "text": "C"},
        Holder(text="D"), "E"]
    thoughts = [
        {"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "reasoning": "hm"},
        {"text": "hm", "thought": True}]
    assert prompt_of([user([*thoughts, *texts])]) == ("A\nB\nC\nD\nE", None)


class Human(BaseModel):
    """A message as LangChain has it: with a type in place of a role."""

    type: str = "human"
    content: object


def test_messages_that_are_objects_of_another_library():
    output = {"type": "output_text", "text": "B", "annotations": []}
    response = ResponseOutputMessage(
        id="m", role="assistant", status="completed", type="message", content=[output])
    for case, answer in each([
        ChatCompletionMessage(role="assistant", content="B"), response,
        Human(type="ai", content="B"), {"role": "model", "parts": [{"text": "B"}]},
        SimpleNamespace(role="assistant", blocks=[SimpleNamespace(block_type="text", text="B")]),
    ]):
        question = Human(content=["A", {"type": "image", "url": DATA}])
        with case:
            prompt, picture = prompt_of([question, answer])
            assert prompt == "User: A\nAssistant: B\nAssistant:" and picture.read() == PNG


def test_messages_that_cannot_be_used_are_refused():
    for case, (messages, error) in each([
        ("Hi", TypeError), ({"role": "user"}, TypeError), (["Hi"], TypeError),
        ([user(3)], TypeError), ([{"role": 3, "content": "x"}], TypeError), ([], ValueError),
        ([user("")], ValueError),
        ([user([{"type": "audio"}])], ValueError),
        ([user("\ud800")], ValueError),
        ([user([{"type": "image_url", "image_url": {"url": "data:image/png,text"}}])], MediaError),
        ([user([{"type": "text", "text": PNG}])], TypeError),
        ([Holder(text="Hi")], TypeError),
        ([user([{"type": "image", "source": {"type": "file", "file_id": "f"}}])], ValueError),
        ([user([{"inline_data": {"mime_type": "audio/mpeg", "data": b"ID3\4"}}])], MediaError),
        ([user([{"type": "file", "file": {"path": "a.png"}}])], ValueError),
    ]):
        with case, pytest.raises(error):
            prompt_of(messages)


def test_a_text_in_a_message_opens_no_local_file(tmp_path):
    """Only an object can name one: it does not come from JSON."""
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    for place in (str(path), path.as_uri(), "~/x.png"):
        messages = [user([part]) for part in (
            {"type": "image_url", "image_url": {"url": place}}, {"type": "image", "image": place},
            {"type": "image", "path": place}, {"image": {"bytes": None, "path": place}},
            {"type": "image", "source": {"type": "base64", "data": place}})]
        for message in [*messages, user("Q") | {"images": [place]}]:
            with pytest.raises(ValueError, match=r"a local one goes into media, or .*Path\("):
                prompt_of([message])


names = sampled_from(["role", "content", "type", "text", "image_url", "url", "image", "data"])
anything = recursive(
    one_of(
        none(), text(), binary(max_size=9), just(3), sampled_from([
            "user", "text", "image_url", "https://h/a.png", "data:image/png;base64,A", "\ud800"])),
    lambda inner: one_of(lists(inner, max_size=3), dictionaries(names, inner, max_size=3)),
    max_leaves=8)


@given(one_of(anything, lists(dictionaries(names, anything, max_size=3), max_size=4)))
@settings(max_examples=200, deadline=None)
def test_messages_of_any_shape_are_accepted_or_refused(messages):
    try:
        prompt, picture = prompt_of(messages)
    except (TypeError, ValueError):
        return
    prompt.encode()
    assert prompt or picture
