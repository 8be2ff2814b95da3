"""A model's server is asked, and everything that it can do wrong arrives as a clear error."""

import base64
import html
import io
import itertools
import logging
import re

import pytest
from conftest import PNG, free_port, script, wait_until_async
from inside import set_bounds
from markdown_it import MarkdownIt
from PIL import Image

from qvq_wrapper import ResponseError
from qvq_wrapper.bridge.titles import error_from
from qvq_wrapper.notebook.markdown import as_markdown
from qvq_wrapper.serve.repetition import Repetition
from qvq_wrapper.serve.upstream import Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]
KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module", autouse=True)
def one_certificate(certificate):
    """Reading all of the system's, for each client, would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate[0]))
        yield


async def answer(server, *steps, image=None, prompt=None, call=None, **options):
    """Return all that the model's answer to a script was, step by step."""
    upstream = Upstream(server.url, "a-model", **options)
    question = script(*steps) if prompt is None else prompt
    return [text async for text in upstream.answer(image, question, **call or {})]


async def failure(server, *steps, **options):
    with pytest.raises(ResponseError) as caught:
        await answer(server, *steps, api_key=KEY, **options)
    error = caught.value
    assert error.__cause__ is None and (error.__suppress_context__ or not error.__context__)
    assert KEY not in f"{error!r}"
    return error.message


async def test_what_is_sent(server):
    """The answer grows. The options of a call win over those of the Space."""
    assert await answer(server, "The area", " is", " 6.") == [
        "The area", "The area is", "The area is 6."]
    await answer(server, prompt="Hi")
    assert server.requests[-1] == {
        "model": "a-model", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8192,
        "stream": True}
    assert server.paths[-1] == "/v1/chat/completions"
    assert server.headers[-1]["authorization"] == "bearer none"
    options = {"api_key": KEY, "system": "Be brief.", "max_tokens": 9, "temperature": 0}
    call = {"system": "", "max_tokens": 3, "temperature": 0.5}
    for own, length, heat, first in [({}, 9, 0, "Be brief."), (call, 3, 0.5, "Hi")]:
        await answer(server, prompt="Hi", call=own, **options)
        request = server.requests[-1]
        assert (request["max_tokens"], request["temperature"]) == (length, heat)
        assert request["messages"][0]["content"] == first
        assert server.headers[-1]["authorization"] == f"bearer {KEY}"


async def sent_picture(server, folder, kind, image=None, size=(40, 20), save=None, **options):
    """Return the MIME type of what the server gets for a picture file, and what it shows."""
    image = image or Image.new("RGB", size)
    image.save(folder / "x", kind, **save or {})
    await answer(server, image=str(folder / "x"), prompt="Hi", **options)
    picture, text = server.requests[-1]["messages"][-1]["content"]
    assert text == {"type": "text", "text": "Hi"}
    head, _, data = picture["image_url"]["url"].partition(";base64,")
    data = base64.b64decode(data)
    is_same = data == (folder / "x").read_bytes()
    return head.removeprefix("data:image/"), is_same, Image.open(io.BytesIO(data))


async def test_a_picture_is_sent_as_it_is_or_converted(server, tmp_path):
    """llama.cpp reads few kinds. Transparency is kept, and 16 bits look as in a viewer."""
    for kind in ("PNG", "JPEG"):
        mime, is_same, _ = await sent_picture(server, tmp_path, kind)
        assert (mime, is_same) == (kind.lower(), True)
    for kind, mode in [
            ("WEBP", "RGBA"), ("GIF", "P"), ("TIFF", "CMYK"), ("TIFF", "F"), ("PPM", "L")]:
        mime, _, image = await sent_picture(server, tmp_path, kind, Image.new(mode, (40, 20)))
        assert (mime, image.format, image.size) == ("png", "PNG", (40, 20)), (kind, mode)
        assert image.mode == ("RGBA" if mode == "RGBA" else "RGB"), (kind, mode)
        assert mode != "RGBA" or image.getpixel((0, 0))[3] == 0
    grey = Image.new("I;16", (40, 20), 257 * 40)
    grey.paste(257 * 200, (0, 0, 20, 20))
    _, _, image = await sent_picture(server, tmp_path, "TIFF", grey)
    assert [image.getpixel((x, 10))[0] for x in (5, 35)] == [200, 40]
    with pytest.raises(ResponseError, match="floats are from 200 to 200, and must be from 0 to 1"):
        await sent_picture(server, tmp_path, "TIFF", Image.new("F", (40, 20), 200))


async def test_a_picture_is_turned_upright_and_made_smaller(server, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    for kind in ("PNG", "JPEG", "WEBP"):
        _, _, image = await sent_picture(server, tmp_path, kind, save={"exif": exif})
        assert image.size == (20, 40) and image.getexif().get(0x0112, 1) == 1, kind
    for kind, width, height in [("JPEG", 300, 150), ("PNG", 10, 3000), ("WEBP", 3000, 4)]:
        mime, _, image = await sent_picture(
            server, tmp_path, kind, size=(width, height), max_pixels=2000)
        assert image.width * image.height <= 2000, (kind, width)
        assert mime == ("jpeg" if kind == "JPEG" else "png"), (kind, width)
        assert 0.7 < image.width / image.height / (width / height) < 1.5, (kind, width)


async def test_a_picture_or_a_question_is_missing_or_wrong(server, tmp_path):
    (tmp_path / "x").write_bytes(PNG)
    await answer(server, image=str(tmp_path / "x"), prompt="")
    content = server.requests[-1]["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["image_url"]
    asked = len(server.requests)
    assert "neither a question nor a picture" in await failure(server, prompt="")
    damaged = io.BytesIO()  # it is converted
    Image.new("RGB", (300, 300)).save(damaged, "WEBP")
    for data in (b"", b"<svg/>", PNG[:20], b"%!PS-Adobe-3.0\n", damaged.getvalue()[:-40]):
        (tmp_path / "x").write_bytes(data)
        message = await failure(server, image=str(tmp_path / "x"), prompt="Hi")
        assert message.startswith("The picture cannot be read"), data
        assert str(tmp_path) not in message and len(server.requests) == asked, data


async def test_an_answer_that_does_not_end_by_itself(server):
    for reason, note in [
            ("length", "Cut off: the answer reached max_tokens (8192)"),
            ("MAX_TOKENS", "Cut off: the answer reached max_tokens (8192)"),
            ("content_filter", "The model's server ended the answer: content_filter.")]:
        texts = await answer(server, "half", {"finish": reason})
        assert texts[-1].startswith(f"half\n\n*{note}") and texts[-1].endswith("*"), reason
    for reason in ("stop", "eos", "eos_token", "stop_sequence", "end_turn", "STOP"):
        assert await answer(server, "all", {"finish": reason}) == ["all"], reason
    assert await answer(server) == ["*The model's answer is empty.*"]


async def test_an_error_before_the_answer(server):
    """test_serve.py has the statuses."""
    for body, words in [
            ({"error": {"message": "No such model.", "code": 7}}, "No such model."),
            ({"error": "too long"}, "too long"), ({"detail": "too long"}, "too long"),
            ({"message": "too long"}, "too long"), ({"object": "error"}, "Error code: 404"),
            ("<html><h1>Bad  gateway</h1></html>", "Bad gateway"), ("", "Error code: 404"),
            ([1], "[1]"), ({"error": {"message": "x" * 9999}}, "x" * 400)]:
        message = await failure(server, {"status": 404, "body": body})
        assert message.startswith(f"The model's server says: {words}"), body
        assert "(HTTP 404) Check --base-url" in message and len(message) < 700, body


def test_another_title_says_nothing():
    """A title that says whether to come back is read by test_serve.py."""
    titles = [
        "Error", "", None, 7, ["Busy"], "Busy, retry after 99999999 s", "Busy, retry after -1 s",
        "Busy, retry after 1e9 s", "Busy, retry after \u0663 s", "Busy\n", "busy", "Too busy"]
    assert [title for title in titles if error_from(title, "x")] == []


ECHOES = [
    {"status": 401, "body": {"error": {"message": "Incorrect API key: {key}."}}},
    {"status": 401, "body": "Incorrect API key: {key}."},
    {"status": 500, "body": {"error": {"message": "y" * 490 + "{key}"}}},
    {"error": {"message": "Incorrect API key: {key}."}}, {"error": "Incorrect API key: {key}."},
    *[{"error": f"No: {form}."} for form in (
        "sk&#45;secret-0123456789", "sk&amp;#45;secret-0123456789", "s&#x6b;%2Dsecret-0123456789",
        "&amp;amp;amp;#115;k-secret-0123456789", "%2573k-secret-0123456789",
        "\\u0073k-secret-0123456789", "\\x73k-secret-0123456789", "sk-<b>secret</b>-0123456789",
        "s k - s e c r e t - 0 1 2 3 4 5 6 7 8 9", "sk-\u200bsecret-\u00ad0123456789",
        "sk-<!-- -->secret-0123456789", "sk\n-secret\t-0123456789",
        base64.b64encode(b"user:" + KEY.encode()).decode(), KEY.encode().hex().upper())]
]


async def test_an_echoed_key_is_taken_out(server, caplog):
    """Other words are left as they are."""
    caplog.set_level(logging.DEBUG)
    for echo in ECHOES:
        message = await failure(server, echo)
        assert "secret" not in html.unescape(message) and KEY not in caplog.text, echo
        assert "[key]" in message or message.count("y") > 480, echo
    for words in [
            "50%25 of 10 &amp; more", "a \\u0041 b", "Zm9vYmFyZm9vYmFy", "sk-secret-0123",
            "a" * 99]:
        message = await failure(server, "half", {"error": {"message": words, "code": 500}})
        assert message == f"The model's server says: {html.unescape(words)}"
    hidden = "&" + "amp;" * 40 + "#115;k-secret-0123456789"
    assert "cannot be read" in await failure(server, {"error": hidden})


async def test_a_key_in_an_answer(server):
    """Its first characters are held back until the next ones come. A placeholder is no key."""
    texts = await answer(server, "It is ", *KEY, ". s", api_key=KEY)
    assert not [text for text in texts if "sk" in text] and texts[-1] == "It is [key]. s"
    steps = [delta(reasoning=piece) for piece in ("It is ", *KEY, ". s")]
    for after in (["ok"], []):
        texts = await answer(server, *steps, *after, api_key=KEY, show_thinking=True)
        assert not [text for text in texts if "sk" in text] and "It is [key]. s" in texts[-1]
    texts = await answer(server, "a", {"finish": KEY}, api_key=KEY)
    assert texts[-1] == "a\n\n*The model's server ended the answer: [key].*"
    assert (await answer(server, "It is EMPTY", api_key="EMPTY"))[-1] == "It is EMPTY"
    assert KEY not in repr(Upstream("http://127.0.0.1/v1", "m", api_key=KEY))


async def test_garbage(server):
    garbage = ["not json", "\xff", "[" * 100_000]
    for before, words in itertools.product(([], ["half"]), garbage):
        message = await failure(server, *before, {"raw": f"data: {words}\n\n"})
        assert message.startswith("The model's server sent something that is no chat completion")
        assert "not json" not in message, words


def delta(**fields):
    return {"event": {"choices": [{"index": 0, "delta": fields}]}}


async def test_a_chunk_without_text_ends_no_answer(server):
    """Azure's filters send the first three, and some servers send their usage or a ping so."""
    choice = {"index": 0, "finish_reason": None}
    for event in [
            {"id": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
            {"choices": [choice | {"content_filter_offsets": {"check_offset": 44}}]},
            {"choices": [choice | {"delta": None, "content_filter_results": {"hate": {}}}]},
            {"choices": None, "usage": {"completion_tokens": 7}}, {"type": "ping"}, [1],
            {"choices": "text"}, {"choices": [1]}, {"choices": [choice | {"delta": "text"}]},
            {"choices": [{"delta": {"content": None, "tool_calls": []}, "finish_reason": 7}]}]:
        texts = await answer(server, {"event": event}, "half", {"event": event}, "way")
        assert texts == ["half", "halfway"], event


async def test_a_text_of_another_type(server):
    """Mistral sends parts, Cloudflare numbers, and others the halves of a surrogate pair."""
    for pieces, text in [
            ([[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]], "ab"),
            ([[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
               {"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}]], "a"),
            (["a", "b", None], "ab"), ([0.005], "0.005"), ([True], "true"), ([[[]]], ""),
            (["\ud83d", "\ude00!"], "\U0001f600!"), (["\ud83d", "b"], "\ufffdb")]:
        texts = await answer(server, "It is ", *({"piece": piece} for piece in pieces), ".")
        assert texts[-1] == f"It is {text}.", pieces
    assert (await answer(server, delta(content=None, refusal="I cannot.")))[-1] == "I cannot."


THOUGHTS = [
    *[[delta(**{name: piece}) for piece in ("I see", " a sign.\nIt says")]
      for name in ("reasoning_content", "reasoning", "thinking")],
    [delta(reasoning="I see a sign.\nIt says", reasoning_content="I see a sign.\nIt says")],
    [delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": words}]}])
     for words in ("I see", " a sign.\nIt says")],
    [delta(reasoning_content="I see a sign.\r"), delta(reasoning_content="It says", content="")],
]
SHOWN = "> *Thinking:*\n>\n> I see a sign.\n> It says"


async def test_an_answer_that_is_only_thought(server):
    cut = "Cut off: the model was still thinking when it reached max_tokens (9)"
    ends = [
        ("length", cut), ("stop", "The model thought, and then said nothing.*"),
        ("abort", "The model's server ended the answer: abort.*")]
    for thoughts, (reason, note) in zip(THOUGHTS, itertools.cycle(ends)):
        steps = [*thoughts, {"piece": "\n"}, {"finish": reason}]
        texts = await answer(server, *steps, max_tokens=9)
        assert len(texts) == 2 and texts[-1].startswith(f"*{note}"), texts
        texts = await answer(server, *steps, max_tokens=9, show_thinking=True)
        assert texts[-1].startswith(f"{SHOWN}\n\n") and f"\n\n*{note}" in texts[-1], texts


async def test_thoughts_are_shown_only_where_they_are_asked_for(server):
    for thoughts in THOUGHTS:
        steps = [*thoughts, "It is ", "open."]
        assert await answer(server, *steps) == ["It is ", "It is open."]
        texts = await answer(server, *steps, show_thinking=True)
        assert texts[-1] == f"{SHOWN}\n\nIt is open."
        assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
    again = ["a", delta(reasoning="hm"), "b"]
    texts = await answer(server, *again, show_thinking=True)
    assert texts[-1] == "a\n\n> *Thinking:*\n>\n> hm\n\nb"


async def test_a_thought_stays_in_its_quote(server):
    """A model's thoughts are not trusted more than its answer."""
    for thought in [
            "```\ncode", "a\n\n# b", "<details>\n\n<b>", "a\r\rb", "- a\n\n      b", "[x]: /y\n",
            "> a\n", "$$\nx", "| a |\n|--|", "<!-- a", "\\", "a\n===", "~~~\r\n\u2028a"]:
        texts = await answer(server, delta(reasoning=thought), "Open.", show_thinking=True)
        for rewrite in (str, as_markdown):
            tokens = MarkdownIt().enable("table").parse(rewrite(texts[-1]))
            kinds = [(token.type, token.level) for token in tokens]
            end = kinds.index(("blockquote_close", 0))
            assert [token.content for token in tokens[end + 1:]] == ["", "Open.", ""], thought


async def test_a_formula_in_a_thought_never_ends_in_the_answer(server):
    """Gradio takes what is between two delimiters for a formula, before it looks for quotes."""
    thought = "a $$$\nx \\[ y \\( z"
    for pieces in ([thought], thought):
        steps = [delta(reasoning=piece) for piece in pieces]
        texts = await answer(server, *steps, r"Open $$y$$ \] \).", show_thinking=True)
        quote, _, rest = texts[-1].partition("\n\n")
        assert quote.replace("\u200b", "").replace("\n> x", "\nx").endswith(f"> {thought}")
        assert not re.search(r"\$\$|\\[\[(]", quote) and rest == r"Open $$y$$ \] \)."


TOO_LONG = [
    # OpenAI; vLLM
    {"message": "Please reduce the length. 9000 tokens.", "code": "context_length_exceeded"},
    {"message": "This model's maximum context length is 4096 tokens. However, you requested 9000 "
     "tokens (808 in the messages, 8192 in the completion).", "code": 400},
    {"message": "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's ..."},
    {"message": "The decoder prompt (length 9000) is longer than the maximum model length of 4096"},
    # llama.cpp, llama-cpp-python
    {"message": "request (9000 tokens) exceeds the available context size (4096 tokens), try "
     "increasing it", "type": "exceed_context_size_error", "code": 400},
    {"message": "it does not fit", "type": "exceed_context_size_error", "code": 500,
     "n_prompt_tokens": 9000, "n_ctx": 4096},
    {"message": "Requested tokens (9000) exceed context window of 4096"},
    # TGI, DashScope, Anthropic
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 808 "
    "`inputs` tokens and 8192 `max_new_tokens`",
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 9000",
    {"message": "Range of max_tokens should be [1, 8192]"},
    {"message": "Range of input length should be [1, 6000]"},
    {"message": "prompt is too long: 9000 tokens > 4096 maximum"},
    {"message": "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens"},
]


async def test_a_question_that_is_too_long_for_the_model(server):
    """The refusal has the server's numbers, and says what to change. It is the question's fault."""
    for body, status in zip(TOO_LONG, itertools.cycle((400, 413, 422, 500))):
        before = await failure(server, {"status": status, "body": {"error": body}})
        for number in re.findall(r"\b\d{4}\b", str(body)):
            assert number in before.split(f"(HTTP {status})")[0], body
        for message in (before, await failure(server, "half", {"error": body})):
            assert "max_tokens (8192)" in message and "--max-tokens" in message, body
    for status, words in [
            (400, "No such model."), (400, "Unsupported parameter: 'max_tokens' with o1-2024"),
            (500, "out of memory: 8192 bytes"), (413, "413 Request Entity Too Large"),
            (429, "Limit 8192 tokens per minute, context length 4096")]:
        message = await failure(server, {"status": status, "body": {"error": {"message": words}}})
        assert "--max-tokens" not in message, words


async def test_a_server_of_another_kind(server):
    page = {"body": "<title>Hello</title>", "headers": {"Content-Type": "text/html"}}
    for steps in [[{"status": 200, **page}], [{"event": {"a": 1}}, {"raw": ""}, {"cut": True}]]:
        assert await failure(server, *steps) == (
            "The model's server sent no answer. Check --base-url, which usually ends in /v1, and "
            "--model.")


async def test_a_connection_that_breaks_off(server, monkeypatch):
    """It cannot be made, ends in the middle, or falls silent. An error never counts as the end."""
    for end in ({"cut": True}, {"raw": ""}):
        message = await failure(server, "half", end, {"cut": True})
        assert message.startswith("The connection to the model's server broke off"), end
    set_bounds(monkeypatch, read_timeout=0.2)
    left = len(server.left)
    for before in ([], ["half"]):
        silent = await failure(server, *before, 60)
        assert silent == "The model's server was silent for 0.2 s."
    texts = Upstream(server.url, "a-model").answer(None, script("a", 60))
    assert await anext(texts) == "a"
    await texts.aclose()  # a caller leaves
    await wait_until_async(lambda: len(server.left) == left + 3)
    server = Upstream(f"http://127.0.0.1:{free_port()}/v1", "a-model")
    with pytest.raises(ResponseError, match="server failed; it may still be starting"):
        await anext(server.answer(None, "x"))


CIRCLE = "Wait, let me look at the angle once more. "


async def test_a_model_that_repeats_itself_is_stopped(server):
    left, note = len(server.left), "*Stopped: the model repeats itself.*"
    steps = ["So. ", {"repeat": CIRCLE, "times": 10_000}, 60]
    texts = await answer(server, *steps, stop_repetition=True)
    assert texts[-1] == f"So. {CIRCLE * 4}\n\n{note}"
    await wait_until_async(lambda: len(server.left) == left + 1)
    texts = await answer(server, *[delta(reasoning=CIRCLE)] * 9, 60, stop_repetition=True)
    assert texts == [note]
    assert (await answer(server, {"repeat": CIRCLE, "times": 20}))[-1] == CIRCLE * 20


def where_found(text, piece):
    """Return the length at which the repetition is found, for a text that grows piece by piece."""
    repetition = Repetition()
    lengths = range(piece, len(text) + piece, piece)
    return next((length for length in lengths if repetition.found_in(text[:length])), None)


PROSE = "".join(f"{number}. The side is {number * 7 % 31} cm. " for number in range(2000))


def test_a_repetition_is_found():
    for unit in [
            PROSE[:32], PROSE[:33], PROSE[:500], PROSE[:4096], "-" * 50 + CIRCLE,
            CIRCLE + "-" * 50, f"{CIRCLE}{CIRCLE}Hm. ", "a" * 31 + "b",
            "数学の問題をもう一度、最初から考えてみましょう。" * 2 + "はい。"]:
        for piece in (3, 4000):
            found = where_found(PROSE[:700] + unit * 9, piece)
            assert found, (unit, piece)
            assert 700 + 4 * len(unit) <= found < 700 + 5 * len(unit) + 32 + piece, (unit, piece)


def test_no_repetition():
    table = "".join(
        f"| {row} | {row * row} | a cell with the same words in it |\n" for row in range(90))
    for text in [
            PROSE, CIRCLE * 3 + "So it is 30 degrees. " + CIRCLE * 3, "|---" * 600, " " * 2000,
            "ab" * 1000, "| 1 | 2 | 3 | 4 | 5 | 6 | 7 |\n" * 80, PROSE[:31] * 80, table]:
        for piece in (3, 4000):
            assert where_found(text, piece) is None, (text[:40], piece)
