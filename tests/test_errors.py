"""Whatever goes wrong at the Space or on the way raises one clear error within seconds."""

import json
import math
import re
import signal
import ssl
import warnings

import anyio
import httpx
import pytest
from conftest import PNG, calls_ended, failure, script, wait_until_async
from inside import forget_info, set_bounds
from network import HttpProxy, Relay, web_server

from qvq_wrapper import (
    AuthenticationError, RateLimitError, ResponseError, ResponseTimeoutError,
    SpaceConnectionError, SpaceUnavailableError, ask,
)
from qvq_wrapper.bridge.failures import from_response

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


async def test_a_full_queue(narrow_space):
    options, heard = {"url": narrow_space.url, "max_retries": 9}, []
    async with ask(script("a", *["b", 0.1] * 50), **options) as first:
        await anext(first)
        async with anyio.create_task_group() as group:
            second = ask("second", on_status=heard.append, **options)
            group.start_soon(second.read)
            await wait_until_async(lambda: second.status.position)
            error = await failure(ask("third", url=narrow_space.url, max_retries=0))
            await first.aclose()
    assert type(error) is RateLimitError and error.status_code == 503 and error.retryable
    assert "is full" in str(error)
    assert [status.stage for status in heard][:2] == ["connecting", "queued"]
    assert any(status.position == 1 and status.queue_size == 1 for status in heard)
    assert heard[-1].stage == "finished" and second.text == "You asked: second"


async def test_a_server_that_falls_silent_and_is_then_killed(start_space):
    """What had arrived is not lost. The next question finds nobody."""
    with start_space() as space:
        assert await ask("warm", url=space.url).read()
        for number, kind, words in [
                (signal.SIGSTOP, ResponseTimeoutError, "read_timeout"),
                (signal.SIGKILL, SpaceConnectionError, "broke off")]:
            space.signal(signal.SIGCONT)
            stream = ask(script("some words", 9), url=space.url, read_timeout=2, max_retries=0)
            await anext(stream)
            space.signal(number)
            error = await failure(stream)
            assert type(error) is kind and error.text == "some words" and words in str(error)
        space.stop()
        error = await failure(ask("second", url=space.url, max_retries=0))
    assert type(error) is SpaceConnectionError and error.retryable
    assert "Connection refused" in str(error)


async def test_the_app_raises(provider):
    for step, message in [
        ({"raise": "The <b>picture</b> is too dark.<br>Try &amp; retry"},
         "The picture is too dark. Try & retry"),
        ({"hidden": "inner reason"}, "inner reason"),
        ({"raise": r"'no \x literal'"}, r"'no \x literal'"),
        ({"raise": "'two\nlines'"}, "'two lines'"),
        ({"hidden": "can't start new thread"}, "can't start new thread"),
    ]:
        stream = provider.ask(script("some", 0.1, step))
        for _ in range(2):
            error = await failure(stream)
            assert type(error) is ResponseError and str(error) == error.message == message
            assert error.text == "some"


LINK = '<a style="white-space: nowrap" href="https://huggingface.co/join">Create a free account</a>'


QUOTAS = [  # sentences of the package `spaces`, from 0.19 to 0.51, and when to try again
    (f"You have exceeded your GPU quota (60s requested vs. 56s left). {LINK} to get more.", None),
    ("You have exceeded your GPU quota (60s left vs. 90s requested). Sign-up on Hugging Face to "
     "get more quotas or retry in 0:09:48", 588),
    ("You have exceeded your free ZeroGPU quota (60s requested vs. 0s left). Try again in "
     "1 day, 2:03:04. ", 93784),
    ("You have exceeded your Pro ZeroGPU quota (60s requested vs. 0s left). Try again in "
     "12 days, 0:00:01.500000. ", 1036801),
    ("You have exceeded your runs limit.", None),
    ("You have too many ZeroGPU credits allocated to running tasks. Try again once some of those "
     "tasks have completed.", None),
    ("Space app has reached its GPU limit. Try re-running outside of examples if it happened",
     None),
]


async def test_a_gpu_quota(provider):
    for words, seconds in QUOTAS:
        error = await failure(provider.ask(script({"raise": words})))
        assert type(error) is RateLimitError and error.retry_after == seconds, words
        assert error.retryable == (seconds is not None)
        said = words.replace(LINK, "Create a free account").rstrip(". ")
        own = "A Hugging Face token has a quota of its own: give it as api_key."
        assert str(error) == f"{said}. {own}"
    for words, kind in [
        ("No GPU was available after 60s. Retry later", RateLimitError),
        ("No GPU is currently available for you after 60s", RateLimitError),
        ("The requested GPU duration (600s) is larger than the maximum allowed", ResponseError),
        ("Try again in 0:09:48", ResponseError),
    ]:
        error = await failure(provider.ask(script({"raise": words})))
        assert type(error) is kind and str(error) == words and error.retry_after is None
        assert error.retryable == (kind is RateLimitError)


async def test_a_picture_that_the_space_cannot_fetch(provider, picture_url):
    """The Space said so. It is not this machine that cannot resolve the name."""
    picture = "http://nowhere.invalid/x.png"
    error = await failure(provider.ask("Hi", picture))
    assert type(error) is ResponseError
    assert str(error).startswith("The Space, which fetches the picture from its URL, says: ")
    error = await failure(provider.ask(script("some", 0.1, {"raise": "too dark"}), picture_url))
    assert str(error) == "too dark"


# While connecting


PAGE = "<html><head><title>This Space is sleeping</title></head></html>"


def config(**fields):
    """Return a Space's config with nothing in it but these fields."""
    return json.dumps({"components": [], "dependencies": [], **fields})


UNUSABLE = [
    (200, PAGE, [], SpaceUnavailableError, "No Gradio app"),
    (200, "{}", [], SpaceUnavailableError, "No Gradio app"),
    (200, config(protocol="ws", version="3.9"), [],
     SpaceUnavailableError, "too old: its gradio 3.9.*4.44 or newer"),
    (200, config(protocol="sse_v2.1", version="4.44.1"), [], SpaceUnavailableError, "too old"),
    (200, config(protocol="sse_v3", version="4.43.0"), [], SpaceUnavailableError, "too old"),
    (200, config(protocol="sse_v3", version="none"), [], SpaceUnavailableError, "too old"),
    (200, config(protocol="\x1b]0;steer\x07"), [], SpaceUnavailableError, "too old"),
    (302, "", [("Location", "https://elsewhere.example/")],
     SpaceUnavailableError, "redirects to https://elsewhere"),
    (401, PAGE, [], AuthenticationError, "api_key"),
    (403, "", [], AuthenticationError, "HTTP 403"),
    (404, PAGE, [], SpaceUnavailableError, "HTTP 404.*This Space is sleeping"),
    (429, "", [], RateLimitError, "too many requests"),
    (502, PAGE, [], SpaceUnavailableError, "HTTP 502.*This Space is sleeping"),
    (503, PAGE, [], SpaceUnavailableError, "HTTP 503.*This Space is sleeping.*paused"),
]


async def test_the_address_has_no_usable_space():
    for status, body, headers, kind, message in UNUSABLE:
        with web_server(status, body, headers) as server:
            error = await failure(ask("Hi", url=server.url, max_retries=0))
        assert type(error) is kind and re.search(message, str(error)), message
        assert error.status_code == (None if "too old" in str(error) else status)
        assert error.retryable == (status in (429, 502, 503)) and str(error).isprintable()


async def test_a_response_larger_than_the_limit(relay, monkeypatch):
    """Of an error, only the beginning is read."""
    set_bounds(monkeypatch, max_body_bytes=300_000)
    await ask("warm", url=relay.url).read()
    for path, status, kind, message in [
        ("/queue/data", 500, SpaceUnavailableError, "HTTP 500"),
        ("/queue/join", 429, RateLimitError, "too many requests"),
        ("/config", 429, RateLimitError, "too many requests"),
        ("/config", 200, SpaceConnectionError, "more than 300000 bytes"),
    ]:
        if path == "/config":
            forget_info()
        relay.answer(path, status, b"x" * 300_001)
        error = await failure(ask("Hi", url=relay.url, max_retries=0))
        assert type(error) is kind and message in str(error)


async def test_an_error_status_whose_body_breaks_off():
    with web_server(401, "x" * 5000) as server, Relay(server.port) as relay:
        relay.change(lambda data: data[:-4000] if b"xxxx" in data else data)
        error = await failure(ask("Hi", url=relay.url, read_timeout=0.5, max_retries=0))
    assert type(error) is AuthenticationError and error.status_code == 401


async def test_a_private_or_missing_space():
    for status, api_key in [(401, "hf_token"), (404, None)]:
        with web_server(status) as server, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            error = await failure(ask(
                "Hi", url="http://owner-name.hf.space", proxy=server.url, api_key=api_key,
                max_retries=0))
        assert error.status_code == status and "Perhaps no Space has this name" in str(error)
        assert "api_key is a token that may read it" in str(error)


COME_BACK = [
    ({"Retry-After": "7"}, 7),
    ({"Retry-After": "-1"}, 0),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ({"Retry-After": "soon"}, None),
    ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"api";q=500;w=300'}, 55),
    ({"ratelimit": '"burst";r=0;t=1, "daily";r=0;t=3600, "other";r=9;t=9999'}, 3600),
    ({"RateLimit": '"api";r=1;t=55'}, None),
    ({"RateLimit": f'"api";r=0;t={"9" * 400}'}, None),
    ({"Retry-After": "7", "RateLimit": '"api";r=0;t=55'}, 7),
    ({"X-RateLimit-Reset": "55"}, None),
]


def test_when_to_come_back():
    request = httpx.Request("GET", "https://h/config")
    for headers, seconds in COME_BACK:
        body = httpx.ByteStream(b"")
        error = from_response(httpx.Response(429, headers=headers, request=request, stream=body))
        assert type(error) is RateLimitError and error.retryable, headers
        assert error.retry_after == seconds, headers


async def test_an_unknown_host():
    error = await failure(ask("Hi", url="http://nowhere.invalid", max_retries=0))
    assert type(error) is SpaceConnectionError and error.retryable
    assert "nowhere.invalid could not be reached" in str(error)


async def test_a_self_signed_certificate(secure_space, certificate, tmp_path):
    url, over = secure_space.url, tmp_path / "over"
    error = await failure(ask("Hi", url=url, max_retries=0))
    assert type(error) is SpaceConnectionError and "TLS" in str(error) and not error.retryable
    context = ssl.create_default_context(cafile=certificate[0])
    assert await ask("trusted", PNG, url=url, verify=context).read() == "You asked: trusted"
    async with ask(script("a", {"until": str(over)}), url=url, verify=context) as stream:
        await anext(stream)
    await calls_ended()  # although nothing arrives
    over.touch()


async def test_a_space_behind_a_login(login_space):
    url, user = login_space.url, {"auth": ("user", "word")}
    with Relay(login_space.port) as relay:
        for auth in (None, ("user", "wrong")):
            error = await failure(ask("Hi", url=relay.url, auth=auth))
            assert type(error) is AuthenticationError and "wrong" not in str(error)
        assert relay.count("/login") <= 2
    assert await ask("Hi", PNG, url=url, **user).read() == "You asked: Hi"
    error = await failure(ask(script("some", {"hidden": "secret of the app"}), url=url, **user))
    assert type(error) is ResponseError and "secret" not in str(error)


# While the question is sent


def ask_once(relay, *arguments, **options):
    """Ask through a relay, once and with a short timeout."""
    return ask(*arguments, url=relay.url, **{"read_timeout": 5, "max_retries": 0, **options})


async def test_the_connection_is_cut_at_each_request(relay):
    """Also a proxy that takes no uploads may do so. The call must not go on for ever."""
    for path in ("/config", "/info", "/upload", "/queue/join", "/queue/data"):
        relay.behave()
        forget_info()
        if path not in ("/config", "/info"):
            await ask_once(relay, "warm").read()
            await calls_ended()
        before = relay.faults
        relay.close_at(path, times=math.inf)
        error = await failure(ask_once(relay, "cut", PNG))
        assert type(error) is SpaceConnectionError and 1 <= relay.faults - before <= 2, path


async def test_a_request_that_is_refused(relay, space):
    picture, question = "refused the picture", "refused the question (HTTP {}: said)"
    for path, status, kind, message in [
        ("/config", 400, SpaceUnavailableError, "No usable Gradio app"),
        ("/info", 400, SpaceUnavailableError, "No usable Gradio app"),
        ("/upload", 413, ResponseError, picture),
        ("/queue/join", 413, ResponseError, question),
        ("/queue/join", 404, SpaceUnavailableError, question),
        ("/queue/data", 400, ResponseError, question),
    ]:
        relay.behave()
        relay.answer(path, status, b'{"detail":"said."}', times=9)
        error = await failure(ask(f"refused {path}", PNG, url=relay.url))
        assert type(error) is kind and error.status_code == status and not error.retryable
        assert message.format(status) in str(error)
    assert not space.log("asked", prompt="refused /upload")


async def test_a_stopped_queue(relay):
    """It is not full. The app is being started again, perhaps, so the question is asked again."""
    stopped = "/queue/join", 503, b'{"detail":"Queue is stopped."}'
    relay.answer(*stopped)
    error = await failure(ask("Hi", url=relay.url, max_retries=0))
    assert type(error) is SpaceUnavailableError and error.retryable
    assert "HTTP 503: Queue is stopped" in str(error) and "full" not in str(error)
    relay.answer(*stopped)
    assert await ask("Hi", url=relay.url).read() == "You asked: Hi"


async def test_a_proxy_that_holds_back_the_answer(relay, tmp_path):
    """A buffering proxy passes on no heartbeat either."""
    over = tmp_path / "over"
    relay.change(lambda data: b"" if b"data: {" in data else data)
    error = await failure(ask_once(relay, script({"until": str(over)}), read_timeout=1))
    over.touch()
    assert type(error) is ResponseTimeoutError
    assert "proxy" in str(error) and "read_timeout=" in str(error)


async def test_a_validation_error(provider, space):
    space.require_gradio(5, 50)
    error = await failure(provider.ask("Hi", api_name="/validated"))
    assert type(error) is ResponseError and "prompt is too short" in str(error)


# During the answer


async def test_the_stream_is_cut_in_the_middle_of_an_event(relay):
    relay.cut_at(b"process_generating")
    error = await failure(ask_once(relay, script("a", "ab", "abc")))
    assert type(error) is SpaceConnectionError


async def test_garbage_instead_of_json(relay):
    event = b'data: {"msg":"process_generating"'
    for garbage in (b"<html>", b"data: [1]", b"\xff\xfe"):
        relay.behave()
        relay.replace(event, garbage + b'\n\n{"msg":"')
        error = await failure(ask_once(relay, script("a", 0.1, "ab")))
        assert type(error) is SpaceConnectionError and "nonsense" in str(error), garbage


async def test_an_error_that_is_not_known(relay, caplog):
    """The log says where it was raised, for a report. It shows no value."""
    caplog.set_level("DEBUG", "qvq_wrapper")
    relay.replace(b'{"event_id":', b'{"other_id":')
    error = await failure(ask_once(relay, "a secret prompt", api_key="hf_secret"))
    assert type(error) is ResponseError and "could not be understood (KeyError" in str(error)
    assert "KeyError" in caplog.text and 'response.json()["event_id"]' in caplog.text
    assert "hf_secret" not in caplog.text and "a secret prompt" not in caplog.text


async def test_odd_characters_arrive(relay):
    """JSON can contain a lone surrogate, although Gradio's encoder never writes it."""
    relay.replace(b"SINGLE", b"\\ud83d")
    separators = "\u2028b\u2029c\x85d\x1ce\r\nf"
    stream = ask_once(relay, script("a SINGLE", 0.1, "a SINGLE" + separators))
    assert await stream.read() == "a \ud83d" + separators


# The proxy


async def test_a_proxy_that_asks_for_credentials(space):
    with HttpProxy("user:word") as proxy:
        for url in (space.url, f"https://127.0.0.1:{space.port}"):
            error = await failure(ask("Hi", url=url, proxy=proxy.url, max_retries=0))
            assert type(error) is SpaceConnectionError and "407" in str(error)
        credentials = proxy.url.replace("//", "//user:word@")
        assert await ask("Hi", PNG, url=space.url, proxy=credentials).read() == "You asked: Hi"


async def test_a_proxy_that_dies_during_the_answer(space, tmp_path):
    over = tmp_path / "over"
    with HttpProxy() as proxy:
        silence = script("some", {"until": str(over)})
        stream = ask(silence, url=space.url, proxy=proxy.url, max_retries=0)
        await anext(stream)
        proxy.__exit__()
        error = await failure(stream)
    assert type(error) is SpaceConnectionError and error.text == "some"
    over.touch()
