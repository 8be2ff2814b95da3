"""The methods that all providers share, and their use by the real g4f."""

import gc
import json
import os
from inspect import Parameter
from types import SimpleNamespace

import anyio
import pytest
from cases import each
from conftest import BOUND, PNG, free_port, script, wait_until
from PIL import Image

import qvq_wrapper
from qvq_wrapper import AsyncGeneratorProvider, ModelNotSupportedError, Qwen_QVQ_72B, ResponseError

SLOW = script(*[step for number in range(200) for step in ("x" * number, 0.05)])
PASSED_ALONG = {
    "timeout": 60, "web_search": False, "response_format": None, "headers": None, "proxy": None,
    "temperature": 1, "stream_timeout": 30, "max_retries": 0, "seed": 42, "tools": None}
"""Options of the kind that g4f hands to every provider."""


@pytest.fixture(scope="session")
def g4f(tmp_path_factory):
    """The names of g4f that the tests use."""
    # g4f reads both at import. It writes a log into the folder.
    os.environ["G4F_CONFIG_DIR"] = str(tmp_path_factory.mktemp("g4f"))
    # With a circuit breaker, a provider that failed in one test would be asked last in the next.
    os.environ["G4F_DISABLE_CIRCUIT_BREAKER"] = "1"
    from g4f.client import AsyncClient, Client
    from g4f.providers import base_provider, retry_provider, types

    return SimpleNamespace(
        Client=Client, AsyncClient=AsyncClient, RetryProvider=retry_provider.RetryProvider,
        BaseProvider=types.BaseProvider,
        AsyncGeneratorProvider=base_provider.AsyncGeneratorProvider)


@pytest.fixture(params=["alone", "RetryProvider"])
def given_provider(request, g4f, provider):
    """What g4f gets as provider: ours, or a list of an unreachable one and ours."""

    class Unreachable(Qwen_QVQ_72B):
        url = f"http://127.0.0.1:{free_port()}"

    if request.param == "alone":
        return provider
    return g4f.RetryProvider([Unreachable, provider], shuffle=False)


def joined(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_attributes_and_methods(provider):
    assert provider.get_dict() == {"name": "Local", "url": provider.url, "label": "Qwen QVQ-72B"}
    assert list(provider.get_parameters()) == ["model", "messages", "media", "api_key", "proxy"]
    assert all(isinstance(parameter, Parameter) for parameter in provider.get_parameters().values())
    assert json.loads(json.dumps(provider.get_parameters(as_json=True)))["media"] is None
    assert provider.params == provider.get_params()
    assert provider.params.startswith("Local supports: (model")
    with pytest.raises(TypeError):
        AsyncGeneratorProvider()

    class Child(provider):
        parent = "Local"

    assert Child.get_parent() == "Local" and Child.get_dict()["name"] == "Child"


def test_every_public_name_of_a_g4f_provider_exists(g4f):
    """Only names that g4f's own server uses may be missing."""
    of_its_server = {
        "default_reasoning_effort", "get_health", "get_quota", "health_url", "probe_health",
        "quota_lock", "quota_url"}
    declared = {name for name in dir(g4f.AsyncGeneratorProvider) if not name.startswith("_")}
    missing = (declared | set(g4f.BaseProvider.__annotations__)) - set(dir(Qwen_QVQ_72B))
    assert missing <= of_its_server


def test_client(g4f, given_provider, space):
    """Ending an answer early cancels the job."""
    client = g4f.Client(provider=given_provider, api_key="hf_secret")
    for case, stream in each([False, True]):
        with case:
            prompt = f"sync {type(given_provider).__name__} {stream}"
            answer = client.chat.completions.create(
                prompt, "qvq-72b", stream=stream, image=PNG, image_name="x.png", **PASSED_ALONG)
            text = joined(answer) if stream else answer.choices[0].message.content
            assert text == f"You asked: {prompt}"
            seen = space.seen(prompt)
            assert (seen["image"], seen["size"]) == ("x.png", len(PNG))
            assert seen["headers"]["authorization"] == "Bearer hf_secret"
    seen = len(space.log("left", prompt=SLOW))
    answer = client.chat.completions.create(SLOW, stream=True, max_retries=0)
    next(chunk for chunk in answer if chunk.choices[0].delta.content)
    answer.close()
    # g4f keeps the first provider's exception, whose traceback refers to our stream, until the
    # garbage collector runs.
    gc.collect()
    wait_until(lambda: len(space.log("left", prompt=SLOW)) > seen)
    assert not space.log("finished", prompt=SLOW)


@pytest.mark.backends("asyncio")  # g4f does not run on trio
@pytest.mark.anyio
async def test_async_client(g4f, given_provider, space):
    """Leaving it early cancels the job."""
    create = g4f.AsyncClient(provider=given_provider).chat.completions.create
    prompt = f"async {type(given_provider).__name__}"
    answer = await create(prompt, media=[(PNG, "x.png")], **PASSED_ALONG)
    assert answer.choices[0].message.content == f"You asked: {prompt}"
    assert space.seen(prompt)["image"] == "x.png"
    seen, answer = len(space.log("left", prompt=SLOW)), create(SLOW, stream=True, max_retries=0)
    async for chunk in answer:
        if chunk.choices[0].delta.content:
            break
    await answer.aclose()
    with anyio.fail_after(BOUND):
        while len(space.log("left", prompt=SLOW)) == seen:
            gc.collect()  # as below
            await anyio.sleep(0.05)
    assert not space.log("finished", prompt=SLOW)


def test_pictures(g4f, provider, space, tmp_path, picture_url):
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    client = g4f.Client(provider=provider)
    for case, (name, form) in each([
        ("x.png", {"image": path}), ("x.png", {"media": [(path, "x.png")]}),
        ("x.png", {"images": [path]}), ("image.png", {"image": Image.open(path)}),
        ("image.png", {"image": picture_url}),
    ]):
        with case:
            prompt = f"{form!r:.30}"
            client.chat.completions.create(prompt, **form)
            assert space.seen(prompt)["image"] == name and space.seen(prompt)["size"] > 0


def test_models(g4f, provider):
    models = g4f.Client(provider=provider).models
    assert models.get_all() == provider.models and models.get_vision() == provider.vision_models
    assert models.get_image() == models.get_video() == []


def test_a_failed_answer_raises_our_error_and_lowers_live(g4f, provider):
    client = g4f.Client(provider=provider)
    with pytest.raises(ResponseError, match="too dark"):
        client.chat.completions.create(script({"raise": "too dark"}))
    assert (provider.live, Qwen_QVQ_72B.live) == (-1, 0)
    with pytest.raises(ModelNotSupportedError, match="qvq-72b"):
        client.chat.completions.create("Hi", "gpt-4o")
    client.chat.completions.create("Hi")
    assert provider.live == -1


def test_another_provider_takes_over(g4f, provider, space):
    """g4f asks the next provider if the first lacks the model, and has a token for each by name."""

    class Other(provider):
        default_model = "other"
        models = ["other"]

    retry = g4f.RetryProvider([provider, Other], shuffle=False)
    client = g4f.Client(provider=retry, api_key={"Local": "hf_local", "Other": "hf_other"})
    answer = client.chat.completions.create("taken over", "other")
    assert (answer.provider, answer.model) == ("Other", "other")
    assert answer.choices[0].message.content == "You asked: taken over"
    assert space.seen("taken over")["headers"]["authorization"] == "Bearer hf_other"


@pytest.mark.test_all  # typed_use imports matplotlib
def test_typed_use_has_every_public_name():
    import typed_use

    assert set(qvq_wrapper.__all__) <= set(vars(typed_use))
