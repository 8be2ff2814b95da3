"""A hostile Space, a bad network and a failing machine: bounded, and one error at most."""

import gzip
import json
import math
import os
import random
import re
import signal
import socket
import sys
import threading
import traceback
import warnings
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict

import anyio
import httpx
import pytest
from conftest import BOUND, HERE, PNG, calls_ended, free_port, wait_until
from hostile import (
    HUGE, RIGHT, BoundedClient, HostileSpace, Reply, as_json, completed, failed, generating,
    messages_of, paths_in, replaced,
)
from inside import set_bounds
from network import Relay

from qvq_wrapper import (
    AuthenticationError, Qwen_QVQ_72B, ResponseError, SpaceConnectionError, SpaceUnavailableError,
    ask, endpoints,
)
from qvq_wrapper.printing import print_endpoints

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]
shares = pytest.mark.parametrize("share", [
    "some", pytest.param("all", marks=pytest.mark.chaos)])
FINE = [0, 0.5, 3, 2**70]
WRONG = ["x", "", "\ud800", "\x1b[31m", [], [1], [[]], {}, {"a": 1}, math.nan, -1, HUGE, None, True]
VALUES = [*WRONG, *FINE]


@pytest.fixture(scope="module")
def bounded():
    """A client whose processes may take 1 GiB more than they have after the import."""
    client = BoundedClient()
    yield client
    client.close()


@pytest.fixture(scope="module")
def bombs(template):
    """A hostile Space that the tests of this module share."""
    with HostileSpace(*template) as hostile:
        yield hostile


@pytest.fixture
def bomb(bombs, template):
    """The shared hostile Space, with everything put back."""
    bombs.config, bombs.info = template
    bombs.messages, bombs.replies = messages_of(RIGHT[:3], RIGHT), {}
    bombs.requests.clear()
    return bombs


_numbers = iter(range(10**9))


def anew():
    """Return options that make a call take nothing over from an earlier one."""
    return {"headers": {"x-case": str(next(_numbers))}, "max_retries": 0}


def call(url, prompt="hostile", **options):
    """Ask in this thread. Return the text or the ResponseError. Fail if only ``timeout`` ends it.

    What bounds a call should be another limit, such as ``read_timeout``.
    """
    stream = ask(prompt, url=url, **{**anew(), "timeout": BOUND, **options})
    try:
        for _ in stream.iterate():
            pass
        return stream.text
    except ResponseError as error:
        assert error.__cause__ is None and error.__context__ is None
        assert error.text == stream.text
        assert f"within timeout={BOUND}" not in str(error)
        return error


# What a Space makes us write

NASTY = "\x1b]0;title\x07\x1b[31m"
OTHER = {"api_name": NASTY, "id": 77, "cancels": [0], "js": NASTY}
WORDS = {  # what a Space says: a part of its config, its messages, or a reply
    "an old version": {"config": {"version": "4.1"}},
    "an odd version": {"config": {"version": "4.45\x1b[31m"}},
    "odd names": {"config": {"version": "4.44.1"}, "endpoint": OTHER},
    "a bad escape": {"messages": [failed(r"'bad \d'")]},
    "a cancel that fails": {
        "messages": [generating("some"), failed(NASTY)], "/cancel": Reply(NASTY.encode(), 404)},
    "log lines": {"messages": [
        {"msg": "log", "log": NASTY, "level": NASTY, "title": NASTY}, *messages_of(NASTY)]},
    "an HTTP error": {"/config": Reply(
        f"<title>{NASTY}</title>".encode(), 500, [("Retry-After", NASTY.encode().hex())])},
    "an odd event_id": {"/queue/join": Reply(as_json({"event_id": NASTY}))},
}


async def test_a_space_writes_nothing_and_warns_of_nothing(bomb, bounded):
    config, right = bomb.config, bomb.messages
    for name, said in WORDS.items():
        first = config["dependencies"][0]
        more = [first | said["endpoint"]] if "endpoint" in said else []
        bomb.config = config | said.get("config", {}) | {"dependencies": [first, *more]}
        bomb.messages = said.get("messages", right)
        bomb.replies = {path: reply for path, reply in said.items() if path.startswith("/")}
        for filters in ("always", "error"):
            found = await anyio.to_thread.run_sync(lambda: bounded.ask(
                url=bomb.url, filters=filters, timeout=BOUND, **anew()))
            assert found["printed"] == "" and "Warning" not in found["words"], name
            assert found["error"] in (
                None, "ResponseError", "SpaceUnavailableError", "SpaceConnectionError"), name
            assert found["words"].isprintable(), name


async def test_a_cancel_that_fails_does_not_replace_the_error(hostile):
    hostile.messages = [generating("some"), {"msg": "unexpected_error", "message": "the truth"}]
    replies = [Reply(b'{"detail": "the clean-up"}', each) for each in (404, 401, 429, 500)]
    for number, reply in enumerate([*replies, lambda handler: handler.drip(pause=0.5)]):
        hostile.replies = {"/cancel": reply}
        error = call(hostile.url)
        assert "the truth" in str(error) and error.text == "some"
        assert hostile.count("/cancel") == number + 1


# What a Space makes us hold and compute

MEGABYTE = b"x" * 2**20


def event(*pieces):
    """Return a message in pieces. The event is as long as they are."""
    return [b"data: ", *pieces, b"\n\n"]


def with_lists(known, lists):
    """Return the reply with what is known of the Space, and so many empty lists in front."""
    rest = json.dumps(known)[1:].encode()
    return Reply(b'{"more":[[]' + b",[]" * lists + b"]," + rest)


def many_headers(handler):
    handler.drip(b"HTTP/1.1 200 OK\r\n", *[b"x: " + MEGABYTE + b"\r\n"] * 500, pause=0)


def many_cookies(handler):
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        handler.wfile.write(b"Set-Cookie: c%d=%b\r\n" % (number, b"y" * 1000))
    handler.wfile.write(b"\r\n")


FAILED = b'{"msg":"process_completed","success":false,"output":{"error":"'
GENERATING = b'{"msg":"process_generating","success":true,"output":{"data":'
COMPLETED = b'{"msg":"process_completed","success":true,"output":{"data":["end'
PACKED = gzip.compress(b" " * 2**27, 1), [("Content-Encoding", "gzip")]
END = completed("end")
BOMBS = {
    # The messages of an answer. Their words are looked at, copied, and read as JSON.
    "a quoted error": lambda: event(FAILED, b"'", *[MEGABYTE] * 40, b'\'"}}'),
    "an error of tags": lambda: event(FAILED, *[b"<a" * 2**19] * 40, b'"}}'),
    "a million edits": lambda: [generating("x" * 2**22), *event(
        GENERATING, b"[[", b",".join([b'["append",[],""]'] * 10**6), b"]]}}"), END],
    # gradio_client copies a whole output for each message, however small that is.
    "often copied": lambda: [
        generating("", [[] for _ in range(500_000)]), *[generating([], [])] * 50, END],
    "a second output": lambda: [
        generating("", ""), *[generating([], [["append", [], "x" * 10**6]])] * 3000, END],
    "logs": lambda: [*({"msg": "log", "level": "info", "log": f"{number}" + "x" * 10**6}
                       for number in range(1200)), END],
    "a message of lists": lambda: event(COMPLETED, b'",[[]', *[b",[]" * 2**20] * 15, b"]]}}"),
    # One character that takes four bytes makes all of a text take four bytes each.
    "a long text": lambda: event(COMPLETED, *[MEGABYTE] * 46, "\U0001f600".encode(), b'"]}}'),
    "many events": lambda: [b"data: {}\n\n" * 100_000] * 5,
    "no end of a line": lambda: [MEGABYTE] * 3000,
    "a packed answer": lambda: ("/queue/data", Reply(PACKED[0], 200, PACKED[1])),
    # Other replies
    "a config of lists": lambda config: ("/config", with_lists(config, 15_000_000)),
    "a config that is as large as it may be":
        lambda config: ("/config", with_lists(config, 2_700_000)),
    "a packed config": lambda: ("/config", Reply(PACKED[0], 200, PACKED[1])),
    "a packed error": lambda: ("/queue/join", Reply(PACKED[0], 500, PACKED[1])),
    "an endless response": lambda: ("/queue/join", Reply(iter([MEGABYTE] * 3000))),
    "an invalid input": lambda: (
        "/queue/join", Reply(b'{"detail": {"validation": [["' + MEGABYTE * 40 + b'"]]}}', 422)),
    "many headers": lambda: ("/config", many_headers),
    "many cookies": lambda: ("/config", many_cookies),
}


@pytest.mark.chaos
@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_takes_neither_memory_nor_time(bomb, bounded, name):
    make = BOMBS[name]
    made = make(bomb.config) if make.__code__.co_argcount else make()
    if isinstance(made, tuple):
        bomb.replies = dict([made])
    else:
        bomb.messages = made
    found = await anyio.to_thread.run_sync(
        lambda: bounded.ask(url=bomb.url, timeout=3, max_retries=2))
    assert found["error"] not in ("died", "hangs") and found["worked"] < 5, found
    assert found["printed"] == "" and len(found["words"]) < 3000
    assert found["error"] in (
        None, "ResponseError", "ResponseTimeoutError", "SpaceConnectionError",
        "SpaceUnavailableError"), found
    assert "memory" not in found["words"]


async def test_an_error_page_takes_little_work(bomb, bounded):
    """An expression may look for an end from each beginning. A charset may be slow, or unknown."""
    replies = [("/config", Reply(page * 10**6, 500), "SpaceUnavailableError")
               for page in (b"<title>", b"<a", b'{"detail":', b"<title>&lt;")]
    for charset in ("punycode", "unicode_escape", "base64", "no"):
        kind = [("Content-Type", f"text/x; charset={charset}")]
        replies.append(("/queue/join", Reply(b"a-" + b"z9" * 2**22, 429, kind), "RateLimitError"))
    for path, reply, error in replies:
        bomb.replies = {path: reply}
        found = await anyio.to_thread.run_sync(
            lambda: bounded.ask(url=bomb.url, timeout=BOUND, **anew()))
        assert found["error"] == error and found["worked"] < 2, (reply.body[:10], found)


EDITS = {
    "append": [["append", [], "x" * 50_000]],
    "a dict": [{"append": 1, "": 1, "x" * 50_000: 1}],  # gradio_client unpacks its three keys
    "a text as path": [["append", "", "x" * 50_000]],
    "nested": [["append", [0], "x" * 50_000]],
    "add": [["add", [0], "x" * 50_000]],
}


async def test_a_second_output_that_grows_ends_the_call(hostile):
    """However an edit is written, what it adds counts."""
    for name, edits in EDITS.items():
        second = ["x"] if name in ("nested", "add") else ""
        hostile.messages = [
            generating("", second), *[generating([], edits)] * 50, completed("end", "end")]
        assert isinstance(call(hostile.url, max_chars=1000), ResponseError), name


# Wrong types

SAID = {
    "estimation": {"msg": "estimation", "rank": 2, "queue_size": 3, "rank_eta": 1.5},
    "progress": {"msg": "progress", "progress_data": [
        {"index": 1, "length": 2, "unit": "steps", "progress": 0.5, "desc": "thinking"}]},
    "log": {"msg": "log", "log": "words", "level": "info", "duration": 10, "visible": True,
            "title": "Info"},
    "process_starts": {"msg": "process_starts", "eta": 0.5},
    "generating": generating(RIGHT[:5]),
    "edit": generating([["append", [], RIGHT[5:9]]]),
    "completed": completed(RIGHT),
    "failed": failed("The app's own error"),
}
NAMES = list(SAID)


def check_statuses(statuses):
    """Every status is what JSON, arithmetic and a terminal can take."""
    for status in statuses:
        json.dumps(asdict(status), allow_nan=False).encode()
        (status.log or "").encode()
        assert all(isinstance(word, str) for word in status.describe())
        for value in (status.position, status.queue_size, status.eta, status.progress):
            assert value is None or not isinstance(value, bool) and math.isfinite(value)
        assert status.progress is None or 0 <= status.progress <= 1


def sample(cases, share):
    """Return some of the cases, always the same, or all of them."""
    cases = list(cases)
    return cases if share == "all" else random.Random("fair").sample(cases, 60)


@shares
async def test_a_message_with_a_wrong_type(hostile, share):
    """A field of a message has a wrong value."""
    wrong = []
    cases = [(name, path, value) for name in NAMES for path in paths_in(SAID[name])
             for value in VALUES]
    for name, path, value in sample(cases, share):
        message = replaced(SAID[name], path, value)
        messages = list(SAID.values())[:-1]
        if name == "failed":
            hostile.messages = [SAID["generating"], message]
        else:
            messages[NAMES.index(name)] = message
            hostile.messages = messages
        problem = find_problem(hostile, name in ("generating", "edit", "completed", "failed"))
        if problem:
            wrong.append((name, path, value, problem))
    assert not wrong


def find_problem(hostile, any_text=False, **options):
    """Ask. Return what is wrong with the outcome, or None."""
    statuses = []
    try:
        found = call(hostile.url, on_status=statuses.append, read_timeout=2, **options)
        check_statuses(statuses)
        str(found).encode("utf-8", "strict" if isinstance(found, Exception) else "surrogatepass")
    except BaseException as error:
        return repr(error)
    if isinstance(found, str) and found != RIGHT and not any_text:
        return found
    return None


@shares
@pytest.mark.parametrize("which", ["config", "info"])
async def test_a_config_or_info_with_a_wrong_type(hostile, which, share):
    """A field of what a Space says of itself has a wrong value."""
    said, wrong = getattr(hostile, which), []
    paths = [path for path in paths_in(said, 8) if not _is_display(path)]
    for path, value in sample([(path, value) for path in paths for value in VALUES], share):
        setattr(hostile, which, replaced(said, path, value))
        problem = find_problem(hostile) or find_problem_of_a_listing(hostile)
        if problem:
            wrong.append((path, value, problem))
    assert not wrong


def find_problem_of_a_listing(hostile):
    """Print what the Space offers. Return what is wrong with the outcome, or None."""
    try:
        offers = endpoints(hostile.url, headers=anew()["headers"], read_timeout=2)
        print_endpoints(offers, as_json=False)
        print_endpoints(offers, as_json=True)
    except ResponseError:
        return None
    except BaseException as error:
        return repr(error)


def _is_display(path):
    """Whether nothing but a page looks at this part of a config."""
    return "props" in path[2:-1] or path[0] in {"css", "js", "head", "layout", "i18n_translations"}


@shares
async def test_a_reply_of_a_wrong_type(hostile, monkeypatch, share):
    set_bounds(monkeypatch, info_max_age=0)
    wrong = []
    bodies = [as_json(value) for value in VALUES] + [b"", b"\xff\xfe", b"{", b"[" * 100_000]
    paths = "/config", "/info", "/upload", "/queue/join", "/queue/data", "/cancel", "/app_id"
    for path, body in sample([(path, body) for path in paths for body in bodies], share):
        hostile.replies = {path: Reply(body)}
        problem = find_problem(hostile, image=PNG)
        if problem:
            wrong.append((path, body[:50], problem))
    assert not wrong


# What keeps us out


async def test_a_session_that_has_ended_logs_in_once_more(login_space, monkeypatch):
    with Relay(login_space.port) as relay:
        options = {"url": relay.url, "auth": ("user", "word"), "max_retries": 0}
        for path in ("/queue/join", "/upload", "/queue/data", "/app_id"):
            assert await ask("before", **options).read() == "You asked: before"
            set_bounds(monkeypatch, info_max_age=0 if path == "/app_id" else 1e9)
            relay.answer(path, 401)
            before = relay.count("/login"), relay.faults
            stream = ask(f"after {path}", PNG, **options)
            if path == "/queue/data":
                with pytest.raises(AuthenticationError):  # the Space has a job
                    await stream.read()
            else:
                assert await stream.read() == f"You asked: after {path}"
                assert (relay.count("/login"), relay.faults) == (before[0] + 1, before[1] + 1)
            assert len(login_space.log("asked", prompt=f"after {path}")) <= 1
            assert await ask("at last", **options).read() == "You asked: at last"


async def test_after_a_logout_elsewhere_the_next_call_works(login_space):
    with Relay(login_space.port) as relay:
        options = {"url": relay.url, "auth": ("user", "word"), "max_retries": 0}
        assert await ask("before", **options).read() == "You asked: before"
        cookies = re.findall(rb"\r\nCookie: (.*?)(?:\r|$)", relay.heads[-1])[0].decode()
        with httpx.Client(headers={"Cookie": cookies}, timeout=BOUND) as client:
            answer = client.get(f"{login_space.url}/logout")
            if answer.status_code == 404:
                client.get(f"{login_space.url}/gradio_api/logout")
            client.get(f"{login_space.url}/logout?all_session=true")
        for number in range(2):
            text = await ask(f"after {number}", PNG, **options).read()
            assert text == f"You asked: after {number}"
        assert relay.count("/login") == 2  # the logout did end the session


async def test_an_info_that_has_the_endpoint_only_later(hostile):
    """A Space that is being built may know its endpoints later than its config."""
    without = {"named_endpoints": {}, "unnamed_endpoints": {}}
    hostile.replies = {"/info": [Reply(as_json(without)), Reply(as_json(hostile.info))]}
    options = {"url": hostile.url, "max_retries": 0}
    with suppress(SpaceUnavailableError):
        await ask("first", **options).read()
    assert await ask("second", **options).read() == RIGHT
    assert hostile.count("/config") == 2


COOKIES = [
    "name=wört; path=/", "wört=1; path=/", "old=1; Max-Age=0; path=/", "odd=\x7f\x01; path=/",
    "=; path=/", "other=1; domain=example.com", "last=1; Max-Age=99999999999999999", "",
    "name=\u65e5\u672c", "no-value", "c=1; version=x; port=y"]


async def test_an_odd_cookie_keeps_nobody_out(hostile):
    said = as_json(hostile.config)
    for cookie in COOKIES:
        def answer(handler):
            handler.wfile.write(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (cookie.encode(), len(said), said))

        hostile.replies = {"/config": answer}
        assert await ask("cookie", PNG, url=hostile.url, **anew()).read() == RIGHT, cookie


# Secrets

TOKEN = "hf_" + "s3cr3t" * 5


def _raising(name, error):
    """Return a class whose objects raise the error when this method is used."""
    def fail(*arguments):
        raise error

    return type("Raising", (), {name: fail})


PICTURES = [
    _raising("__getattr__", RuntimeError("no property")),
    _raising("read", RuntimeError("no reader")),
    _raising("__fspath__", ZeroDivisionError("no path")),
    _raising("read", KeyboardInterrupt()),
    object,
]


class _RaisingMapping(dict):
    def get(self, *arguments):
        raise RuntimeError("no mapping")

    __getitem__ = items = keys = get


def holds_token(error):
    """Return the frames of an exception and of those it is chained to that hold the token."""
    found, pending, seen = [], [error], set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        pending += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename != __file__ and TOKEN in str(
                    [_deeply(value) for value in frame.f_locals.values()]):
                found.append(frame.f_code.co_name)
        assert TOKEN not in repr(each) + str(each) + str(vars(each))
    return found


def _deeply(value, depth=4):
    """Return the repr of a value and of what it holds."""
    said, held = "", []
    with suppress(BaseException):
        said = repr(value)
    if depth and not isinstance(value, type):
        with suppress(BaseException):
            held += value.values() if isinstance(value, dict) else vars(value).values()
        if isinstance(value, (list, tuple)):
            held += value
    return said + "".join(_deeply(each, depth - 1) for each in held)


CALLS = {
    "ask": lambda image, **options: ask("secret", image, **options),
    "create_async_generator": lambda image, **options: Qwen_QVQ_72B.create_async_generator(
        "", [{"role": "user", "content": "secret"}], [image], **options),
    "create_completion": lambda image, **options: list(Qwen_QVQ_72B.create_completion(
        "", [{"role": "user", "content": "secret"}], [image], **options)),
    "create_async": lambda image, **options: Qwen_QVQ_72B.create_async(
        "", [{"role": "user", "content": "secret"}], [image], **options),
    "messages": lambda image, **options: Qwen_QVQ_72B.create_async_generator(
        "", [_RaisingMapping(role="user", content="x")], **options),
}


async def _raised(make):
    """Call, and read what comes of it. Return the exception."""
    try:
        made = make()
        if hasattr(made, "read"):
            await made.read()
        elif hasattr(made, "__await__"):
            await made
    except BaseException as error:
        return error
    return None


async def test_no_exception_holds_the_token(hostile):
    for form in CALLS:
        for picture in PICTURES:
            error = await _raised(lambda: CALLS[form](picture(), url=hostile.url, api_key=TOKEN))
            assert error is not None and not holds_token(error), traceback.format_exception(error)
        with warnings.catch_warnings():  # one that is made an error
            warnings.simplefilter("error")
            error = await _raised(lambda: CALLS[form](
                PNG, url="http://192.0.2.1:9", api_key=TOKEN, timeout=0.2, max_retries=0))
        assert error is not None and not holds_token(error), traceback.format_exception(error)

    def on_status(status):
        raise RuntimeError("no status")

    for form in ("ask", "create_completion", "create_async"):
        error = await _raised(lambda: CALLS[form](
            PNG, url=hostile.url, api_key=TOKEN, on_status=on_status))
        assert isinstance(error, RuntimeError) and not holds_token(error), form


async def test_a_failure_in_the_thread_does_not_hold_the_token(hostile):
    for path in ("/config", "/info", "/upload", "/queue/join", "/queue/data"):
        for reply in (Reply(b"no", 500), Reply(b"no"), lambda handler: 1 / 0):
            hostile.replies = {path: reply}
            error = await _raised(lambda: ask(
                "secret", PNG, url=hostile.url, api_key=TOKEN, timeout=5, **anew()))
            assert isinstance(error, ResponseError) and not holds_token(error), path


# fork


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_the_info_is_fetched(hostile):
    arrived, go_on = threading.Event(), threading.Event()

    def hold(handler):
        arrived.set()
        assert go_on.wait(BOUND)
        handler.space.replies = {}
        handler.serve_default("/info")

    hostile.replies = {"/info": hold}
    answers = []
    busy = threading.Thread(
        target=lambda: answers.append("".join(ask("busy", url=hostile.url).iterate())))
    busy.start()
    assert arrived.wait(BOUND)
    pid = os.fork()
    if pid == 0:
        signal.alarm(BOUND)  # ends it, whatever it waits for
        # The server's threads are the parent's. It answers this process as well.
        right = False
        with suppress(BaseException):
            right = "".join(ask("child", url=hostile.url).iterate()) == RIGHT
        os._exit(0 if right else 1)
    wait_until(lambda: hostile.count("/config") >= 2 or os.waitid(
        os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    go_on.set()
    ended = []
    wait_until(lambda: ended.append(os.waitpid(pid, os.WNOHANG)) or ended[-1][0])
    busy.join(BOUND)
    assert os.waitstatus_to_exitcode(ended[-1][1]) == 0 and answers == [RIGHT]


# Connecting


@contextmanager
def dead_addresses(count):
    """Listen at so many loopback addresses, with a queue that is full: connecting never ends."""
    with ExitStack() as stack:
        port, addresses = free_port(), [f"127.0.0.{10 + number}" for number in range(count)]
        for address in addresses:
            listener = stack.enter_context(socket.create_server((address, port), backlog=0))
            listener.settimeout(1)
            for _ in range(4):
                filler = stack.enter_context(closing(socket.socket()))
                filler.setblocking(False)
                filler.connect_ex((address, port))
        yield addresses, port


@pytest.fixture
def short(monkeypatch):
    """Bound connecting by half a second."""
    set_bounds(monkeypatch, connect_timeout=0.5)


def error_of(url, **options):
    """Return the error of a call, which has to be bounded by the connect timeout."""
    error = call(url, **{"read_timeout": 2 * BOUND, **options})
    assert isinstance(error, ResponseError) and error.retryable
    return error


class DrippingProxy(Relay):
    """Each byte of a handshake comes within a bound, and the handshake never ends."""

    def __init__(self, *pieces):
        super().__init__()
        self._pieces, self._over = pieces, threading.Event()

    def handle(self, client):
        client.recv(1000)
        first, then = self._pieces
        client.sendall(first)
        while then is not None and not self._over.wait(0.2):
            client.sendall(then)

    def __exit__(self, *error):
        self._over.set()
        super().__exit__()


SILENCE = b"", b""


async def test_a_proxy_that_is_silent_or_drips(short):
    head = b"HTTP/1.1 200 OK\r\n"
    for scheme, proxy, pieces in [
        ("https", "http", SILENCE), ("http", "http", SILENCE), ("http", "socks5h", SILENCE),
        ("https", "http", (head, b"x")), ("http", "http", (head, b"x")),
        ("http", "socks5", (b"\x05\x00", b"")),
    ]:
        limits = {"read_timeout": 0.5} if scheme == proxy else {}
        with DrippingProxy(*pieces) as relay:
            error = error_of(
                f"{scheme}://127.0.0.1:9", proxy=f"{proxy}://127.0.0.1:{relay.port}", **limits)
        assert "could not be reached" in str(error) or limits


async def test_a_proxy_that_speaks_nonsense():
    for proxy in ("http", "socks5"):
        with DrippingProxy(b"\x07", None) as relay:
            error = call("https://127.0.0.1:9", proxy=f"{proxy}://127.0.0.1:{relay.port}")
        assert isinstance(error, SpaceConnectionError)


async def test_a_silent_tls_server(short):
    with DrippingProxy(*SILENCE) as relay:
        error = error_of(f"https://127.0.0.1:{relay.port}")
    assert isinstance(error, SpaceConnectionError)


async def test_a_name_with_dead_addresses(short, monkeypatch, hostile):
    """The time is shared between the addresses, and the last one still has its part."""
    look_up = socket.getaddrinfo
    with dead_addresses(3) as (hosts, port):

        def found(host, *arguments, **options):
            names = hosts if host == "dead.invalid" else [host]
            return [each for name in names for each in look_up(name, *arguments, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", found)
        error = error_of(f"http://dead.invalid:{port}")
        assert isinstance(error, SpaceConnectionError) and "could not be reached" in str(error)

        def found_one_that_lives(host, *arguments, **options):
            alive = look_up("127.0.0.1", hostile.port, *arguments[1:], **options)
            return found(host, *arguments, **options) + alive

        monkeypatch.setattr(socket, "getaddrinfo", found_one_that_lives)
        set_bounds(monkeypatch, connect_timeout=2.0)
        assert call(f"http://dead.invalid:{port}", read_timeout=BOUND) == RIGHT


async def test_nothing_is_sent_after_a_look_up_of_the_name_in_which_the_reader_left(
        monkeypatch, hostile):
    look_up, stream = socket.getaddrinfo, ask("left", url=hostile.url)

    def slow(*arguments, **options):
        stream.cancel()
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert list(stream.iterate()) == []
    await calls_ended()
    assert not hostile.requests


# What never ends


OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = [  # what is sent, and what is sent again and again
    ((OK, b"x: "), b"y"),
    ((b"HTTP/1.1 200 ",), b"O"),
    ((OK, b"Content-Length: 100000\r\n\r\n{"), b" "),
    ((OK, b"Transfer-Encoding: chunked\r\n\r\n"), b"1\r\n \r\n"),
    ((b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n<title>",), b" "),
    ((), b"HTTP/1.1 100 Continue\r\n\r\n"),
]
NEVER_END = [
    *((path, drip) for path in ("/config", "/upload", "/queue/join") for drip in DRIPS),
    *(("/queue/data", DRIPS[number]) for number in (0, 4, 5))]


async def test_a_reply_that_never_ends(hostile):
    def drip_at(path):
        def answer(handler):
            wanted, (pieces, again) = NEVER_END[int(handler.headers["x-drip"])]
            if wanted == path:
                handler.drip(*pieces, again=again)
            else:
                handler.serve_default(path)

        return answer

    async def ask_number(number):
        with pytest.raises(ResponseError) as caught:
            await ask("never", PNG, url=hostile.url, headers={"x-drip": str(number)},
                      read_timeout=0.5, timeout=BOUND, max_retries=0).read()
        assert "within timeout=" not in str(caught.value), NEVER_END[number]

    hostile.replies = {path: drip_at(path) for path, _ in NEVER_END}
    async with anyio.create_task_group() as group:
        for number in range(len(NEVER_END)):
            group.start_soon(ask_number, number)
    await calls_ended()  # while the Space still drips


# This machine's failures


async def test_no_thread_for_the_call(hostile, monkeypatch):
    """RLIMIT_NPROC counts what the whole user runs, so a patch stands in for it."""
    tried = []

    def refuse(thread):
        tried.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stream = ask("no thread", url=hostile.url, max_retries=2)
    with pytest.raises(ResponseError, match="thread"):
        await stream.read()
    assert len(tried) == 1 and stream.status.stage == "failed" and not hostile.requests
    monkeypatch.undo()
    assert call(hostile.url) == RIGHT


FILES = """
import os, resource, sys, threading, time
from qvq_wrapper import ask, ResponseError
from inside import close_idle
statuses = []
list(ask("warm", url=sys.argv[1]).iterate())
while any(each.name.startswith("qvq_wrapper") for each in threading.enumerate()):
    time.sleep(0.01)
close_idle()
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (50, limits[1]))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
try:
    list(ask("files", url=sys.argv[1], max_retries=2, on_status=statuses.append).iterate())
except ResponseError as error:
    print(type(error).__name__, error)
print([each.stage for each in statuses].count("connecting"))
for each in held:
    os.close(each)
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
print(*ask("again", url=sys.argv[1]).iterate(), sep="")
"""


async def test_no_file_descriptors(hostile):
    found = await anyio.run_process(
        [sys.executable, "-c", FILES, hostile.url], cwd=HERE, check=False)
    first, attempts, last = found.stdout.decode().splitlines()
    assert "open files" in first and first.startswith("ResponseError"), first
    assert attempts == "1" and last == RIGHT
