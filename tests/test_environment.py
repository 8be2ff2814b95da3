"""Variables of the environment, proxies on the way, and Spaces that this process started."""

import gzip
import os
import re
import subprocess
import sys
import tracemalloc

import httpx
import pytest
from conftest import BOUND, PNG, failure, free_port, script
from inside import forget_tls_contexts
from network import CompressingProxy, HttpProxy, web_server

from qvq_wrapper import SpaceConnectionError, SpaceUnavailableError, ask
from qvq_wrapper.question import proxies
from qvq_wrapper.serve import running_space

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A function that sets variables. Those for proxies and TLS are not set before."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL"):
            monkeypatch.delenv(name)
    return lambda **variables: [monkeypatch.setenv(*each) for each in variables.items()]


UNUSABLE = [
    ("ALL_PROXY", "socks://user:secret@127.0.0.1:1", "must be a URL such as"),
    ("http_proxy", "ftp://127.0.0.1", "must be a URL such as"),
    ("HTTPS_PROXY", "socks://127.0.0.1:1080", "must be a URL such as"),
    ("HTTP_PROXY", "127.0.0.1:-1", "a port from 0 to 65535"),
    ("HTTP_PROXY", "gar bage", "must be a URL such as"),
    ("HTTP_PROXY", "http://x_.\u2603\u2603-:1", "must be a URL such as"),
    ("HTTP_PROXY", "http://user:very#secret@127.0.0.1:1", "special characters"),
    ("NO_PROXY", "localhost,[::1]", r"'\[::1\]'"),
    ("NO_PROXY", "fd07::/64", "'fd07::/64'"),
    ("NO_PROXY", "127.0.0.1:port", "'127.0.0.1:port'"),
    ("NO_PROXY", "http://user:secret@[::1", "has an entry that cannot be used"),
]


async def test_a_variable_that_cannot_be_used(monkeypatch, environment):
    for name, value, words in UNUSABLE:
        with monkeypatch.context() as variables:
            variables.setenv(name, value)
            scheme = "https" if name == "HTTPS_PROXY" else "http"
            error = await failure(ask("Hi", url=f"{scheme}://127.0.0.1:{free_port()}"))
        assert type(error) is SpaceConnectionError and not error.retryable
        assert str(error).startswith(f"{name} ") and "secret" not in str(error)
        assert re.search(words, str(error)), value


async def test_a_socks_proxy_without_its_package(environment, monkeypatch):
    environment(ALL_PROXY="socks5://127.0.0.1:1080")
    monkeypatch.setattr(proxies, "find_spec", lambda name: None)
    error = await failure(ask("Hi", url=f"http://127.0.0.1:{free_port()}"))
    assert type(error) is SpaceConnectionError and not error.retryable
    needed = 'is a SOCKS proxy, which needs: pip install "qvq_wrapper[socks]".'
    assert str(error) == f"ALL_PROXY {needed}"
    with pytest.raises(ValueError, match=re.escape(f"proxy {needed}")):
        ask("Hi", proxy="SOCKS5://127.0.0.1:1080")


BAD = "socks://127.0.0.1:1"


async def test_a_variable_that_does_not_apply(space, monkeypatch, environment):
    for variables in [
        {"HTTPS_PROXY": BAD}, {"HTTP_PROXY": BAD, "NO_PROXY": "127.0.0.1"}, {"HTTP_PROXY": ""},
        {"HTTP_PROXY": BAD, "http_proxy": ""}, {"ALL_PROXY": BAD, "NO_PROXY": "[::1],*"},
        {"FTP_PROXY": BAD, "MY_PROXY": BAD, "NO_PROXY": ""},
    ]:
        with monkeypatch.context() as context:
            for name, value in variables.items():
                context.setenv(name, value)
            assert await ask("Hi", PNG, url=space.url).read() == "You asked: Hi", variables


async def test_a_proxy_that_is_given_wins(space, environment):
    with HttpProxy() as proxy:
        environment(HTTP_PROXY=BAD, NO_PROXY="[::1]")
        assert await ask("Hi", url=space.url, proxy=proxy.url).read() == "You asked: Hi"
        environment(HTTP_PROXY=proxy.url, ALL_PROXY=BAD, NO_PROXY="")
        proxy.targets.clear()
        assert await ask("Hi", url=space.url).read() == "You asked: Hi"
        assert proxy.targets


async def test_exceptions_apply_as_in_httpx(environment):
    with web_server(404) as proxy:

        async def is_asked(exceptions, address):
            environment(HTTP_PROXY=proxy.url, NO_PROXY=exceptions)
            proxy.requests.clear()
            await failure(ask("Hi", url=address, max_retries=0))
            return bool(proxy.requests)

        for exceptions in [
            "name.invalid", ".name.invalid", "SUB.Name.Invalid", "ame.invalid", "*.name.invalid",
            "http://sub.name.invalid", "https://sub.name.invalid", "http://",
            "sub.name.invalid:81", "other, name.invalid ,", "10.0.0.0/8", "*,",
        ]:
            for address in ("http://sub.name.invalid", "http://sub.name.invalid:81"):
                environment(HTTP_PROXY=proxy.url, NO_PROXY=exceptions)
                try:
                    expected = httpx.get(address, verify=False, timeout=BOUND).status_code == 404
                except httpx.ConnectError:
                    expected = False
                assert await is_asked(exceptions, address) == expected, (exceptions, address)
        address = f"http://[::1]:{free_port()}"
        assert not await is_asked("::1", address) and not await is_asked("http://[::1]", address)
        assert await is_asked("::2", address)


async def test_a_proxy_that_cannot_be_reached(space, environment):
    address = f"127.0.0.1:{free_port()}"
    environment(http_proxy=f"http://user:secret@{address}")
    error = await failure(ask("Hi", url=space.url, max_retries=0))
    assert type(error) is SpaceConnectionError and error.retryable
    assert f"through the proxy http://{address} (http_proxy)" in str(error)
    assert "secret" not in str(error)


async def test_a_file_of_the_environment_that_cannot_be_used(monkeypatch, tmp_path, environment):
    (tmp_path / "none.pem").write_text("no certificate")
    for name, file in [("SSL_CERT_FILE", "none.pem"), ("SSLKEYLOGFILE", "no/such/file")]:
        forget_tls_contexts()
        with monkeypatch.context() as variables:
            variables.setenv(name, str(tmp_path / file))
            error = await failure(ask("Hi", url=f"https://127.0.0.1:{free_port()}"))
        assert type(error) is SpaceConnectionError and not error.retryable
        assert f"TLS cannot be set up with {name} " in str(error)


@pytest.mark.keeps_a_socket("the proxy's, for a heartbeat that the client has left")
async def test_a_proxy_that_compresses(space):
    long = "x" * 300_000
    for coding in ("gzip", "deflate"):
        with CompressingProxy(space.port, coding) as proxy:
            stream = ask(script("a", 0.1, "a b", 0.1, long), PNG, url=proxy.url)
            assert [chunk async for chunk in stream] == ["a", " b", long]
            error = await failure(ask("Hi", url=f"{proxy.url}/nothing", max_retries=0))
        assert type(error) is SpaceUnavailableError
        assert "404 for /nothing/config: Not F" in str(error)
    for unknown in ("br", "gzip, br", "\x1b[31m"):
        with CompressingProxy(space.port, unknown) as proxy:
            error = await failure(ask("Hi", url=proxy.url))
        assert type(error) is SpaceConnectionError and not error.retryable
        assert "compressed" in str(error) and repr(unknown) in str(error)


async def test_a_compressed_response_takes_little_memory():
    """One read brings 64 kB, which hold 66 MB. Data that is not compressed is refused."""
    with web_server(200, "{}", [("Content-Encoding", "gzip")]) as server:
        error = await failure(ask("Hi", url=server.url))
    assert type(error) is SpaceConnectionError and "no gzip data" in str(error)
    packed = gzip.compress(bytes(2**27))
    with web_server(200, packed, [("Content-Encoding", "gzip")]) as server:
        tracemalloc.start()
        error = await failure(ask("Hi", url=server.url))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert type(error) is SpaceConnectionError and "more than" in str(error) and most < 32e6


@pytest.mark.space  # running_space() starts one in a child process
@pytest.mark.test_all
async def test_the_own_space_is_not_asked_through_the_environments_proxy(environment):
    with HttpProxy() as proxy:
        environment(HTTP_PROXY=proxy.url, ALL_PROXY=BAD)
        with running_space() as url:
            for address in (url, url.rstrip("/")):
                assert await ask("Hi", url=address).read() and not proxy.targets
            assert await ask("Hi", url=url, proxy=proxy.url).read() and proxy.targets
        proxy.targets.clear()
        await failure(ask("Hi", url=url, max_retries=0))
        assert proxy.targets


def test_a_space_that_does_not_start(monkeypatch, tmp_path):
    python = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    for command, seconds, words in [
        ("echo why >&2; exit 3", 60, "did not start: it ended with exit status 3. why"),
        ("exec sleep 60", 0.3, "did not start: no address within 0.3 s."),
    ]:
        python.write_text(f"#!/bin/sh\n{command}\n")
        python.chmod(0o755)
        with pytest.raises(RuntimeError) as caught:
            with running_space(seconds):
                pass
        assert str(caught.value).endswith(words)


def test_a_gradio_client_that_cannot_be_imported():
    """As where it and huggingface_hub do not fit together."""
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from qvq_wrapper import ResponseError, ask\n"
        "try: list(ask('Hi', url='http://127.0.0.1:9').iterate())\n"
        "except ResponseError as error: print(error)\n")
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("gradio_client cannot be imported (ModuleNotFoundError: ")
    assert not result.stderr
