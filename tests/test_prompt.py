"""How messages become a prompt and a picture."""

import base64

import pytest
from conftest import PNG
from hypothesis import given, settings
from hypothesis.strategies import (
    binary, dictionaries, fixed_dictionaries, just, lists, none, one_of, recursive, sampled_from,
    text,
)

from PIL import Image

from qvq_wrapper.errors import MediaError
from qvq_wrapper.question.prompt import prompt_of


def user(content):
    return {"role": "user", "content": content}


@pytest.mark.parametrize("messages, prompt", [
    ([user("Hi")], "Hi"),
    ([{"role": "system", "content": "Short."}], "Short."),
    ([user("A"), {"role": "assistant", "content": "B"}, user("C")],
     "User: A\nAssistant: B\nUser: C\nAssistant:"),
    ([user("A"), {"role": "assistant", "content": None}, user("C")],
     "User: A\nUser: C\nAssistant:"),
    ([user([{"type": "text", "text": "A"}, "B"])], "A\nB"),
    ([{"content": "no role"}, user("B")], "User: no role\nUser: B\nAssistant:"),
])
def test_prompt(messages, prompt):
    assert prompt_of(messages) == (prompt, None)


@pytest.mark.parametrize("url", [
    "https://example.com/image.jpg", " http://h/a/b.PNG?size=3#x\n", "https://h/a.webp",
    "http://127.0.0.1:1/a.gif",
])
def test_a_message_that_is_only_a_picture_url(url):
    prompt, picture = prompt_of([user("What?"), user(url)])
    assert prompt == "What?" and picture.url == url.strip()


@pytest.mark.parametrize("text", [
    "see https://example.com/image.jpg", "https://example.com/page.html", "ftp://h/a.png",
    "/etc/passwd", "file:///etc/passwd", "picture.png", "data:image/png;base64,AAAA",
    "https://h/a.png and more",
])
def test_other_texts_stay_text(text):
    assert prompt_of([user(text)]) == (text, None)


@pytest.mark.parametrize("content", [
    Image.new("RGB", (1, 1)), [Image.new("RGB", (1, 1))], [{"type": "image", "image": PNG}],
    [{"type": "text", "text": PNG}],
])
def test_a_picture_that_is_no_url_goes_into_media(content):
    with pytest.raises((TypeError, ValueError), match="goes into media"):
        prompt_of([user(content)])


def test_only_the_user_can_send_a_picture_url():
    url = "https://example.com/image.jpg"
    assert prompt_of([{"role": "assistant", "content": url}]) == (url, None)


def test_the_latest_picture_is_used():
    parts = [{"type": "image_url", "image_url": {"url": f"https://h/{n}.png"}} for n in (1, 2)]
    messages = [user("https://h/0.png"), user([*parts, {"type": "text", "text": "Q"}])]
    assert prompt_of(messages)[1].url[-5] == "2"


@pytest.mark.parametrize("messages, error", [
    ("Hi", TypeError),
    (None, TypeError),
    ({"role": "user"}, TypeError),
    (["Hi"], TypeError),
    ([user(3)], TypeError),
    ([{"role": 3, "content": "x"}], TypeError),
    ([], ValueError),
    ([user("")], ValueError),
    ([user([{"type": "audio"}])], ValueError),
    ([user([3])], TypeError),
    ([user("\ud800")], ValueError),
    ([user([{"type": "image_url", "image_url": {"url": "/etc/passwd"}}])], ValueError),
    ([user([{"type": "image_url", "image_url": "file:///etc/passwd"}])], ValueError),
    ([user([{"type": "image_url"}])], ValueError),
    ([user([{"type": "image_url", "image_url": {"url": "data:image/png,text"}}])], MediaError),
])
def test_messages_that_cannot_be_used_are_refused(messages, error):
    with pytest.raises(error):
        prompt_of(messages)


def test_an_image_part_opens_no_local_file(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    for url in (str(path), path.as_uri()):
        with pytest.raises(ValueError, match="a local picture goes into media"):
            prompt_of([user([{"type": "image_url", "image_url": {"url": url}}])])


anything = recursive(
    one_of(
        none(), text(), binary(max_size=9), just(3), just(1.5), just("https://h/a.png"),
        just("\ud800")),
    lambda inner: one_of(
        lists(inner, max_size=3), dictionaries(text(max_size=5), inner, max_size=3)),
    max_leaves=6)
parts = one_of(
    anything,
    fixed_dictionaries({"type": sampled_from(["text", "image_url", "audio"])},
                       optional={"text": anything, "image_url": anything}),
    binary(max_size=60).map(lambda data: {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()}}),
)
message = fixed_dictionaries(
    {}, optional={"role": one_of(sampled_from(["user", "system", "assistant"]), anything),
                  "content": one_of(anything, lists(parts, max_size=3))})


@given(one_of(anything, lists(one_of(message, anything), max_size=4)))
@settings(max_examples=500, deadline=None)
def test_messages_of_any_shape_are_accepted_or_refused(messages):
    try:
        prompt, picture = prompt_of(messages)
    except (TypeError, ValueError):
        return
    prompt.encode()
    assert prompt or picture
