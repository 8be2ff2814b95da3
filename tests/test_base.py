"""What providers share: the further forms of an answer, and their use inside g4f, the real one."""

import base64
import gc
import json
import os
from inspect import Parameter
from types import SimpleNamespace

import anyio
import pytest
from conftest import BOUND, PNG, free_port, script, wait_until
from PIL import Image

import qvq_wrapper
from qvq_wrapper import AsyncGeneratorProvider, ModelNotSupportedError, Qwen_QVQ_72B, ResponseError

MESSAGES = [{"role": "user", "content": "Hi"}]
SLOW = script(*[step for number in range(200) for step in ("x" * number, 0.05)])
PASSED_ALONG = {"timeout": 60, "web_search": False, "response_format": None, "prompt": "not this", "headers": None,
                "proxy": None, "temperature": 1, "stream_timeout": 30, "max_retries": 0, "seed": 42, "tools": None}


@pytest.fixture(scope="session")
def g4f(tmp_path_factory):
    """g4f's names that the tests use. It keeps a log of its use in a folder, which it chooses at import."""
    os.environ["G4F_CONFIG_DIR"] = str(tmp_path_factory.mktemp("g4f"))
    os.environ["G4F_DISABLE_CIRCUIT_BREAKER"] = "1"  # or what failed in one test is asked last in the next
    client = pytest.importorskip("g4f.client")
    from g4f.providers import base_provider, retry_provider, types

    return SimpleNamespace(
        Client=client.Client, AsyncClient=client.AsyncClient, RetryProvider=retry_provider.RetryProvider,
        IterListProvider=retry_provider.IterListProvider, BaseProvider=types.BaseProvider,
        AsyncGeneratorProvider=base_provider.AsyncGeneratorProvider)


@pytest.fixture(params=["alone", "RetryProvider", "IterListProvider"])
def handed_in(request, g4f, provider):
    """The provider as g4f gets it: alone, or in a list behind one that cannot be reached."""

    class Unreachable(Qwen_QVQ_72B):
        url = f"http://127.0.0.1:{free_port()}"

    if request.param == "alone":
        return provider
    return getattr(g4f, request.param)([Unreachable, provider], shuffle=False)


def joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_attributes_and_methods(provider):
    assert provider.get_dict() == {"name": "Local", "url": provider.url, "label": "Qwen QVQ-72B"}
    assert provider.get_parent() == "Local"
    assert list(provider.get_parameters()) == ["model", "messages", "media", "api_key", "proxy"]
    assert all(isinstance(parameter, Parameter) for parameter in provider.get_parameters().values())
    assert json.loads(json.dumps(provider.get_parameters(as_json=True)))["media"] is None
    assert provider.params == provider.get_params() and provider.params.startswith("Local supports: (model")
    with pytest.raises(TypeError):
        AsyncGeneratorProvider()


def test_parent(provider):
    class Child(provider):
        parent = "Local"

    assert Child.get_parent() == "Local" and Child.get_dict()["name"] == "Child"


def test_all_that_g4f_declares_is_there(g4f):
    """A provider of g4f's has no public name that ours lacks, but for what only its own server asks for."""
    of_its_server = {"default_reasoning_effort", "get_health", "get_quota", "health_url", "probe_health",
                     "quota_lock", "quota_url"}
    declared = {name for name in dir(g4f.AsyncGeneratorProvider) if not name.startswith("_")}
    missing = (declared | set(g4f.BaseProvider.__annotations__)) - set(dir(Qwen_QVQ_72B))
    assert missing <= of_its_server


@pytest.mark.parametrize("stream", [False, True])
def test_client(g4f, handed_in, space, stream):
    prompt = f"sync {type(handed_in).__name__} {stream}"
    answer = g4f.Client(provider=handed_in, api_key="hf_secret").chat.completions.create(
        prompt, "qvq-72b", stream=stream, image=PNG, image_name="x.png", **PASSED_ALONG)
    text = joined(answer) if stream else answer.choices[0].message.content
    assert text == f"You asked: {prompt}"
    seen = space.seen(prompt)
    assert (seen["image"], seen["size"]) == ("x.png", len(PNG))
    assert seen["headers"]["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # all that g4f knows
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.anyio
async def test_async_client(g4f, handed_in, space, stream):
    prompt = f"async {type(handed_in).__name__} {stream}"
    answer = g4f.AsyncClient(provider=handed_in).chat.completions.create(
        [{"role": "user", "content": prompt}], stream=stream, media=[(PNG, "x.png")], **PASSED_ALONG)
    if stream:
        text = joined([chunk async for chunk in answer])
    else:
        text = (await answer).choices[0].message.content
    assert text == f"You asked: {prompt}"
    assert space.seen(prompt)["image"] == "x.png"


FORMS = ["bytes", "path", "path as text", "file", "PIL", "data", "URL"]
KEYWORDS = ["image", "media", "list", "pairs", "lists", "images"]


@pytest.mark.parametrize(
    ("form", "keyword"), [*((form, "image") for form in FORMS), *(("path", keyword) for keyword in KEYWORDS[1:])])
def test_pictures(g4f, provider, space, tmp_path, picture_url, form, keyword):
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    picture = {
        "bytes": PNG, "path": path, "path as text": str(path), "file": path.open("rb"), "PIL": Image.open(path),
        "data": "data:image/png;base64," + base64.b64encode(PNG).decode(), "URL": picture_url,
    }[form]
    given = {
        "image": {"image": picture}, "media": {"media": picture}, "list": {"media": [picture]},
        "pairs": {"media": [(picture, "x.png")]}, "lists": {"media": [[picture, "x.png"]]},
        "images": {"images": [picture]},
    }[keyword]
    prompt = f"{form} as {keyword}"
    g4f.Client(provider=provider).chat.completions.create(prompt, **given)
    seen = space.seen(prompt)
    assert seen["size"] == len(PNG) or form == "PIL" and seen["size"] > 0  # PIL writes it anew
    assert seen["image"] == "x.png" or keyword != "lists" and form not in ("path", "file")


def test_models(g4f, provider):
    client = g4f.Client(provider=provider, api_key="hf_secret")
    assert client.models.get_all() == provider.models
    assert client.models.get_vision() == provider.vision_models
    assert client.models.get_image() == client.models.get_video() == []


def test_an_error_is_ours_and_counts(g4f, provider):
    client = g4f.Client(provider=provider)
    with pytest.raises(ResponseError, match="too dark"):
        client.chat.completions.create(script({"raise": "too dark"}))
    assert (provider.live, Qwen_QVQ_72B.live) == (-1, 0)
    with pytest.raises(ModelNotSupportedError, match="qvq-72b"):
        client.chat.completions.create("Hi", "gpt-4o")
    client.chat.completions.create("Hi")
    assert provider.live == -1


def test_another_provider_takes_over(g4f, provider):
    """The model that one provider does not have is asked of the next."""

    class Other(provider):
        default_model = "other"
        models = ["other"]

    retry = g4f.RetryProvider([provider, Other], shuffle=False)
    answer = g4f.Client(provider=retry).chat.completions.create("Hi", "other")
    assert (answer.provider, answer.model, answer.choices[0].message.content) == ("Other", "other", "You asked: Hi")


def test_a_dict_of_tokens(g4f, provider, space):
    retry = g4f.RetryProvider([provider], shuffle=False)
    g4f.Client(provider=retry, api_key={"Local": "hf_secret"}).chat.completions.create("dict of tokens")
    assert space.seen("dict of tokens")["headers"]["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("end", ["max_tokens", "break"])
def test_ending_early_cancels_the_job(g4f, handed_in, space, end):
    seen = len(space.log("left", prompt=SLOW))
    answer = g4f.Client(provider=handed_in).chat.completions.create(
        SLOW, stream=True, max_retries=0, max_tokens=2 if end == "max_tokens" else None)
    next(chunk for chunk in answer if chunk.choices[0].delta.content)
    if end == "break":
        answer.close()
    else:
        list(answer)
    wait_until(lambda: len(space.log("left", prompt=SLOW)) > seen)
    assert not space.log("finished", prompt=SLOW)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_ending_early_cancels_the_job_async(g4f, handed_in, space):
    seen = len(space.log("left", prompt=SLOW))
    answer = g4f.AsyncClient(provider=handed_in).chat.completions.create(SLOW, stream=True, max_retries=0)
    async for chunk in answer:
        if chunk.choices[0].delta.content:
            break
    await answer.aclose()
    with anyio.fail_after(BOUND):
        while len(space.log("left", prompt=SLOW)) == seen:
            # g4f closes no provider in a list, and keeps the first one's exception with the frame that holds ours.
            gc.collect()
            await anyio.sleep(0.05)
    assert not space.log("finished", prompt=SLOW)


def test_the_typed_use_is_of_every_public_name():
    import typed_use

    assert set(qvq_wrapper.__all__) <= set(vars(typed_use))
