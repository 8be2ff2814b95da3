"""A connection is kept for the next call, and no call disturbs another."""

import asyncio
import gc
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import suppress
from contextvars import ContextVar

import anyio
import pytest
from conftest import (
    BOUND, PNG, call_threads, failure, script, sockets_to, wait_until, wait_until_async,
)
from inside import forget, set_bounds
from network import HttpProxy, Relay, SocksProxy, add_header, first_line, read_head

from qvq_wrapper import ResponseError, ResponseTimeoutError, SpaceConnectionError, ask
from qvq_wrapper.bridge.call import Call

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


def call_connections(relay):
    """Return the number of connections without those for heartbeats. Each heartbeat has its own."""
    return relay.connections - sum("/heartbeat/" in line for line in relay.requests)


async def calls_ended():
    """Wait until the threads of all calls have ended. Their connections are then idle."""
    await wait_until_async(lambda: not call_threads())


async def test_calls_one_after_the_other_share_a_connection(relay):
    for number in range(5):
        answer = await ask(f"number {number}", PNG, url=relay.url).read()
        assert answer == f"You asked: number {number}"
        await calls_ended()  # or the next call might not find the connection yet
    assert call_connections(relay) == 1
    paths = ("/config", "/info", "/app_id", "/queue/join")
    assert [relay.count(path) for path in paths] == [1, 1, 0, 5]


async def test_a_connection_that_waits_holds_little_memory(relay):
    """httpcore asks for 64 kB at each read, and Python holds that much until the first byte."""
    tracemalloc.start()
    try:
        async with ask(script("a", 60), url=relay.url) as stream:
            assert await anext(stream) == "a"
            backend = tracemalloc.Filter(True, "*/httpcore/_backends/*")
            found = tracemalloc.take_snapshot().filter_traces([backend])
            assert sum(each.size for each in found.statistics("filename")) < 8192
    finally:
        tracemalloc.stop()


async def test_without_keep_alive_each_request_has_a_connection(relay):
    for _ in range(2):
        stream = ask("closed", url=relay.url, headers={"Connection": "close"})
        assert await stream.read() == "You asked: closed"
    await calls_ended()
    assert relay.connections == len(relay.requests) and relay.count("/queue/join") == 2
    assert relay.count("/app_id") == 1  # only a kept connection would show a restart


async def test_a_heartbeat_takes_one_more_connection(relay):
    for _ in range(3):
        await ask("heart", url=relay.url).read()
        await calls_ended()
    beats = [line for line in relay.requests if "/heartbeat/" in line]
    assert relay.connections == 1 + len(beats) and len(set(beats)) == 3


async def test_the_space_hears_that_a_session_has_ended(start_space):
    with start_space() as space:
        space.require_gradio(5, 50)
        await ask("over", url=space.url).read()
        await space.wait_log("unloaded")


@pytest.mark.parametrize("how", ["cancel", "aclose", "forget"])
@pytest.mark.backends("asyncio", "trio")
async def test_ending_a_finished_answer_does_not_touch_the_next(relay, how):
    first = ask("first", url=relay.url)
    assert await first.read() == "You asked: first"
    await calls_ended()
    async with ask(script("a", *["", 0.05] * 10, "the next"), url=relay.url) as second:
        await anext(second)
        if how == "cancel":
            first.cancel()
        elif how == "aclose":
            await first.aclose()
        del first
        gc.collect()
        assert await second.read() == "the next"
    await calls_ended()
    assert call_connections(relay) == 1


async def test_leaving_right_after_the_end_keeps_the_connection(relay, monkeypatch):
    """The reader leaves while the call's thread is about to put the connection away."""
    original = Call.end

    def end_slowly(call, *arguments):
        original(call, *arguments)
        time.sleep(0.1)  # the reader is faster than the thread

    monkeypatch.setattr(Call, "end", end_slowly)
    for step in ("an answer", {"raise": "an error"}):
        with suppress(ResponseError):
            async with ask(script(step), url=relay.url) as stream:
                await stream.read()
        await calls_ended()
    assert await ask("after", url=relay.url).read() == "You asked: after"
    assert call_connections(relay) == 1


@pytest.mark.parametrize("how", ["break", "scope", "timeout", "max_chars"])
@pytest.mark.backends("asyncio", "trio")
async def test_a_connection_with_unread_data_is_never_reused(relay, how):
    prompt = script("a", *["ab", 0.05, "abc", 0.05] * 50)
    with suppress(Exception), anyio.move_on_after(0.5 if how == "scope" else 30):
        options = {"timeout": {"timeout": 0.5}, "max_chars": {"max_chars": 2}}.get(how, {})
        async with ask(prompt, url=relay.url, **options) as stream:
            async for _ in stream:
                if how == "break":
                    break
    for number in range(3):
        answer = await ask(f"after {number}", url=relay.url).read()
        assert answer == f"You asked: after {number}"


async def test_the_connection_of_a_failed_answer_is_reused(relay):
    await failure(ask(script("some", {"raise": "too dark"}), url=relay.url))
    await calls_ended()
    assert await ask("after", url=relay.url).read() == "You asked: after"
    await calls_ended()
    assert call_connections(relay) == 1


@pytest.mark.parametrize("path", ["/app_id", "/upload", "/queue/join", "/queue/data", "/login"])
async def test_the_connection_closes_while_a_request_is_on_its_way(
        relay, space, monkeypatch, path):
    """The request is sent again over a new connection, unless it is the question."""
    auth = ("user", "word") if path == "/login" else None
    options = {"url": relay.url, "max_retries": 0, "auth": auth}
    await ask("warm", **options).read()
    await calls_ended()
    if path == "/app_id":
        set_bounds(monkeypatch, info_max_age=0)
    if path == "/login":
        forget(relay.url)

    def close_once(data):
        if path.encode() in first_line(data):
            relay.up = lambda data: data
            return None
        return data

    relay.up = close_once
    prompt = f"on its way {time.time_ns()}"
    stream = ask(prompt, PNG, **options)
    if path == "/queue/join":
        error = await failure(stream)
        assert type(error) is SpaceConnectionError and error.retryable
    else:
        assert await stream.read() == f"You asked: {prompt}"
    assert relay.up is not close_once
    assert len(space.log("asked", prompt=prompt)) == (path != "/queue/join")


async def test_a_response_that_breaks_off_is_not_asked_for_again(relay):
    """The connection was reused, but it was not closed before the request."""
    await ask("warm", url=relay.url).read()
    await calls_ended()

    def break_off(data):
        if not relay.count("/upload") or data.endswith(b"\r\n\r\n"):
            return data
        threading.Timer(0.1, relay.cut).start()
        return data[:-2]

    relay.down = break_off
    error = await failure(ask("broken off", PNG, url=relay.url, max_retries=0))
    assert type(error) is SpaceConnectionError and relay.count("/upload") == 1


async def test_a_proxy_that_drops_idle_connections(relay):
    for number in range(3):
        answer = await ask(f"dropped {number}", url=relay.url).read()
        assert answer == f"You asked: dropped {number}"
        await calls_ended()
        relay.cut()
        await anyio.sleep(0.05)
    assert call_connections(relay) == 3 and relay.count("/app_id") == 2


@pytest.mark.parametrize("seconds", [0, 1, 2])
async def test_a_connection_is_kept_for_less_than_its_keep_alive_header_says(relay, seconds):
    """Otherwise the server may close it just when the next question is on its way."""
    relay.down = lambda data: add_header(data, b"Keep-Alive: timeout=%d, max=9" % seconds)
    await ask("kept", url=relay.url).read()
    await calls_ended()
    assert bool(sockets_to(relay.port)) == (seconds > 1)
    await anyio.sleep(max(0, seconds - 0.9))
    await ask("later", url=relay.url).read()
    assert call_connections(relay) == 2


# What lies behind a response is never the next one


class Server:
    """A server in this event loop, in front of ``port``, with TLS 1.3 if there is a certificate.

    Attributes:
        options: those of a question that is asked there.
        versions: the TLS version of each connection.
    """

    def __init__(self, port, certificate=None):
        self.port, self.versions, self._clients, self._context = port, [], [], None
        if certificate:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(*certificate)

    async def __aenter__(self):
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._context)
        scheme = "https" if self._context else "http"
        url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.options = {"url": url, "verify": False, "max_retries": 0, "read_timeout": BOUND}
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for client in self._clients:
            client.close()

    def send(self, data):
        """Send something of its own to every client."""
        for client in self._clients:
            if not client.is_closing():
                client.write(data)

    async def _serve(self, reader, writer):
        if self._context:
            self.versions.append(writer.get_extra_info("ssl_object").version())
        self._clients.append(writer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._clients.remove(writer)

    async def _copy(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@pytest.fixture(params=["TCP", "TLS"])
async def server(relay, certificate, request):
    async with Server(relay.port, certificate if request.param == "TLS" else None) as server:
        yield server


TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BEHIND = {
    "the response again": None, "a 408": TIMEOUT, "a stray CRLF": b"\r\n", "a byte": b"x",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "much": b"x" * 100_000,
}


def send_behind(relay, path, extra):
    """Make the relay send this behind each response to a request for the path, in one piece.

    Args:
        extra: what is sent. None: the response itself.
    """
    response = bytearray()

    def up(data):
        if data.startswith((b"GET ", b"POST ")):
            response.clear()
            up.wanted = path in first_line(data)
        return data

    def down(data):
        response.extend(data)
        if up.wanted and is_complete(response):
            return data + (bytes(response) if extra is None else extra)
        return data

    up.wanted = False
    relay.up, relay.down = up, down


def is_complete(response):
    head, end, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    if length:
        return len(body) == int(length[1])
    return body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("path", [b"/config", b"/info", b"/queue/join", b"/queue/data"])
async def test_what_lies_behind_a_response_is_not_the_next(relay, server, space, path, behind):
    send_behind(relay, path, BEHIND[behind])
    for number in ("one", "two", "three"):
        prompt = f"{number} {time.time_ns()}"
        answer = await ask(prompt, **server.options).read()
        assert answer == f"You asked: {prompt}"
        assert len(space.log("asked", prompt=prompt)) == 1
        await calls_ended()


@pytest.mark.parametrize("server", ["TLS"], indirect=True)
async def test_what_tls_has_decrypted_is_not_the_next_response(relay, server):
    """The response ends where a read ends. What is behind it came in the same TLS record."""
    response = bytearray()

    def down(data):
        if "/queue/join" not in relay.requests[-1]:
            return data
        response.extend(data)
        if not is_complete(response):
            return b""
        padded = add_header(bytes(response), b"x-pad: " + b"x" * (1024 - len(response) - 9))
        assert len(padded) == 1024  # what is asked for at once
        response.clear()
        return padded + TIMEOUT

    relay.down = down
    for number in ("one", "two"):
        answer = await ask(number, **server.options).read()
        assert answer == f"You asked: {number}"
        await calls_ended()


@pytest.mark.parametrize("behind", BEHIND)
async def test_what_comes_on_an_idle_connection_is_no_response(relay, server, space, behind):
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n" + b'{"event_id": "abc"}'
    for number in ("one", "two", "three"):
        prompt = f"{number} {time.time_ns()}"
        answer = await ask(prompt, **server.options).read()
        assert answer == f"You asked: {prompt}"
        assert len(space.log("asked", prompt=prompt)) == 1
        await calls_ended()
        server.send(BEHIND[behind] or response)
    assert call_connections(relay) == 3


async def test_a_clean_connection_is_used_again(relay, server, request):
    """TLS 1.3 sends tickets that are no part of a response."""
    for number in range(3):
        answer = await ask(f"clean {number}", **server.options).read()
        assert answer == f"You asked: clean {number}"
        await calls_ended()
    assert call_connections(relay) == 1 and set(server.versions) <= {"TLSv1.3"}


async def test_a_408_that_crosses_the_question_leaves_no_job(relay, space):
    """It was sent for an idle connection. The Space has the question all the same."""
    def down(data):
        if relay.count("/queue/join") == 0:
            return data
        relay.down = lambda data: data
        wait_until(lambda: space.log("asked", prompt=prompt))
        return TIMEOUT

    relay.down = down
    prompt = script(f"crossed {time.time_ns()}", *["", 0.1] * 100)
    error = await failure(ask(prompt, url=relay.url))
    assert error.status_code == 408
    await space.wait_job_gone(prompt)


async def test_the_messages_of_another_question_are_no_answer(relay, space):
    """A relay with a faulty cache repeats an earlier answer."""
    answers = []

    def up(data):
        if b"/queue/data" in first_line(data):
            answers.append(b"")
        return data

    def down(data):
        if len(answers) == 1:
            answers[0] += data
        return data

    relay.up, relay.down = up, down
    assert await ask("one", url=relay.url).read() == "You asked: one"
    await calls_ended()

    def repeat(data):
        if len(answers) == 2 and data.startswith(b"HTTP/1.1"):
            return answers[0]
        return data

    relay.down = repeat
    error = await failure(ask("two", url=relay.url))
    assert type(error) is SpaceConnectionError and "another question" in error.message


async def test_tunnels_are_kept(start_space, certificate, space):
    secure_space = start_space("--certificate", *certificate)
    with secure_space as secure, HttpProxy() as proxy, SocksProxy() as socks:
        for number in range(3):
            text = f"tunnel {number}"
            for url in (proxy.url, f"socks5://127.0.0.1:{socks.port}"):
                answer = await ask(text, url=secure.url, verify=False, proxy=url).read()
                assert answer == f"You asked: {text}"
        await calls_ended()
        # The three heartbeats have tunnels of their own.
        assert len(proxy.targets) - 3 == len(socks.targets) - 3 == 1


async def test_a_tunnel_through_a_proxy_that_speaks_tls(start_space, certificate, monkeypatch):
    """A proxy with an https URL. In the tunnel, the Space's own TLS is inside the proxy's."""

    async def copy(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    monkeypatch.setattr("certifi.where", lambda: certificate[0])  # a proxy is checked with these
    with start_space("--certificate", *certificate) as space, HttpProxy() as proxy:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        way = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for number in range(2):
            text = f"tunnel {number}"
            answer = await ask(text, url=space.url, verify=False, proxy=way).read()
            assert answer == f"You asked: {text}"
            await calls_ended()
        server.close()
    assert len(proxy.targets) - 2 == 1  # two more for the heartbeats


async def test_a_job_is_cancelled_through_a_slow_proxy(start_space, certificate):
    """The request needs a new connection, which takes the proxy a second."""
    with start_space("--certificate", *certificate) as space, HttpProxy() as proxy:
        prompt = script(*["a", 0.1] * 100)
        async with ask(prompt, url=space.url, verify=False, proxy=proxy.url) as stream:
            await anext(stream)
            proxy.delay = 1
        await space.wait_log("left", prompt=prompt)
        assert not space.log("finished", prompt=prompt)


async def test_idle_connections_are_limited_and_closed_by_a_call_to_any_space(
        relay, space, monkeypatch):
    set_bounds(monkeypatch, keep=0.2)
    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask(f"hundred {number}", url=relay.url).read)
    await calls_ended()
    assert len(sockets_to(relay.port)) == 8
    await anyio.sleep(0.2)
    await ask("later", url=space.url).read()
    assert not sockets_to(relay.port)


async def test_idle_connections_of_all_spaces_are_limited(space, monkeypatch):
    set_bounds(monkeypatch, max_all_idle=3)
    before = sockets_to(space.port)
    for number in range(5):
        await ask("idle", url=space.url, headers={"x": str(number)}).read()
        await calls_ended()
    assert len(sockets_to(space.port) - before) <= 3


def test_nothing_is_said_of_idle_connections_at_the_exit(space):
    code = "import sys, qvq_wrapper as q; print(*q.ask('Hi', url=sys.argv[1]), sep='')"
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, space.url],
        capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("You asked: Hi\n", "")


async def test_calls_with_different_options_share_no_connection(relay, space):
    accesses = [
        {}, {"api_key": "hf_one"}, {"api_key": "hf_two"}, {"headers": {"x": "1"}},
        {"verify": False}, {"auth": ("user", "word")}]
    for _ in range(2):
        for number, access in enumerate(accesses):
            await ask(f"access {number}", url=relay.url, **access).read()
    await calls_ended()
    assert call_connections(relay) == len(accesses)
    for number, access in enumerate(accesses):
        token = access.get("api_key")
        expected = f"Bearer {token}" if token else None
        for entry in space.log("asked", prompt=f"access {number}"):
            assert entry["headers"].get("authorization") == expected


async def test_a_proxy_that_appears_in_the_environment_later(space, monkeypatch):
    await ask("direct", url=space.url).read()
    await calls_ended()
    with HttpProxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert await ask("by proxy", url=space.url).read() == "You asked: by proxy"
        assert proxy.targets


class Cookies(Relay):
    """Sets one cookie with the config, and another value of it with the question's response.

    ``sent`` has the path of each request and its cookie headers.
    """

    def __init__(self, target):
        super().__init__(target)
        self.sent = []

    def handle(self, client):
        head = read_head(client)
        path = head.split(b" ")[1].split(b"?")[0].decode().removeprefix("/gradio_api")
        lines = head.decode("latin-1").split("\r\n")
        self.sent.append((path, *(line for line in lines if line.lower().startswith("cookie:"))))
        values = {"/config": b"1", "/queue/join": b"2"}

        def down(data):
            if path in values:
                return add_header(data, b"set-cookie: replica=%b; path=/" % values[path])
            return data

        self.forward(client, head, ("127.0.0.1", self.target), down)


async def test_a_cookie_that_is_set_twice(start_space):
    with start_space() as space, Cookies(space.port) as relay:
        for _ in range(2):
            await ask("cookie", url=relay.url).read()
        sent = [cookies for path, *cookies in relay.sent if path.endswith(("/join", "/data"))]
    assert sent == [["Cookie: replica=1"], ["Cookie: replica=2"]] * 2


async def test_a_stream_without_an_end_delays_no_call(relay, monkeypatch):
    """The answer is complete although the Space does not close its stream."""
    set_bounds(monkeypatch, drain_timeout=0.3)
    relay.down = lambda data: data.partition(b'data: {"msg":"close_stream"')[0]
    start = time.monotonic()
    assert await ask("no end", url=relay.url).read() == "You asked: no end"
    assert time.monotonic() - start < 5
    await calls_ended()
    relay.down = lambda data: data
    assert await ask("after", url=relay.url).read() == "You asked: after"


seen = ContextVar("seen", default="nothing")


async def test_the_thread_of_a_call_has_the_callers_context(provider):
    class Shown:
        def _repr_png_(self):
            found.append(seen.get())
            return PNG

    found = []
    seen.set("the caller's")
    await provider.ask("context", Shown()).read()
    assert found == ["the caller's"]


# Forked processes


def in_a_child(run):
    """Run a function in a forked child process. Return its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    results = []
    wait_until(lambda: results.append(os.waitpid(pid, os.WNOHANG)) or results[-1][0] == pid, 30)
    return os.waitstatus_to_exitcode(results[-1][1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("secure", [False, True])
def test_a_fork_while_calls_are_running(start_space, certificate, secure):
    with start_space(*(["--certificate", *certificate] if secure else [])) as space:
        options = {"url": space.url, "verify": False}
        assert list(ask("warm", **options).iterate())
        prompts = [script(*[f"{number} ", 0.05] * 60, f"{number} done") for number in range(5)]
        streams = [ask(prompt, **options) for prompt in prompts]
        chunks = [stream.iterate() for stream in streams]
        for each in chunks:
            next(each)
        ends = []

        def ask_busy():
            ends.append("".join(ask("busy", **options).iterate()))

        busy = threading.Thread(target=ask_busy)
        busy.start()

        def child():
            assert "".join(ask("in the child", **options).iterate()) == "You asked: in the child"
            with pytest.raises(ResponseError, match="forked process"):
                list(chunks[0])
            start = time.monotonic()
            for stream, each in zip(streams, chunks):
                stream.cancel()
                each.close()
            assert time.monotonic() - start < 1
            del streams[:]
            gc.collect()

        assert in_a_child(child) == 0
        busy.join()
        assert ends == ["You asked: busy"]
        for number, (stream, each) in enumerate(zip(streams, chunks)):
            list(each)
            assert stream.text == f"{number} done"
        assert len(space.log("finished")) == 8


async def test_no_request_is_sent_again_after_a_timeout(relay, space):
    """The Space is slow. Its connection was not closed."""
    await ask("warm", url=relay.url).read()
    await calls_ended()

    def stall_at_join(data):
        if b"/queue/join" in data:
            relay.stalled.set()
            relay.wait()
        return data

    relay.up = stall_at_join
    with pytest.raises(ResponseTimeoutError):
        await ask("slow", url=relay.url, read_timeout=0.3, max_retries=0).read()
    relay.stalled.clear()
    assert relay.count("/queue/join") == 2


async def test_a_heartbeats_connection_is_never_kept(relay, space):
    """The Space answers it in full, and a call that took it would miss a restart."""
    relay.up = lambda data: data.replace(b"/heartbeat/", b"/nothing-of-it/")
    await ask("no heartbeat", url=relay.url).read()
    await calls_ended()
    assert len(sockets_to(relay.port)) == 1


async def test_a_stream_that_was_made_before_a_fork_can_be_read_in_the_child(space):
    stream = ask("made before", url=space.url)

    def child():
        assert "".join(stream.iterate()) == "You asked: made before"

    assert in_a_child(child) == 0
    stream.cancel()
