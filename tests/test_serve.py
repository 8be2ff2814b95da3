"""The Space in front of a model's server, as its callers and the one who runs it see it."""

import asyncio
import base64
import itertools
import os
import socket
import subprocess
import sys
import uuid
from contextlib import ExitStack, suppress

import httpx
import pytest
from conftest import BOUND, failure, free_port, script, wait_until, wait_until_async
from network import web_server
from upstream import Upstream

from qvq_wrapper import (
    AuthenticationError, RateLimitError, ResponseError, SpaceUnavailableError, ask,
)
from qvq_wrapper.batch import ask_many
from qvq_wrapper.serve import SAMPLE, disconnect, running_space
from qvq_wrapper.serve.disconnect import Readers
from qvq_wrapper.serve.options import parse

pytestmark = [pytest.mark.anyio, pytest.mark.space, pytest.mark.backends("asyncio")]
KEY = "sk-secret-0123456789"
SERVE = [sys.executable, "-m", "qvq_wrapper.serve"]


@pytest.fixture(scope="module")
def url(server):
    """The Space that most tests share."""
    with running_space(base_url=server.url, model="a-model/v1", api_key=KEY) as url:
        yield url.rstrip("/")


async def test_a_question_with_a_picture_and_parameters(server, url):
    parameters = {"temperature": 0.25, "max_tokens": 7, "system": "Be brief."}
    answer = ask("What does the sign say?", SAMPLE, url=url, parameters=parameters)
    assert await answer.read() == "You asked: What does the sign say? "
    request, asked = server.requests[-1], len(server.requests)
    first, (picture, text) = [message["content"] for message in request["messages"]]
    assert (first, text["text"]) == ("Be brief.", "What does the sign say?")
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert request["model"] == "a-model/v1"
    assert (request["temperature"], request["max_tokens"]) == (0.25, 7)
    assert server.headers[-1]["authorization"] == f"bearer {KEY}"
    for wrong in ({"temperature": -1}, {"max_tokens": 0}):
        error = await failure(ask("Hi", url=url, parameters=wrong))
        assert "minimum" in error.message, wrong
    assert len(server.requests) == asked
    async with ask(script("a", 60), url=url) as stream:
        assert await anext(stream) == "a"  # before the next piece is said


async def test_an_error_arrives_in_the_servers_words(server, url):
    """The page shows the message of an error as HTML."""
    step = {"error": {"message": "Your key {key} has <no> money & time"}}
    for before in ([], ["half", 0.2]):
        error = await failure(ask(script(*before, step), url=url))
        assert type(error) is ResponseError and error.text == "".join(before[:1])
        assert error.message == "The model's server says: Your key [key] has money & time"
    step = {"error": {"message": "<img src=x onerror=alert(1)> &lt;img src=x&gt; 1 < 2"}}
    with visitor(url) as client:
        said = client.get(begin(client, "browser", step)).text
    assert "The model's server says: " in said and "&lt;img" in said and "<" not in said


ERRORS = [
    (429, "30", RateLimitError, True), (429, None, RateLimitError, True),
    (503, "30", SpaceUnavailableError, True), (500, None, SpaceUnavailableError, True),
    (401, None, SpaceUnavailableError, False), (403, None, SpaceUnavailableError, False),
    (404, None, SpaceUnavailableError, False), (400, None, ResponseError, False),
    (413, "30", ResponseError, False),
    (500, None, ResponseError, False, "`inputs` tokens + `max_new_tokens` must be <= 4096"),
]


async def test_the_space_passes_on_whether_to_come_back(server, url):
    """A question that is too long for the model is the fault of that row of a data set."""
    for status, wait, kind, retryable, *other in ERRORS:
        words = other[0] if other else "not now"
        headers = {"Retry-After": wait} if wait else {}
        step = {"status": status, "headers": headers, "body": {"error": words}}
        asked = len(server.requests)
        error = await failure(ask(script(step), url=url))
        assert error.message.startswith(f"The model's server says: {words} (HTTP {status})")
        assert (type(error), error.retryable) == (kind, retryable), (status, wait)
        again = 30 if wait and kind is not ResponseError else None
        assert error.retry_after == again, (status, wait)
        assert len(server.requests) == asked + 1, f"{status} was asked again"
    with pytest.raises(SpaceUnavailableError, match="wrong key"):
        step = {"status": 401, "body": {"error": "wrong key"}}
        async for _ in ask_many(({"prompt": script(step)} for _ in range(1000)), url=url):
            pytest.fail("a row is recorded")


def visitor(url):
    return httpx.Client(base_url=url, timeout=BOUND)


def begin(client, kind, *steps, picture=None):
    """Ask as a browser or as curl does. Return the path of the answer."""
    data = {"data": [picture, script(*steps), None, 100, ""]}
    if kind == "curl":
        event = client.post("/gradio_api/call/generate", json=data).json()["event_id"]
        return f"/gradio_api/call/generate/{event}"
    functions = client.get("/config").json()["dependencies"]
    number = next(each["id"] for each in functions if each["api_name"] == "generate")
    session = uuid.uuid4().hex
    data |= {"fn_index": number, "session_hash": session}
    client.post("/gradio_api/queue/join", json=data).raise_for_status()
    return f"/gradio_api/queue/data?session_hash={session}"


def test_a_reader_whose_connection_ends_stops_the_model(server, url):
    """As that of a tab that is closed, or of a process. One that stays gets the whole answer."""
    flowing = [{"repeat": "word ", "times": 10_000, "delay": 0.02}]
    for kind, steps in itertools.product(("browser", "curl"), ([60], ["half", 60], flowing)):
        asked, left = len(server.requests), len(server.left)
        with visitor(url) as client, client.stream("GET", begin(client, kind, *steps)):
            wait_until(lambda: len(server.requests) > asked)
        wait_until(lambda: len(server.left) > left)
    left = len(server.left)
    for kind, whole in (("browser", "whole"), ("curl", "halfwhole")):
        with visitor(url) as client:
            assert whole in client.get(begin(client, kind, "half", 0.3, "whole")).text
    assert len(server.left) == left


async def texts_then(error=None, closed=None, pause=0.1):
    """Yield three texts at once, one after a pause, and end."""
    try:
        for text in ("a", "ab", "abc"):
            yield text
        await asyncio.sleep(pause)
        yield "abcd"
        if error:
            raise error
    finally:
        closed and closed.set()


async def test_texts_that_nobody_has_time_for_are_left_out():
    """An error comes after all texts, and whoever leaves closes the source."""
    for pause in (0, 0.3):
        found = []
        with pytest.raises(ValueError, match="broken"):
            async for text in Readers().newest("a session", texts_then(ValueError("broken"))):
                found.append(text)
                await asyncio.sleep(pause)
        assert found == ["abc", "abcd"]
    closed = asyncio.Event()
    texts = Readers().newest("a session", texts_then(closed=closed, pause=600))
    await anext(texts)
    await asyncio.wait_for(texts.aclose(), BOUND)
    assert closed.is_set()


async def test_the_model_stops_while_gradio_passes_an_earlier_text_on():
    """Gradio ends the response itself if it sees first that the reader has left."""
    async def left():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    scope = {"path": "/gradio_api/queue/data", "query_string": b"session_hash=a%20session"}
    for ends_response in (True, False):
        async def app(scope, receive, send):
            await receive()
            if ends_response:
                await send({"type": "http.response.body", "body": b""})

        readers, closed = Readers(app), asyncio.Event()
        texts = readers.newest("a session", texts_then(closed=closed))
        assert await anext(texts) == "abc"
        await readers(scope, left, send)
        await asyncio.wait_for(closed.wait(), BOUND)
        assert [text async for text in texts] == []
        late = texts_then()  # another answer for the same reader is not begun
        assert [text async for text in readers.newest("a session", late)] == []
        assert await anext(late) == "a"

    async def whole(scope, receive, send):
        await send({"type": "http.response.body", "body": b""})

    readers = Readers(whole)
    await readers(scope, left, send)  # this reader has read all, and may ask again
    assert await anext(readers.newest("a session", texts_then())) == "abc"


async def test_the_model_stops_if_no_reader_comes(monkeypatch):
    """Whoever comes later gets an error, and not the part as if it were the whole."""
    monkeypatch.setattr(disconnect, "PATIENCE", 0.01)
    closed = asyncio.Event()
    with pytest.raises(ResponseError, match="Nobody read this answer for 0.01 s"):
        async for text in Readers().newest("a session", texts_then(closed=closed, pause=60)):
            assert text == "abc"
    assert closed.is_set()


async def test_many_answers_at_once(server, url):
    """No answer ends before all are asked. Gradio by itself would stop at forty."""
    await wait_until_async(lambda: not server.running)
    asked = len(server.requests)
    prompt = script("a", {"at_once": 50}, "b")
    streams = [ask(prompt, url=url, timeout=BOUND) for _ in range(50)]
    assert await asyncio.gather(*(stream.read() for stream in streams)) == ["ab"] * 50
    assert len(server.requests) == asked + 50 and server.most_at_once == 50


def test_a_visitor_gets_nothing_private(server, url, tmp_path):
    """A short form of test_visitor.py: each protection, once."""
    private = tmp_path / "private"
    private.write_bytes(SAMPLE.read_bytes() + b"a canary")
    asked, api = len(server.requests), "/gradio_api"
    with web_server(200, b"a canary") as site, visitor(url) as client:
        seen = [client.get(path) for path in ("/", "/config", f"{api}/info")]
        uploaded = client.post(f"{api}/upload", files={"files": SAMPLE.read_bytes()}).json()[0]
        link = os.path.join(os.path.dirname(uploaded), "link.png")
        os.symlink(private, link)
        for path in (str(private), "/proc/self/environ", link, f"{site.url}/x.png",
                     f"{uploaded}/../../../../../../{private}"):
            named = {"path": path, "meta": {"_type": "gradio.FileData"}}
            for form in (named, [{"a": named}], {"path": None, "url": path}):
                data = {"data": [form, "Hi", None, 100, ""]}
                seen.append(client.post(f"{api}/run/generate", json=data))
                is_fetched = path.startswith("http") and "url" not in form
                assert seen[-1].status_code == (500 if is_fetched else 400), form
            seen += [client.get(f"{api}/{route}={path}") for route in ("file", "proxy")]
            assert {each.status_code for each in seen[-2:]} <= {403, 404}, path
        assert client.post(f"{api}/component_server", json={}).status_code == 404
        assert client.post(f"{api}/upload", content=iter([b"x"])).status_code == 411
        assert client.get(f"{api}/file={uploaded}").content == SAMPLE.read_bytes()
    assert len(server.requests) == asked and not site.requests
    secrets = (KEY, "a canary", server.url, base64.b64encode(b"a canary").decode())
    assert not [response.url for response in seen for each in secrets if each in response.text]
    for process in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{process}/cmdline", errors="replace") as file:
            assert KEY not in file.read()


def test_the_command(tmp_path):
    """A second Space, on all addresses, with a login, a key file and options of its own.

    It starts before its model's server does, because a large model needs minutes to load.
    """
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "users").write_text("ann:pass:word\n\nbob:secret\n")
    files = ["--auth-file", str(tmp_path / "users"), "--api-key-file", str(tmp_path / "key")]
    options = ["--system", "Be brief.", "--max-tokens", "9", "--temperature", "0.5",
               "--max-pixels", "100", "--stop-repetition", "--show-thinking", "--concurrency", "2"]
    proxy = {"ALL_PROXY": "socks5://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
    port = free_port()
    model = ["--base-url", f"http://127.0.0.1:{port}/v1", "--model", "m", "--host", "0.0.0.0"]
    with subprocess.Popen(
            [*SERVE, "--port", "0", *model, *files, *options], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE, env=os.environ | proxy) as process, ExitStack() as stack:
        stack.callback(process.terminate)
        printed = process.stdout.readline().strip()
        assert printed.startswith("http://0.0.0.0:")
        url = printed.replace("0.0.0.0", "127.0.0.1")

        def read(question, auth=None):
            return asyncio.run(ask(question, SAMPLE, url=url, auth=auth).read())

        with pytest.raises(AuthenticationError):
            read("Hi")
        with pytest.raises(SpaceUnavailableError, match="it may still be starting") as caught:
            read("Hi", ("ann", "pass:word"))
        assert caught.value.retryable
        with Upstream(port) as server:
            circle = {"repeat": "Wait, let me look at the angle once more. ", "times": 100}
            thought = {"event": {"choices": [{"delta": {"reasoning": "Hm.\nA <sign>?"}}]}}
            text = read(script(thought, circle), ("bob", "secret"))
        process.terminate()
        assert process.wait(BOUND) == 0 and process.stderr.read() == ""
    assert text.startswith("> *Thinking:*\n>\n> Hm.\n> A <sign>?\n\nWait, ")
    assert text.endswith("*Stopped: the model repeats itself.*")
    request = server.requests[-1]
    assert (request["max_tokens"], request["temperature"]) == (9, 0.5)
    assert request["messages"][0]["content"] == "Be brief."
    assert len(request["messages"][1]["content"][0]["image_url"]["url"]) < 1000
    assert server.headers[-1]["authorization"] == f"bearer {KEY}"


MODEL = ["--base-url", "http://127.0.0.1:8000/v1", "--model", "m"]
WRONG = [
    (MODEL[:2], "--base-url and --model need each other"), (MODEL[2:], "need each other"),
    (["--max-tokens", "5"], "--max-tokens needs --base-url"),
    (["--show-thinking"], "--show-thinking needs --base-url"),
    (["--base-url", "127.0.0.1:8000", *MODEL[2:]], "http:// or https://"),
    (["--base-url", "http://a:b@c/v1", *MODEL[2:]], "no user"),
    (["--base-url", "http://[::1/v1", *MODEL[2:]], "http:// or https://"),
    ([*MODEL, "--max-tokens", "0"], "1 or more"), ([*MODEL, "--concurrency", "0"], "1 or more"),
    ([*MODEL, "--temperature", "-1"], "0 or more"), ([*MODEL, "--temperature", "nan"], "0 or more"),
    ([*MODEL, "--api-key-file", "missing"], "file cannot be read (FileNotFoundError)"),
    ([*MODEL, "--api-key-file", "two"], "has no key, or one with spaces"),
    ([*MODEL, "--auth-file", "empty"], "empty has no user:password"),
    ([*MODEL, "--auth-file", "two"], "line 2 of two is not user:password"),
]


def test_a_wrong_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text(f"ann:secret\n{KEY}\n")
    monkeypatch.chdir(tmp_path)
    for arguments, message in WRONG:
        with pytest.raises(SystemExit) as caught:
            parse(arguments)
        said = capsys.readouterr().err.splitlines()[-1]
        assert caught.value.code == 2 and message in said, (arguments, said)
        assert KEY not in said and "secret" not in said, (arguments, said)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\u00e9")  # which no header can hold
    with pytest.raises(SystemExit):
        parse(MODEL)
    assert "OPENAI_API_KEY" in (said := capsys.readouterr().err) and "sk-" not in said


def test_a_space_that_cannot_start():
    """For want of a package, with a proxy that cannot be used, or on a port that is taken."""
    code = """
import sys
from qvq_wrapper.serve.__main__ import main
sys.modules[sys.argv[1]], sys.argv[1:] = None, sys.argv[2:]
main()
"""
    proxy = {"ALL_PROXY": "socks://user:secret@127.0.0.1:1"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for hidden, arguments, message in [
                ("rapidocr", ["--port", "0"], 'This Space needs: pip install "qvq_wrapper[demo]"'),
                ("openai", [*MODEL, "--port", "0"], 'needs: pip install "qvq_wrapper[serve]"'),
                ("x", [*MODEL, "--port", "0"], "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY"),
                ("x", ["--port", port], f"Cannot listen on 127.0.0.1, port {port}: ")]:
            done = subprocess.run([sys.executable, "-c", code, hidden, *arguments], text=True,
                                  capture_output=True, timeout=BOUND, env=os.environ | proxy)
            assert (done.returncode, done.stdout) == (1, "") and message in done.stderr
            assert "secret" not in done.stderr and "Traceback" not in done.stderr


def test_the_text_reader_gets_no_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "QVQ_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)

    def popen(command, env, **options):
        assert KEY not in env.values() and "PATH" in env and "--base-url" not in command
        raise OSError("not started")

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError, match="not started"), running_space():
        pass
