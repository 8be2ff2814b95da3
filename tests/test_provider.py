"""The documented interface, word for word, and the options of a question."""

import inspect
import re
from pathlib import Path

import anyio
import numpy
import pytest
from cases import each
from conftest import PNG, script

from qvq_wrapper import (
    AsyncGeneratorProvider, AsyncResult, Messages, ModelNotSupportedError, ProviderModelMixin,
    Qwen_QVQ_72B, ResponseTimeoutError, ask,
)
from qvq_wrapper.serve import SAMPLE

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


def question(text):
    return [{"role": "user", "content": text}]


def test_attributes():
    assert issubclass(Qwen_QVQ_72B, (AsyncGeneratorProvider, ProviderModelMixin))
    assert Qwen_QVQ_72B.label == "Qwen QVQ-72B"
    assert Qwen_QVQ_72B.url == "https://qwen-qvq-72b-preview.hf.space"
    assert Qwen_QVQ_72B.api_endpoint == "/gradio_api/call/generate"
    assert Qwen_QVQ_72B.working is True
    assert Qwen_QVQ_72B.default_model == Qwen_QVQ_72B.default_vision_model == "qwen-qvq-72b-preview"
    assert Qwen_QVQ_72B.model_aliases == {"qvq-72b": "qwen-qvq-72b-preview"}
    assert Qwen_QVQ_72B.vision_models == ["qvq-72b"]
    assert Qwen_QVQ_72B.models == ["qwen-qvq-72b-preview", "qvq-72b"] == Qwen_QVQ_72B.get_models()
    parameters = inspect.signature(Qwen_QVQ_72B.create_async_generator).parameters
    assert list(parameters) == ["model", "messages", "media", "api_key", "proxy", "kwargs"]
    assert [parameters[name].default for name in ("media", "api_key", "proxy")] == [None] * 3


@pytest.mark.backends("asyncio", "trio")
async def test_documented_example(space, monkeypatch, capsys):
    monkeypatch.setattr(Qwen_QVQ_72B, "url", space.url)
    messages = Messages([{"role": "user", "content": "Hello, how are you?"}])
    async_generator = await Qwen_QVQ_72B.create_async_generator(
        model="qwen-qvq-72b-preview", messages=messages)
    assert isinstance(async_generator, AsyncResult)
    async for chunk in async_generator:
        print(chunk)
    assert "".join(capsys.readouterr().out.splitlines()) == "You asked: Hello, how are you?"


async def test_models(provider):
    for model in ("", None, "qvq-72b", "qwen-qvq-72b-preview", "Qwen/QVQ-72B-Preview", "QVQ-72B"):
        assert Qwen_QVQ_72B.get_model(model) == "qwen-qvq-72b-preview", model
    assert await provider.create_async("QVQ-72B", question("Hi")) == "You asked: Hi"
    with pytest.raises(ModelNotSupportedError, match="gpt-9.*qwen-qvq-72b-preview, qvq-72b"):
        Qwen_QVQ_72B.create_async_generator("gpt-9", question("Hi"))

    class Other(Qwen_QVQ_72B):
        default_model = "mine"
        models = ["mine"]

    with pytest.raises(ModelNotSupportedError, match="QVQ-72B-Preview"):
        Other.get_model("QVQ-72B-Preview")
    Other.models = []
    assert Other.get_model("whatever") == "whatever"


async def test_another_space_and_endpoint(space, provider):
    class Once(Qwen_QVQ_72B):
        url = space.url + "/"
        api_endpoint = "/call/once"

    class Named(Qwen_QVQ_72B):
        url = space.url.replace("http", "HTTP")
        api_name = "/once"

    for case, (asked, given) in each([
        (provider, {"api_name": "once"}), (Once, {}), (Named, {}),
        (Qwen_QVQ_72B, {"url": space.url, "api_name": "/once"}),
    ]):
        with case:
            assert await asked.ask("Hi", **given).read() == "At once: Hi"
            assert await asked.create_async("", question("Hi"), **given) == "At once: Hi"


class More(Qwen_QVQ_72B):
    api_endpoint = "/gradio_api/call/more"


async def test_parameters_of_the_endpoint(space, caplog):
    """Keywords that the endpoint lacks are left out. A parameter has the Space's default."""
    given = {"url": space.url, "parameters": {"temperature": 1.5, "headers": "in a dict"}}
    assert await More.ask("given", **given).read() == "given at 1.5, in a dict"
    assert await More.create_async("", question("given"), **given) == "given at 1.5, in a dict"
    assert await More.create_async("", question("left"), url=space.url) == "left at 0.5, no headers"
    caplog.set_level("DEBUG", "qvq_wrapper")
    answer = await More.create_async(
        "", question("passed"), url=space.url, temperature=1.5, stream=True, top_p=0.3)
    assert answer == "passed at 1.5, no headers"
    messages = [record.message for record in caplog.records]
    assert messages == ["/more has no parameter stream, top_p: left out"]


def test_what_ask_refuses():
    """It says what to write instead."""
    for case, (name, advice) in each({
        "tiemout": "Did you mean timeout= and not tiemout=?", "header": "Did you mean headers=",
        "token": "Write api_key= and not token=", "media": "Write image= and not media=",
        "temperature": "write parameters={'temperature': ...}",
    }.items()):
        with case, pytest.raises(TypeError, match=re.escape(advice)) as caught:
            ask("Hi", **{name: 1})
        assert str(caught.value).startswith("ask(): got an unexpected keyword argument")
    for case, (arguments, message) in each([
        ((), "^ask\\(\\): missing a required argument: 'prompt'"),
        (("Hi", PNG, PNG), "^ask\\(\\): too many positional arguments"),
        (("",), "needs a prompt or a picture"),
        ((b"x", "prompt"), "prompt must be a str, not bytes; the picture comes second"),
        (("Hi", [PNG]), "this list is not one picture; give one, or a tuple"),
        (("\ud800",), "a lone surrogate in prompt"),
        (("Hi", (__file__, Path("b.png"))), "only one picture is taken"),
        (("Hi", ("a.png", __file__)), "only one picture is taken"),
    ]):
        with case, pytest.raises((ValueError, TypeError), match=message):
            ask(*arguments)


def test_an_invalid_option_is_refused_at_the_call():
    for case, options in each([
        {"timeout": -1}, {"timeout": float("nan")}, {"timeout": "1"}, {"timeout": True},
        {"timeout": numpy.array([1, 2])}, {"read_timeout": 0}, {"max_retries": numpy.float64(1)},
        {"max_retries": 1.5}, {"max_retries": -1}, {"max_chars": 0},
        {"on_status": 3}, {"on_status": anyio.sleep},
        {"headers": {"a b": "c"}}, {"headers": {"a": "b\n"}}, {"headers": "x"},
        {"verify": "x"}, {"auth": "user"},
        {"url": 3}, {"url": "http://user:word@host"},
        {"proxy": "host:3128"}, {"proxy": 3}, {"api_key": 3}, {"api_key": "a b"},
        {"api_name": ""}, {"api_name": "/"}, {"api_name": 3},
        {"parameters": 3}, {"parameters": {1: 2}}, {"parameters": {"a": {1}}},
        {"parameters": {"a": float("nan")}},
    ]):
        with case:
            with pytest.raises((ValueError, TypeError), match=next(iter(options))) as caught:
                ask("Hi", **options)
            assert "e+" not in str(caught.value)


async def test_numbers_of_other_kinds(provider):
    for five in (numpy.int64(5), numpy.uint8(5), 5):
        ask("Hi", timeout=five, read_timeout=five, max_retries=five, max_chars=five).cancel()
    for seconds in (numpy.float32(9.5), float("inf"), 1e30, None, 0):
        answer = provider.ask("Hi", timeout=seconds, read_timeout=seconds or None)
        assert await answer.read() == "You asked: Hi"


async def test_a_call_wins_over_the_classs_options(space):
    class Own(Qwen_QVQ_72B):
        url = space.url
        api_key = "hf_own"
        headers = {"X-Mine": "yes"}
        timeout = 0.2

    with pytest.raises(ResponseTimeoutError):
        await Own.ask(script("a", 1)).read()
    prompt = script("a", 0.5, "own")
    assert await Own.ask(prompt, timeout=None, api_key=None).read() == "own"
    headers = space.seen(prompt)["headers"]
    assert headers["authorization"] == "Bearer hf_own" and headers["x-mine"] == "yes"
    given = {"timeout": None, "api_key": "hf_other", "headers": None}
    assert await Own.create_async("", question("other"), **given) == "You asked: other"
    headers = space.seen("other")["headers"]
    assert headers["authorization"] == "Bearer hf_other" and "x-mine" not in headers


async def test_the_prompt_of_ask_is_sent_as_it_is(provider, space):
    """A message with such a text can be a picture. A picture needs no prompt."""
    for prompt in ("https://example.com/image.jpg", " a", "/etc/passwd"):
        assert await provider.ask(prompt).read() == f"You asked: {prompt}"
    assert await provider.ask("", PNG).read() == "You asked: "
    assert space.seen("")["size"] == len(PNG)
    assert await provider.create_async("", [], [PNG]) == "You asked: "


async def test_media(provider, space):
    for case, (media, name) in each([
        ((PNG,), "image.png"), ([(PNG, None)], "image.png"), (((PNG, "x.png"),), "x.png"),
        ([], None), ([(SAMPLE, "no/such/x.png")], "x.png"), ([(SAMPLE, SAMPLE.name)], SAMPLE.name),
    ]):
        with case:
            prompt = f"media {media!r:.40} {name}"
            await provider.create_async("", question(prompt), media)
            assert space.seen(prompt)["image"] == name
    for case, (media, message) in each([
        ("a.png", r"for this str write media=\[picture\]"),
        ([PNG, PNG], r"2 pictures.*\[\(picture, filename\)\]"),
        ([(PNG, "x.png", 3)], "this tuple is not one picture"),
        ([(PNG, 3)], "a str or None as its file name"),
        ([3], "a picture cannot be of type int"),
    ]):
        with case, pytest.raises((ValueError, TypeError), match=message):
            Qwen_QVQ_72B.create_async_generator("", question("Hi"), media)


async def test_the_headers_that_a_space_gets(provider, space):
    await provider.ask("a token", api_key="hf_secret\n", headers={"X-More": "yes"}).read()
    headers = space.seen("a token")["headers"]
    assert headers["authorization"] == headers["x-hf-authorization"] == "Bearer hf_secret"
    assert headers["accept"] == "application/json, text/event-stream"
    assert headers["accept-encoding"] == "identity" and headers["x-more"] == "yes"
    await provider.ask("no token").read()
    assert not {"authorization", "x-hf-authorization"} & space.seen("no token")["headers"].keys()


async def test_progress_and_messages_reach_on_status(provider):
    heard = []
    prompt = script({"progress": 0.25}, 0.2, {"info": "warming up"}, "done")
    await provider.ask(prompt, on_status=heard.append).read()
    assert any(status.progress == 0.25 and status.log == "thinking" for status in heard)
    assert any(status.log == "warming up" for status in heard)
