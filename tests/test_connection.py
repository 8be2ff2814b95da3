"""A connection is kept for the next call, and no call disturbs another."""

import gc
import os
import signal
import threading
import time
import tracemalloc
from contextlib import suppress
from contextvars import ContextVar

import anyio
import pytest
from conftest import (
    BOUND, PNG, calls_ended, failure, script, sockets_to, wait_until, wait_until_async,
)
from inside import Clock, close_idle, forget_info, set_bounds, slow_down_ends
from network import HttpProxy, SocksProxy, TlsRelay, add_header

from qvq_wrapper import ResponseError, ResponseTimeoutError, SpaceConnectionError, ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


async def test_calls_one_after_the_other_share_a_connection(relay, space):
    for number in range(3):
        answer = await ask(f"number {number}", PNG, url=relay.url).read()
        assert answer == f"You asked: number {number}"
        await calls_ended()  # or the next call might not find the connection yet
    assert relay.call_connections == 1 and len(sockets_to(relay.port)) == 1
    paths = ("/config", "/info", "/app_id", "/queue/join")
    assert [relay.count(path) for path in paths] == [1, 1, 0, 3]
    # A heartbeat for each, and so the Space forgets each session.
    assert len({line for line in relay.requests if "/heartbeat/" in line}) == 3
    space.require_gradio(5, 50)
    await space.wait_log("unloaded", session=space.seen("number 0")["session"])


async def test_a_connection_that_waits_holds_little_memory(relay, tmp_path):
    """httpcore asks for 64 kB at each read, and Python holds that much until the first byte."""
    over = tmp_path / "over"
    tracemalloc.start()
    try:
        async with ask(script("a", {"until": str(over)}), url=relay.url) as stream:
            assert await anext(stream) == "a"
            backend = tracemalloc.Filter(True, "*/bridge/wire.py")
            found = tracemalloc.take_snapshot().filter_traces([backend])
            assert sum(each.size for each in found.statistics("filename")) < 4096
    finally:
        tracemalloc.stop()
        over.touch()


async def test_without_keep_alive_each_request_has_a_connection(relay):
    for _ in range(2):
        stream = ask("closed", url=relay.url, headers={"Connection": "close"})
        assert await stream.read() == "You asked: closed"
    await calls_ended()
    assert relay.connections == len(relay.requests) and relay.count("/queue/join") == 2
    assert relay.count("/app_id") == 1  # only a kept connection would show a restart


async def test_ending_a_finished_answer_does_not_touch_the_next(relay):
    for how in ("cancel", "aclose", "forget"):
        first = ask("first", url=relay.url)
        assert await first.read() == "You asked: first"
        await calls_ended()
        async with ask(script("a", *["", 0.02] * 5, "the next"), url=relay.url) as second:
            await anext(second)
            if how == "cancel":
                first.cancel()
            elif how == "aclose":
                await first.aclose()
            del first
            gc.collect()
            assert await second.read() == "the next"
        await calls_ended()
    assert relay.call_connections == 1


async def test_leaving_right_after_the_end_keeps_the_connection(relay, monkeypatch):
    """The reader leaves while the call's thread is about to put the connection away."""
    slow_down_ends(monkeypatch)
    for step in ("an answer", {"raise": "an error"}):
        with suppress(ResponseError):
            async with ask(script(step), url=relay.url) as stream:
                await stream.read()
        await calls_ended()
    assert await ask("after", url=relay.url).read() == "You asked: after"
    assert relay.call_connections == 1


async def test_a_connection_with_unread_data_is_never_reused(relay):
    prompt = script("a", *["ab", 0.05, "abc", 0.05] * 50)
    for how in ("break", "scope", "timeout", "max_chars"):
        options = {"timeout": {"timeout": 0.5}, "max_chars": {"max_chars": 2}}.get(how, {})
        with suppress(Exception), anyio.move_on_after(0.5 if how == "scope" else BOUND):
            async with ask(prompt, url=relay.url, **options) as stream:
                async for _ in stream:
                    if how == "break":
                        break
        assert await ask(how, url=relay.url).read() == f"You asked: {how}"


async def test_the_connection_closes_while_a_request_is_on_its_way(relay, space, monkeypatch):
    """The request is sent again over a new connection, unless it is the question."""
    for path in ("/upload", "/queue/join", "/queue/data", "/login", "/app_id"):
        auth = ("user", "word") if path == "/login" else None
        options = {"url": relay.url, "max_retries": 0, "auth": auth}
        relay.behave()
        await ask("warm", **options).read()
        await calls_ended()
        if path == "/login":
            forget_info()
        set_bounds(monkeypatch, info_max_age=0 if path == "/app_id" else 1e9)
        before = relay.faults
        relay.close_at(path)
        prompt = f"on its way {path}"
        stream = ask(prompt, PNG, **options)
        if path == "/queue/join":
            error = await failure(stream)
            assert type(error) is SpaceConnectionError and error.retryable
        else:
            assert await stream.read() == f"You asked: {prompt}"
        assert relay.faults == before + 1, path
        assert len(space.log("asked", prompt=prompt)) == (path != "/queue/join")


async def test_a_proxy_that_drops_idle_connections(relay):
    for number in range(2):
        answer = await ask(f"dropped {number}", url=relay.url).read()
        assert answer == f"You asked: dropped {number}"
        await calls_ended()
        relay.cut()
    assert relay.call_connections == 2 and relay.count("/app_id") == 1


async def test_a_connection_is_kept_for_less_than_its_keep_alive_header_says(relay, monkeypatch):
    """Otherwise the server may close it just when the next question is on its way."""
    clock = Clock(monkeypatch)
    set_bounds(monkeypatch, keep=4.0)
    for said, kept in ((0, 0), (1, 0), (2, 1), (99, 4)):
        close_idle()
        relay.behave()
        relay.add_header(b"Keep-Alive: timeout=%d, max=9" % said)
        await ask("kept", url=relay.url).read()
        await calls_ended()
        assert bool(sockets_to(relay.port)) == bool(kept)
        for seconds, is_kept in ((kept - 0.1, bool(kept)), (kept + 0.1, False)):
            clock.pass_time(seconds)
            before = relay.call_connections
            await ask("later", url=relay.url).read()
            await calls_ended()
            assert (relay.call_connections == before) == is_kept


# What lies behind a response is never the next one


@pytest.fixture(params=["TCP", "TLS"])
async def server(relay, certificate, request):
    """A relay before the relay, which speaks TLS with the client."""
    async with TlsRelay(relay.port, certificate if request.param == "TLS" else None) as server:
        server.options = {
            "url": server.url, "verify": False, "max_retries": 0, "read_timeout": BOUND}
        yield server


TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BEHIND = {
    "the response again": None, "a 408": TIMEOUT, "a stray CRLF": b"\r\n", "a byte": b"x",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "much": b"x" * 100_000,
}
PLACES = [*(("/queue/join", behind) for behind in BEHIND),
          *((path, "the response again") for path in ("/config", "/info", "/queue/data"))]


@pytest.mark.parametrize("server", ["TLS"], indirect=True)
async def test_what_lies_behind_a_response_is_not_the_next(relay, server, space):
    for path, behind in PLACES:
        extra = BEHIND[behind]
        relay.behave()
        relay.change_whole(path, lambda data: data + (data if extra is None else extra))
        forget_info()
        for number in ("one", "two"):
            prompt = f"{number} {path} {behind} {server.url}"
            answer = await ask(prompt, **server.options).read()
            assert answer == f"You asked: {prompt}"
            assert len(space.log("asked", prompt=prompt)) == 1
            await calls_ended()


@pytest.mark.parametrize("server", ["TLS"], indirect=True)
async def test_what_tls_has_decrypted_is_not_the_next_response(relay, server):
    """The response ends where a read ends. What is behind it came in the same TLS record."""
    def pad(response):
        padded = add_header(response, b"x-pad: " + b"x" * (1024 - len(response) - 9))
        assert len(padded) == 1024  # what is asked for at once
        return padded + TIMEOUT

    relay.change_whole("/queue/join", pad)
    for number in ("one", "two"):
        answer = await ask(number, **server.options).read()
        assert answer == f"You asked: {number}"
        await calls_ended()


async def test_what_comes_on_an_idle_connection_is_no_response(relay, server, space):
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n" + b'{"event_id": "abc"}'
    for behind, extra in BEHIND.items():
        prompt = f"idle {behind} {server.url}"
        answer = await ask(prompt, **server.options).read()
        assert answer == f"You asked: {prompt}"
        assert len(space.log("asked", prompt=prompt)) == 1
        await calls_ended()
        server.send(extra or response)
    assert relay.call_connections == len(BEHIND)


@pytest.mark.parametrize("server", ["TLS"], indirect=True)
async def test_a_clean_connection_is_used_again(relay, server):
    """TLS 1.3 sends tickets that are no part of a response."""
    for number in range(3):
        answer = await ask(f"clean {number}", **server.options).read()
        assert answer == f"You asked: clean {number}"
        await calls_ended()
    assert relay.call_connections == 1 and set(server.versions) == {"TLSv1.3"}


async def test_a_408_that_crosses_the_question_leaves_no_job(relay, space):
    """It was sent for an idle connection. The Space has the question all the same."""
    def time_out(data):
        wait_until(lambda: space.log("asked", prompt=prompt))
        return TIMEOUT

    relay.change(time_out, "/queue/join")
    prompt = script("crossed", *["", 0.1] * 100)
    error = await failure(ask(prompt, url=relay.url))
    assert error.status_code == 408
    await space.wait_job_gone(prompt)


async def test_the_messages_of_another_question_are_no_answer(relay):
    """A relay with a faulty cache repeats an earlier answer."""
    answers = []

    def repeat(answer):
        answers.append(answer)
        return answers[0]

    relay.change_whole("/queue/data", repeat)
    assert await ask("one", url=relay.url).read() == "You asked: one"
    await calls_ended()
    error = await failure(ask("two", url=relay.url))
    assert type(error) is SpaceConnectionError and "another question" in error.message


async def test_tunnels_are_kept(secure_space, certificate, monkeypatch):
    """Also through a proxy with an https URL: the Space's own TLS is then inside the proxy's."""
    monkeypatch.setattr("certifi.where", lambda: certificate[0])  # a proxy is checked with these
    with HttpProxy() as proxy, SocksProxy() as socks, HttpProxy() as inner:
        async with TlsRelay(inner.port, certificate) as tls_proxy:
            for url in (proxy.url, f"socks5://127.0.0.1:{socks.port}", tls_proxy.url):
                for number in range(2):
                    text = f"tunnel {number}"
                    answer = await ask(text, url=secure_space.url, verify=False, proxy=url).read()
                    assert answer == f"You asked: {text}"
                    await calls_ended()
        # The two heartbeats have tunnels of their own.
        assert [len(each.targets) - 2 for each in (proxy, socks, inner)] == [1, 1, 1]


async def test_a_job_is_cancelled_through_a_slow_proxy(secure_space):
    """The request needs a new connection, which takes the proxy a second."""
    with HttpProxy() as proxy:
        prompt = script(*["a", 0.1] * 100)
        async with ask(prompt, url=secure_space.url, verify=False, proxy=proxy.url) as stream:
            await anext(stream)
            proxy.delay = 1
        await secure_space.wait_log("left", prompt=prompt)
        assert not secure_space.log("finished", prompt=prompt)


async def test_idle_connections_are_limited_and_closed_by_a_call_to_any_space(
        relay, space, monkeypatch, tmp_path):
    clock, all_are_there = Clock(monkeypatch), tmp_path / "all are there"
    prompt = script({"until": str(all_are_there)}, "many")
    async with anyio.create_task_group() as group:
        for _ in range(12):
            group.start_soon(ask(prompt, url=relay.url).read)
        await wait_until_async(lambda: len(space.log("asked", prompt=prompt)) == 12)
        all_are_there.touch()
    await calls_ended()
    assert len(sockets_to(relay.port)) == 8
    clock.pass_time(BOUND + 1)
    await ask("later", url=space.url).read()
    assert not sockets_to(relay.port)


async def test_idle_connections_of_all_spaces_are_limited(space, monkeypatch):
    set_bounds(monkeypatch, max_all_idle=3)
    before = sockets_to(space.port)
    for number in range(5):
        await ask("idle", url=space.url, headers={"x": str(number)}).read()
        await calls_ended()
    assert len(sockets_to(space.port) - before) <= 3


async def test_calls_with_different_options_share_nothing(relay, space):
    accesses = [
        {}, {"api_key": "hf_one"}, {"api_key": "hf_two"}, {"headers": {"x": "1"}},
        {"verify": False}, {"auth": ("user", "word")}]
    for number, access in enumerate(accesses):
        for _ in range(2):
            await ask(f"access {number}", url=relay.url, **access).read()
            await calls_ended()
    assert relay.call_connections == relay.count("/config") == len(accesses)
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


async def test_a_cookie_that_is_set_twice(relay):
    """A balancer before several replicas may do so. The latest counts, up to the call's end."""
    relay.add_header(b"set-cookie: replica=1; path=/", "/config")
    relay.add_header(b"set-cookie: replica=2; path=/", "/queue/join")
    for _ in range(2):
        await ask("cookie", PNG, url=relay.url).read()
        await calls_ended()
        close_idle()
    sent = [line for head in relay.heads if b"/queue/" in head or b"/upload" in head
            for line in head.split(b"\r\n") if line.startswith(b"Cookie:")]
    assert sent == [b"Cookie: replica=1", b"Cookie: replica=1", b"Cookie: replica=2"] * 2


async def test_a_stream_without_an_end_delays_no_call(relay, monkeypatch):
    """The answer is complete although the Space does not close its stream."""
    def fall_silent(data):
        kept, found, _ = data.partition(b'data: {"msg":"close_stream"')
        if found:
            relay.stalled.set()
        return kept

    set_bounds(monkeypatch, drain_timeout=0.3)
    relay.change(fall_silent, "/queue/data")
    with anyio.fail_after(BOUND):
        assert await ask("no end", url=relay.url, read_timeout=2 * BOUND).read()
        await calls_ended()
    relay.behave()
    assert await ask("after", url=relay.url).read() == "You asked: after"


async def test_no_request_is_sent_again_after_a_timeout(relay):
    """The Space is slow. Its connection was not closed."""
    await ask("warm", url=relay.url).read()
    await calls_ended()
    relay.stall_at("/queue/join")
    with pytest.raises(ResponseTimeoutError):
        await ask("slow", url=relay.url, read_timeout=0.3, max_retries=0).read()
    await wait_until_async(relay.stalled.is_set)
    relay.resume()
    await calls_ended()
    assert relay.count("/queue/join") == 2


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


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_calls_are_running(secure_space):
    space, options = secure_space, {"url": secure_space.url, "verify": False}
    assert list(ask("warm", **options).iterate())
    name = time.time_ns()
    prompts = [script(*[f"{name}", 0.05] * 30, f"{number} done") for number in range(4)]
    streams = [ask(prompt, **options) for prompt in prompts]
    chunks, ends = [stream.iterate() for stream in streams], []
    for each in chunks:
        next(each)
    busy = threading.Thread(target=lambda: ends.append("".join(ask("busy", **options).iterate())))
    busy.start()
    unread = ask(f"in the child {name}", **options)

    def child():
        assert "".join(unread.iterate()) == f"You asked: in the child {name}"
        with pytest.raises(ResponseError, match="forked process"):
            list(chunks[0])
        for stream, each in zip(streams, chunks):
            stream.cancel()
            each.close()
        del streams[:]
        gc.collect()

    assert in_a_child(child) == 0
    unread.cancel()
    busy.join()
    assert ends == ["You asked: busy"]
    for number, (stream, each) in enumerate(zip(streams, chunks)):
        list(each)
        assert stream.text == f"{number} done"
        assert len(space.log("finished", prompt=prompts[number])) == 1
    assert len(space.log("asked", prompt=f"in the child {name}")) == 1


def in_a_child(run):
    """Run a function in a forked child process. Return its exit status."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(BOUND)  # ends it, whatever it waits for
        try:
            run()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    results = []
    wait_until(lambda: results.append(os.waitpid(pid, os.WNOHANG)) or results[-1][0] == pid)
    return os.waitstatus_to_exitcode(results[-1][1])
