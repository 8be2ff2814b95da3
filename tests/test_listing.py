"""What a Space offers: ``endpoints()``, ``qvq --list``, and where ``qvq --system`` goes."""

import asyncio
import base64
import gc
import json

import pytest
from conftest import PNG, free_port
from network import web_server

from qvq_wrapper import (
    EndpointInfo, ParameterInfo, ResponseError, ResponseTimeoutError,
    SpaceConnectionError, SpaceUnavailableError, ask, endpoints,
)
from qvq_wrapper.__main__ import main
from qvq_wrapper.printable import printable


@pytest.fixture
def qvq(capsys):
    """Run the command in this process. Return its status, its output and its errors."""
    return lambda *arguments: (main(list(arguments)), *capsys.readouterr())


PICTURE = ParameterInfo("picture", "image", "filepath", True, None)
PROMPT = ParameterInfo("prompt", "textbox", "str", True, None)
OFFERED = [
    EndpointInfo("/plain", True, "", "picture", "prompt", (PICTURE, PROMPT)),
    EndpointInfo("/more", True, "", "picture", "prompt", (
        PICTURE, PROMPT, ParameterInfo("temperature", "slider", "float", False, 0.5))),
    EndpointInfo("/choice", True, "", "picture", "prompt", (
        ParameterInfo("first", "dropdown", "Literal['a', 'b']", False, "a"), PICTURE, PROMPT)),
    EndpointInfo(
        "/image_alone", False,
        "The Space's /image_alone has no place for the prompt. It takes: picture (image).",
        "picture", None, (PICTURE,)),
]


def test_the_endpoints_of_a_space(shapes_space):
    """ask() refuses a question about a picture in the words of ``problem``, if there are any."""
    shapes_space.require_gradio(6)
    offers = {each.name: each for each in endpoints(shapes_space.url)}
    for expected in OFFERED:
        assert offers[expected.name] == expected
    message = offers["/message"]
    assert message.fits and message.picture == message.prompt == "message"
    assert offers["/to_number"].problem == "The Space's /to_number gives no text, but: number."
    for offer in offers.values():
        if not offer.problem and offer.name not in ("/plain", "/message", "/more"):
            continue  # that takes time
        stream = ask("what?", PNG, url=shapes_space.url, api_name=offer.name)
        try:
            assert asyncio.run(stream.read()).startswith("what? 256") and offer.fits
        except ResponseError as error:
            assert error.message == offer.problem and not offer.fits


def test_a_question_shares_the_info_and_the_connection(relay):
    assert endpoints(relay.url)
    asyncio.run(ask("after", url=relay.url).read())
    assert relay.call_connections == 1
    assert endpoints(relay.url)
    assert relay.count("/config") == relay.count("/info") == 1


def test_the_errors_of_a_listing(relay, qvq):
    relay.stall_at("/config")
    with web_server(404) as gone, web_server(429, headers=[("Retry-After", "7")]) as busy:
        for url, kind in [
                (gone.url, SpaceUnavailableError), (busy.url, ResponseError),
                (f"http://127.0.0.1:{free_port()}", SpaceConnectionError),
                (relay.url, ResponseTimeoutError)]:
            with pytest.raises(kind) as caught:
                endpoints(url, api_key="hf_secret", headers={"x": "hf_secret"}, read_timeout=1)
            error = caught.value
            assert error.__cause__ is None and error.__context__ is None
            assert "hf_secret" not in f"{error!r} {vars(error)}"
        assert len(gone.requests) == len(busy.requests) == 1
    status, _, errors = qvq("--list", "--url", relay.url, "--read-timeout", "0.5")
    assert status == 1 and "read_timeout" in errors
    relay.resume()
    for wrong in ({"url": "nonsense"}, {"read_timeout": -1}, {"headers": "x"}):
        with pytest.raises((ValueError, TypeError)):
            endpoints(**wrong)


MORE = """\
/more: takes a picture and a question
  image        picture       filepath
  prompt       question      str
  temperature  0.5           float
  headers      "no headers"  str
/file: """
NEEDY = """\
/needy: The Space's /needy also needs the_number; give them in parameters={...}.
  image       picture   filepath
"""


def test_the_list(space, qvq):
    space.require_gradio(6)
    status, shown, errors = qvq("--list", "--url", space.url)
    assert (status, errors) == (0, "") and MORE in shown and NEEDY in shown
    _, shown, _ = qvq("--list", "--json", "--url", space.url)
    lines = [json.loads(line)["endpoint"] for line in shown.splitlines()]
    found = {line["name"]: line for line in lines}
    assert found["/more"]["parameters"][2] == {
        "name": "temperature", "component": "slider", "type": "float", "required": False,
        "default": 0.5}
    assert found["/more"]["fits"] and not found["/number"]["fits"]
    status, shown, _ = qvq("--list", "--json", "--url", f"http://127.0.0.1:{free_port()}")
    assert status == 1 and json.loads(shown)["error"]["kind"] == "SpaceConnectionError"


def test_the_list_does_not_steer_the_terminal(hostile, qvq):
    nasty = "\x1b]0;title\x07\u202e\n" + "x" * 1000
    info = hostile.info["named_endpoints"].pop("/generate")
    hostile.info["named_endpoints"][f"/{nasty}"] = info
    hostile.config["dependencies"][0]["api_name"] = nasty
    for each in info["parameters"]:
        each.update(parameter_name=nasty, parameter_has_default=True, parameter_default=nasty)
        each["python_type"]["type"] = nasty
    _, shown, _ = qvq("--list", "--url", hostile.url)
    assert len(shown.splitlines()) == 3 and len(shown) < 2000 and printable(shown, "\n") == shown


def test_a_space_without_named_endpoints(hostile, qvq):
    hostile.info["named_endpoints"].clear()
    assert endpoints(hostile.url) == []
    assert qvq("--list", "--url", hostile.url) == (
        0, "", "qvq: the Space has no endpoint with a name\n")


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a question that was never asked
def test_a_system_message(shapes_space, space, qvq):
    """It goes into the endpoint's parameter for it, and otherwise into the prompt."""
    shapes_space.require_gradio(6)
    picture = "data:image/png;base64," + base64.b64encode(PNG).decode()
    whole = "System: be kind\nUser: what?\nAssistant:"
    for arguments, answer in [
            ([picture, "--api-name", "chat_inputs"], "be kind 1 what? 256\n"),
            ([picture, "--api-name", "chat_inputs", "--param", "system=be"], "be 1 what? 256\n"),
            ([picture, "--api-name", "plain"], f"{whole} 256\n"),
            (["--url", space.url], f"You asked: {whole}\n")]:
        shown = qvq("what?", "--url", shapes_space.url, "--system", "be kind", *arguments)
        assert shown == (0, answer, "")
    assert space.seen(whole)["image"] is None
    gc.collect()
