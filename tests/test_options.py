"""Secrets and privacy: where requests go, and where secrets never appear."""

import gc
import json
import linecache
import logging
import os
import subprocess
import sys
import traceback
import types
import warnings
from functools import partial

import pytest
from cases import each
from conftest import PNG, free_port, script
from network import HttpProxy, Relay, SocksProxy, web_server

from qvq_wrapper import Qwen_QVQ_72B, ResponseError, SpaceUnavailableError, ask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]

TOKEN = "hf_very_secret_token"
SAVED = "hf_token_saved_on_this_machine"

CALLS = """
import json, socket, sys
connected = set()
def audit(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        connected.add(arguments[1][1])
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost"):
        connected.add(arguments[0])
    if event == "open" and arguments[0] in texts:
        connected.add(arguments[0])
from qvq_wrapper import Qwen_QVQ_72B, ResponseError, ask
url, picture, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
texts = ["/etc/hostname", "file:///etc/hostname", "http://169.254.169.254/latest/meta-data.txt"]
sys.addaudithook(audit)
assert ask("all of it", picture, url=url, **options).iterate().__next__()
answer = ask("script:" + json.dumps(["some", 0.1] * 100), url=url, **options).iterate()
next(answer)
answer.close()
for text in texts:
    messages = [{"role": "user", "content": text}]
    found = "".join(Qwen_QVQ_72B.create_completion("", messages, url=url, **options))
    assert found == f"You asked: {text}", found
failing = "script:" + json.dumps([{"raise": "no"}])
fetched = [{"role": "user", "content": each} for each in ("q", "http://169.254.169.254/a.png")]
for call in (
    lambda: ask(failing, url=url, **options).iterate(),
    lambda: Qwen_QVQ_72B.create_completion("", fetched, url=url, **options),
    lambda: ask("Hi", url="owner/name", max_retries=0, **options).iterate(),
):
    try:
        list(call())
    except ResponseError as error:
        print(error, file=sys.stderr)
print(*sorted(map(str, connected)))
"""


def test_everything_goes_through_the_proxy(space, tmp_path):
    """A new process connects to nothing else, and looks up no host. Nor does it open a file.

    It makes complete calls, a cancelled one and some that fail. Some messages name files and URLs:
    the Space fetches a picture. No token that is saved on the machine is sent.
    """
    (tmp_path / "x.png").write_bytes(PNG)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub"),
        "HF_TOKEN": SAVED}
    with HttpProxy() as http, SocksProxy() as socks:
        for proxy, url in ((http, http.url), (socks, f"socks5://127.0.0.1:{socks.port}")):
            arguments = [space.url, tmp_path / "x.png", json.dumps({"proxy": url})]
            result = subprocess.run(
                [sys.executable, "-c", CALLS, *arguments],
                capture_output=True, text=True, timeout=60, env=environment)
            assert result.returncode == 0 and result.stderr.startswith("no\n"), result.stderr
            assert result.stdout.split() == [str(proxy.port)] and "Warning" not in result.stderr
        paths = {
            target.partition("/gradio_api")[2].partition("?")[0] for _, target in http.targets}
        assert {"/upload", "/queue/join", "/queue/data", "/cancel", "/info"} <= paths
        assert ("CONNECT", "owner-name.hf.space:443") in http.targets
        assert {("127.0.0.1", space.port), ("owner-name.hf.space", 443)} == set(socks.targets)
    assert SAVED not in space.log_file.read_text()


async def test_no_other_host_is_asked():
    with web_server(200, "{}") as elsewhere:
        config = json.dumps({
            "components": [], "dependencies": [], "protocol": "sse_v3", "version": "6.0",
            "api_prefix": elsewhere.url})
        for server, words in (
            (web_server(302, headers=[("Location", elsewhere.url)]), "redirects"),
            (web_server(200, config), "leads to another host"),
        ):
            with server as space, pytest.raises(SpaceUnavailableError, match=words):
                await ask("Hi", url=space.url, api_key=TOKEN).read()
        assert not elsewhere.requests


async def test_a_space_cannot_name_a_local_file_as_a_default(space):
    class File(Qwen_QVQ_72B):
        api_endpoint = "/file"

    with Relay(space.port) as relay:
        relay.replace(b"XileData", b"FileData")
        with pytest.raises(SpaceUnavailableError, match="also needs"):
            await File.ask("Hi", url=relay.url).read()


class Below(Qwen_QVQ_72B):
    """A subclass as people write it."""

    @classmethod
    def create_async_generator(cls, *arguments, **options):
        return super().create_async_generator(*arguments, **options)


MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.mark.filterwarnings("ignore:a question was never asked")
def test_a_token_over_plain_http_to_another_machine_warns():
    """The warning points at the line outside this package that made the call."""
    for case, call in each([
        lambda **options: ask("Hi", **options),
        lambda **options: Qwen_QVQ_72B.create_completion("", MESSAGES, **options),
        lambda **options: Below.create_async("", MESSAGES, **options).close(),
    ]):
        with case:
            with pytest.warns(UserWarning, match="192.0.2.1 over plain http") as warned:
                call(url="http://192.0.2.1", api_key=TOKEN)
            (warning,) = (one for one in warned if one.category is UserWarning)
            assert warning.filename == __file__
            assert "**options)" in linecache.getline(warning.filename, warning.lineno)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for url in ("https://192.0.2.1", "http://127.0.0.1:1", "http://localhost", "http://[::1]"):
            ask("Hi", url=url, api_key=TOKEN).cancel()
        ask("Hi", url="http://192.0.2.1").cancel()


SHOWN = [
    TOKEN, "hf_header_secret", "proxy_secret", "login_secret", repr(PNG)[2:60], "picture_secret"]


def assert_no_secret(text):
    assert not [secret for secret in SHOWN if secret in text]


def reachable(error):
    """Yield the ``repr`` of every string that the error refers to, bytes included.

    Also by local variables of this package, which tools show with a traceback.
    """
    followed = str, bytes, dict, list, tuple, set, BaseException, types.MethodType
    skipped = type, types.ModuleType, types.FunctionType, types.FrameType, types.TracebackType
    foreign = "asyncio", "trio", "_pytest", "anyio", "builtins"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if "qvq_wrapper" in frame.f_code.co_filename]
    seen, queue = set(), [error, *(frame.f_locals for frame in ours)]
    while queue:
        item = queue.pop()
        is_foreign = type(item).__module__.split(".")[0] in foreign
        if id(item) in seen or isinstance(item, skipped):
            continue
        if is_foreign and not isinstance(item, followed):
            continue
        seen.add(id(item))
        if isinstance(item, (str, bytes)):
            yield repr(item)
        else:
            queue += gc.get_referents(item)


BAD_OPTIONS = [
    {"api_key": TOKEN + "\ninjected: yes"},
    {"proxy": "http://u:proxy_secret@h:port"},
    {"auth": ("u", "login_secret", 3)},
    {"timeout": -1, "api_key": TOKEN},
    {"headers": {"X": "hf_header_secret\n"}},
    {"unknown": 1, "api_key": TOKEN},
    {"url": f"http://user:{TOKEN}@host"},
]


def test_a_refusal_shows_no_secret():
    forms = (
        getattr(Qwen_QVQ_72B, name)
        for name in ("create_async_generator", "create_completion", "create_async"))
    for case, call in each([
        *(partial(ask, "Hi", PNG, **options) for options in BAD_OPTIONS),
        *(partial(form, "", MESSAGES, media=[PNG], **BAD_OPTIONS[0]) for form in forms),
    ]):
        with case:
            with pytest.raises((ValueError, TypeError)) as caught:
                call()
            assert caught.value.__cause__ is None and caught.value.__context__ is None
            assert_no_secret(repr(caught.value) + "".join(reachable(caught.value)))


async def test_a_failure_shows_no_secret(space, caplog, capfd, temp_folder):
    caplog.set_level(logging.DEBUG)
    targets = [
        space.url, f"http://127.0.0.1:{free_port()}", f"https://127.0.0.1:{space.port}"]
    with HttpProxy("u:proxy_secret") as proxy:
        for target in targets:
            stream = Qwen_QVQ_72B.create_async_generator(
                "", [{"role": "user", "content": script({"raise": "no"})}],
                media=[(PNG, "picture_secret.png")], url=target, api_key=TOKEN,
                headers={"X-Secret": "hf_header_secret"}, max_retries=1,
                proxy=f"http://u:proxy_secret@127.0.0.1:{proxy.port}")
            assert_no_secret(repr(stream) + repr(vars(stream)))
            with pytest.raises(ResponseError) as caught:
                await stream.read()
            assert_no_secret(f"{caught.value!r} {vars(caught.value)}")
            assert_no_secret("".join(reachable(caught.value)))
    assert_no_secret(caplog.text)
    output = capfd.readouterr()
    assert_no_secret(output.out + output.err)
