"""A connection is kept for the next call, and no call spoils another's."""

import gc
import os
import threading
import time
from contextlib import suppress
from contextvars import ContextVar

import anyio
import pytest
from conftest import PNG, call_threads, failure, script, sockets_to, wait_until
from network import HttpProxy, Relay, SocksProxy, read_head

from qvq_wrapper import ResponseError, ResponseTimeoutError, SpaceConnectionError, ask
from qvq_wrapper.bridge import connection as connection_module, shelf as shelf_module, space as space_module
from qvq_wrapper.bridge.shelf import shelf

pytestmark = pytest.mark.anyio
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])
CHAT = {"/queue/join", "/queue/data"}


@pytest.fixture
def relay(space):
    """A relay to the shared Space, which is new to the calls that go through it."""
    with Relay(space.port) as relay:
        yield relay


def own(relay):
    """The connections but for the heartbeats', each of which has one of its own."""
    return relay.connections - sum("/heartbeat/" in line for line in relay.requests)


async def settled():
    """The thread of the last call has put its connection on the shelf, and ended."""
    await anyio.to_thread.run_sync(lambda: wait_until(lambda: not call_threads()))


async def test_calls_one_after_the_other_share_a_connection(relay):
    for number in range(5):
        assert await ask(f"number {number}", PNG, url=relay.url).read() == f"You asked: number {number}"
        await settled()  # on a busy machine the next call might not find it yet
    assert own(relay) == 1
    assert [relay.asked(path) for path in ("/config", "/info", "/app_id", "/queue/join")] == [1, 1, 0, 5]


async def test_without_keep_alive_each_request_has_a_connection(relay):
    for _ in range(2):
        assert await ask("closed", url=relay.url, headers={"Connection": "close"}).read() == "You asked: closed"
    await settled()
    assert relay.connections == len(relay.requests) and relay.asked("/queue/join") == 2
    assert relay.asked("/app_id") == 1  # nothing would tell of a restart


async def test_a_chat_interface_costs_one_connection_more(relay):
    for _ in range(3):
        await ask("heart", url=relay.url).read()
        await settled()
    beats = [line for line in relay.requests if "/heartbeat/" in line]
    assert relay.connections == 1 + len(beats) and len(set(beats)) == 3


@on_asyncio
async def test_the_space_is_told_that_a_session_is_over(start_space):
    with start_space() as space:
        space.needs(5, 50)
        await ask("over", url=space.url).read()
        await space.wait_log("unloaded")


@pytest.mark.parametrize("how", ["cancel", "aclose", "forget"])
async def test_what_is_done_to_a_finished_answer_does_not_touch_the_next(relay, how):
    first = ask("first", url=relay.url)
    assert await first.read() == "You asked: first"
    async with ask(script("a", *["", 0.05] * 10, "the next"), url=relay.url) as second:
        await anext(second)
        if how == "cancel":
            first._call.cancel(now=True)
        elif how == "aclose":
            await first.aclose()
        del first
        gc.collect()
        assert await second.read() == "the next"
    await settled()
    assert own(relay) == 1


@pytest.mark.parametrize("how", ["break", "scope", "timeout", "max_chars"])
async def test_a_half_read_connection_is_never_handed_on(relay, how):
    prompt = script("a", *["ab", 0.05, "abc", 0.05] * 50)
    with suppress(Exception), anyio.move_on_after(0.5 if how == "scope" else 30):
        options = {"timeout": {"timeout": 0.5}, "max_chars": {"max_chars": 2}}.get(how, {})
        async with ask(prompt, url=relay.url, **options) as stream:
            async for _ in stream:
                if how == "break":
                    break
    for number in range(3):
        assert await ask(f"after {number}", url=relay.url).read() == f"You asked: after {number}"


async def test_an_answer_that_failed_gives_its_connection_on(relay):
    await failure(ask(script("some", {"raise": "too dark"}), url=relay.url))
    await settled()
    assert await ask("after", url=relay.url).read() == "You asked: after"
    await settled()
    assert own(relay) == 1


@pytest.mark.parametrize("path", ["/app_id", "/upload", "/queue/join", "/queue/data", "/login"])
async def test_a_connection_that_was_closed_while_a_request_is_on_its_way(relay, space, monkeypatch, path):
    """All but the question goes again over a new one."""
    options = {"url": relay.url, "max_retries": 0, "auth": ("user", "word") if path == "/login" else None}
    await ask("warm", **options).read()
    await settled()
    if path == "/app_id":
        monkeypatch.setattr(space_module, "INFO_MAX_AGE", 0)
    if path == "/login":
        next(known for known in space_module._spaces.values() if known.access.url.startswith(relay.url))._info = None

    def close_once(data):
        if path.encode() in data.split(b"\r\n", 1)[0]:
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


async def test_a_proxy_that_drops_idle_connections(relay):
    for number in range(3):
        assert await ask(f"dropped {number}", url=relay.url).read() == f"You asked: dropped {number}"
        await settled()
        relay.cut()
        await anyio.sleep(0.05)
    assert own(relay) == 3 and relay.asked("/app_id") == 2


async def test_what_keep_alive_says_is_heeded(relay):
    relay.down = lambda data: data.replace(b"\r\n", b"\r\nKeep-Alive: timeout=1, max=9\r\n", 1) \
        if data.startswith(b"HTTP/1.1") else data
    await ask("kept a second", url=relay.url).read()
    await settled()
    assert sockets_to(relay.port)
    await anyio.to_thread.run_sync(lambda: wait_until(lambda: not sockets_to(relay.port), 2))


@on_asyncio
async def test_tunnels_are_kept(start_space, certificate, space):
    with start_space("--certificate", *certificate) as secure, HttpProxy() as proxy, SocksProxy() as socks:
        for number in range(3):
            text = f"tunnel {number}"
            assert await ask(text, url=secure.url, verify=False, proxy=proxy.url).read() == f"You asked: {text}"
            assert await ask(text, url=secure.url, verify=False,
                             proxy=f"socks5://127.0.0.1:{socks.port}").read() == f"You asked: {text}"
        await settled()
        assert len(proxy.targets) - 3 == len(socks.targets) - 3 == 1  # and three heartbeats


@on_asyncio
async def test_a_cancel_through_a_slow_proxy(start_space, certificate):
    """The answer's own connection is cut, and a new one takes the proxy a second."""
    with start_space("--certificate", *certificate) as space, HttpProxy() as proxy:
        prompt = script(*["a", 0.1] * 100)
        async with ask(prompt, url=space.url, verify=False, proxy=proxy.url) as stream:
            await anext(stream)
            proxy.delay = 1
        await space.wait_log("left", prompt=prompt)
        assert not space.log("finished", prompt=prompt)


@on_asyncio
async def test_a_hundred_at_once_then_silence(space):
    shelf.close_idle()
    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask(f"hundred {number}", url=space.url).read)
    await settled()
    assert len(shelf._idle) == shelf_module.MAX_IDLE
    wait_until(lambda: not sockets_to(space.port), 5)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("qvq_wrapper")], 1)


async def test_no_access_uses_the_connection_of_another(relay, space):
    accesses = [{}, {"api_key": "hf_one"}, {"api_key": "hf_two"}, {"headers": {"x": "1"}}, {"verify": False},
                {"auth": ("user", "word")}]
    for _ in range(2):
        for number, access in enumerate(accesses):
            await ask(f"access {number}", url=relay.url, **access).read()
    await settled()
    assert own(relay) == len(accesses)
    for number, access in enumerate(accesses):
        for seen in space.log("asked", prompt=f"access {number}"):
            token = access.get("api_key")
            assert seen["headers"].get("authorization") == (f"Bearer {token}" if token else None)


async def test_a_proxy_named_by_the_environment_later(space, monkeypatch):
    await ask("direct", url=space.url).read()
    await settled()
    with HttpProxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert await ask("by proxy", url=space.url).read() == "You asked: by proxy"
        assert proxy.targets


class Cookies(Relay):
    """Sets a cookie at the config and another of that name at the question; writes down what comes back."""

    def __init__(self, target):
        super().__init__(target)
        self.sent = []

    def handle(self, client):
        from network import connection

        head = read_head(client)
        path = head.split(b" ")[1].split(b"?")[0].decode()
        lines = [line for line in head.decode("latin-1").split("\r\n") if line.lower().startswith("cookie:")]
        self.sent.append((path, *lines))
        value = {"/config": b"replica=1; path=/", "/gradio_api/queue/join": b"replica=2; path=/"}.get(path)
        server = connection(("127.0.0.1", self.target))
        server.sendall(head.replace(b"keep-alive", b"close", 1))
        self.pump(client, server, lambda data: data.replace(
            b"\r\n", b"\r\nset-cookie: %b\r\n" % value, 1) if value and data.startswith(b"HTTP/1.1") else data)


@on_asyncio
async def test_a_cookie_of_the_same_name_twice(start_space):
    with start_space() as space, Cookies(space.port) as relay:
        for _ in range(2):
            await ask("cookie", url=relay.url).read()
        sent = [cookies for path, *cookies in relay.sent if path.endswith(("/join", "/data"))]
    assert sent == [["Cookie: replica=1"], ["Cookie: replica=2"]] * 2


async def test_a_stream_that_does_not_end_is_cut_and_holds_up_nobody(relay, monkeypatch):
    """The answer is reported although the Space does not close its stream."""
    monkeypatch.setattr(connection_module, "DRAIN_TIMEOUT", 0.3)
    relay.down = lambda data: data.partition(b'data: {"msg":"close_stream"')[0] or b"" \
        if b'"close_stream"' in data else data
    start = time.monotonic()
    assert await ask("no end", url=relay.url).read() == "You asked: no end"
    assert time.monotonic() - start < 5
    await settled()
    relay.down = lambda data: data
    assert await ask("after", url=relay.url).read() == "You asked: after"


seen = ContextVar("seen", default="nothing")


async def test_a_calls_thread_has_the_callers_context(provider):
    class Shown:
        def _repr_png_(self):
            found.append(seen.get())
            return PNG

    found = []
    seen.set("the caller's")
    await provider.ask("context", Shown()).read()
    assert found == ["the caller's"]


# fork


def in_a_child(run):
    """Run a function in a forked child; returns its exit status within a bound."""
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
def test_fork_with_calls_under_way(start_space, certificate, secure):
    with start_space(*(["--certificate", *certificate] if secure else [])) as space:
        options = {"url": space.url, "verify": False}
        assert list(ask("warm", **options).iterate())
        prompts = [script(*[f"{number} ", 0.05] * 60, f"{number} done") for number in range(5)]
        streams = [ask(prompt, **options) for prompt in prompts]
        chunks = [stream.iterate() for stream in streams]
        for each in chunks:
            next(each)
        ends = []
        busy = threading.Thread(target=lambda: ends.append("".join(ask("busy", **options).iterate())))
        busy.start()

        def child():
            assert "".join(ask("in the child", **options).iterate()) == "You asked: in the child"
            with pytest.raises(ResponseError, match="forked process"):
                list(chunks[0])
            start = time.monotonic()
            for stream, each in zip(streams, chunks):
                stream._call.cancel(now=True)
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


async def test_timeout_is_no_sign_of_a_stale_connection(relay, space):
    """A Space that is slow to answer is not asked again."""
    await ask("warm", url=relay.url).read()
    await settled()
    relay.up = lambda data: data if b"/queue/join" not in data else relay.stalled.set() or relay.wait() or data
    with pytest.raises(ResponseTimeoutError):
        await ask("slow", url=relay.url, read_timeout=0.3, max_retries=0).read()
    relay.stalled.clear()
    assert relay.asked("/queue/join") == 2
