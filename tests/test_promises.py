"""The READMEs' promises, in their own words, against the code and the requests that it sends.

Each expected number is read from a sentence of a README, so that neither changes alone.
"""

import csv
import gc
import json
import logging
import re
from ast import literal_eval
from inspect import signature

import anyio
import numpy
import pytest
from conftest import PNG, call_threads, failure, wait_until_async
from hostile import RIGHT, Reply, completed, failed, generating, messages_of
from inside import bound, skip_random_waits
from network import web_server
from readmes import READMES

import qvq_wrapper
from qvq_wrapper import MediaError, ResponseError, ResponseTimeoutError, ask
from qvq_wrapper.batch import answer_file, ask_many
from qvq_wrapper.serve.options import parse

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]

REFERENCE = READMES["qvq_wrapper/README.rst"]
README = " ".join("\n".join(READMES.values()).replace("``", "").split())
"""All READMEs, so that a number is promised in one place only."""
WORDS = {
    "half a": 0.5, "an": 1, "a": 1, "twice": 2, "three": 3, "four": 4, "six": 6, "eight": 8,
    "ten": 10}
NUMBER = rf"(\b(?:{'|'.join(WORDS)})\b|-?\b\d(?:[\d.,]*\d)?)"

TABLES = [
    # A sentence of the reference's tables, its unit, and the names of its numbers in the code.
    ("closes its stream, or # s after the answer is complete", 1, "drain_timeout"),
    ("If Retry-After is more than # minute, nothing is tried again", 60, "longest_delay"),
    ("is made within # s, or read_timeout if that is less", 1, "connect_timeout"),
    ("A Space's other responses have # MiB at most", 2**20, "max_body_bytes"),
    ("as Python objects # MiB", 2**20, "max_json_bytes"),
    ("Of an error, # KiB are read", 2**10, "max_error_bytes"),
    ("What is remembered of all Spaces takes # MiB at most", 2**20, "max_info_bytes"),
    ("takes milliseconds, or # s at most if the Space is silent", 1, "cleanup"),
    ("its thread waits up to # s for the Space's response", 1, "join_patience"),
    ("with the same access for # s, or for # second less than", 1, "keep keep_margin"),
    ("A Space has # at most, a process #.", 1, "max_idle max_all_idle"),
    ("Behind a proxy that keeps it open, it can take # s", 1, "info_max_age"),
    ("or confirmed by a complete answer in the last # s", 1, "info_max_age"),
    ("# minutes after its last use, the next call forgets it", 60, "forget_after"),
]
ELSEWHERE = [
    ("also waits for the end of the job, # seconds at most", 1, "cleanup"),
    ("from its position to its end, # MiB at most", 2**20, "max_file_bytes"),
    ("that says the same # characters or more # times in a row", 1, "shortest times"),
    ("It gives up a server that is silent for # minutes", 60, "read_timeout"),
    ("at most # MB and", 2**20, "max_file"),
    ("and # megapixels", 10**6, "max_decoded"),
    ("and all together have # GB", 2**30, "max_folder"),
    ("Pictures are deleted after about # hour", 3600, "max_age"),
]
BY_REQUESTS = [  # the other numbers of the reference's tables; tests below make requests for them
    "up to # second at first, up to # as long each further time, and # s at most",
    "after #, # or # before the question was handed in",
    "all outputs of an endpoint together # times as many",
    "A message has # bytes per character at most",
    "sends one every # s",  # of gradio, not of this package
]


def pattern(sentence):
    return NUMBER.join(map(re.escape, sentence.split("#")))


def numbers(sentence):
    """Return the numbers at the places of ``#`` in a sentence of a README."""
    (found,) = re.finditer(pattern(sentence), README, re.I)
    words = [word.lower().replace(",", "") for word in found.groups()]
    return [WORDS[word] if word in WORDS else float(word) for word in words]


def section(title):
    """Return the lines of a section of the reference."""
    rest = re.split(rf"^{title}\n-+\n", REFERENCE, flags=re.M)[1]
    return re.split(r"^.+\n-+\n", rest, flags=re.M)[0].splitlines()


def table(title):
    """Return the rows of the table in a section of the reference: the text of each cell."""
    lines, rows = section(title), []
    start, head, end = (number for number, line in enumerate(lines) if line.startswith("==="))
    starts = [found.start() for found in re.finditer("=+", lines[start])]
    for line in lines[head + 1:end]:
        cells = [line[a:b].replace("``", "").strip() for a, b in zip(starts, [*starts[1:], None])]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], cells)]
    return rows


# The numbers


def test_the_numbers_are_those_of_the_code():
    promised, found = {}, {}
    for sentence, unit, names in TABLES + ELSEWHERE:
        promised[sentence] = [number * unit for number in numbers(sentence)]
        found[sentence] = [bound(name) for name in names.split()]
    assert found == promised


def test_no_number_of_the_tables_is_left_out():
    text = " ".join(" ".join(section("Retries") + section("Promises")).replace("``", "").split())
    for sentence in [*BY_REQUESTS, *(sentence for sentence, _, _ in TABLES)]:
        text = re.sub(pattern(sentence), "", text, flags=re.I)
    assert not re.findall(rf"\d+|\b(?:{'|'.join(WORDS)}) (?:at most|second|minute)\b", text)


def test_the_options_and_their_defaults():
    known = signature(ask).parameters
    options = {name: literal_eval(default or "None") for name, default, _ in table("Options")}
    others = {"prompt", "image", "model", "api_key", "proxy"}
    assert options.keys() == known.keys() - others
    assert options == {name: known[name].default for name in options}


def test_the_options_of_a_space_of_ones_own():
    options = parse([])
    promised = [number for sentence in ("--concurrency (#) is", "--max-tokens (#) are", "(#, which")
                for number in numbers(sentence)]
    assert [options.concurrency, options.max_tokens, options.max_pixels] == promised
    (tokens,) = numbers("which are # of QVQ's tokens")
    assert options.max_pixels == tokens * 28 * 28  # a token of Qwen2-VL, which QVQ is made from


def test_the_values_of_an_array():
    ends = numbers(
        "The values of an array go from # to #, of uint16 from # to #, and of floats from # to #.")
    clipped = numbers("Floats from # to # are clipped.")
    grey = ask("Hi", numpy.array([[0.0, 0.5, 1.0]]))
    assert b"IHDR" in grey.picture.read()
    grey.cancel()
    kinds = [("int32", *ends[:2], 1), ("uint16", *ends[2:4], 1), ("float64", *clipped, 0.01)]
    for kind, low, high, step in kinds:
        ask("Hi", numpy.array([[low, high]], kind)).cancel()
        for wrong in (low - step, high + step):
            if kind != "uint16":  # which has no other values
                with pytest.raises(MediaError, match="values|floats"):
                    ask("Hi", numpy.array([[low, wrong]], kind))
    assert ends[4:] == [0, 1] and ends[2:4] == [0, numpy.iinfo("uint16").max]


# Retries


@pytest.fixture
def waits(monkeypatch):
    """The shortest and longest wait of each retry. None of them waits."""
    return skip_random_waits(monkeypatch)


async def test_the_waits_between_attempts(waits):
    first, factor, longest = numbers(BY_REQUESTS[0])
    with web_server(503) as server:
        await failure(ask("Hi", url=server.url, max_retries=6))
        assert waits[:6] == [(0, min(longest, first * factor**number)) for number in range(6)]
        server.requests.clear()
        await failure(ask("Hi", url=server.url))
    (retries,) = (int(default) for name, default, _ in table("Options") if name == "max_retries")
    assert len(server.requests) == 1 + retries


async def test_which_statuses_are_asked_again(waits):
    again = numbers(BY_REQUESTS[1])
    for status in (400, 401, 403, 404, 405, 408, 413, 425, 429, 500, 501, 502, 503, 504):
        with web_server(status) as server:
            await failure(ask("Hi", url=server.url, max_retries=1))
        assert len(server.requests) == 1 + (status in again), status


async def test_a_question_that_was_handed_in_is_asked_again_only_where_no_job_can_be(
        hostile, waits):
    full = b'{"detail": "Queue is full. Max size is 1 and size is 1."}'
    for status, body, again in [
            (429, b"{}", True), (503, full, True), (502, b"{}", False), (503, b"{}", False),
            (500, b"{}", False), (408, b"{}", False)]:
        hostile.requests.clear()
        hostile.replies = {"/queue/join": Reply(body, status)}
        await failure(ask("Hi", url=hostile.url, max_retries=1))
        assert hostile.count("/queue/join") == 1 + again, (status, body)


async def test_an_apps_error_or_a_quota_is_never_asked_again(hostile, waits):
    for number, words in enumerate(["too dark", "You have exceeded your GPU quota (60s)"], 1):
        hostile.messages = [failed(words)]
        error = await failure(ask("Hi", url=hostile.url))
        assert words in str(error) and hostile.count("/queue/join") == number


async def test_the_longest_wait_that_a_space_may_ask_for(caplog):
    caplog.set_level(logging.INFO, "qvq_wrapper")
    (minutes,) = numbers(TABLES[0][0])
    longest = int(60 * minutes)
    with web_server(429, headers=[("Retry-After", str(longest + 1))]) as server:
        error = await failure(ask("Hi", url=server.url))
        assert error.retry_after == longest + 1 and len(server.requests) == 1 and not caplog.text
    with web_server(429, headers=[("Retry-After", str(longest))]) as server:
        await failure(ask("Hi", url=server.url, timeout=longest - 1))
        assert len(server.requests) == 1 and not caplog.text
        async with ask("Hi", url=server.url) as stream, anyio.create_task_group() as group:
            group.start_soon(_read_to_the_end, stream)
            await wait_until_async(lambda: f"asking again in {longest}.0 s" in caplog.text)
            stream.cancel()


async def _read_to_the_end(stream):
    async for _ in stream:
        pass


# Errors, the status, an answer

SECRET = {"api_key": "hf_secret_token", "headers": {"cookie": "hf_secret_cookie"}}


async def test_the_errors():
    rows = table("Errors")
    kinds = {name: getattr(qvq_wrapper, name) for name, _ in rows}
    assert len(rows) == sum(name.endswith("Error") for name in qvq_wrapper.__all__)
    assert "All but the last two are kinds of ResponseError." in README
    for number, (name, when) in enumerate(rows):
        assert issubclass(kinds[name], ResponseError) == (number < len(rows) - 2), name
        assert issubclass(kinds[name], TimeoutError) == ("also a TimeoutError" in when), name
        assert issubclass(kinds[name], ValueError) == ("; a ValueError" in when), name
        statuses = re.findall(r"\b[345](?:\d\d|xx)\b", when)
        for status in [*statuses, *(["302"] if "a redirect" in when else [])]:
            with web_server(int(status.replace("xx", "20"))) as server:
                error = await failure(ask("Hi", url=server.url, max_retries=0, **SECRET))
            assert type(error) is kinds[name], status
            assert "hf_secret" not in f"{error!r} {vars(error)}", status
    attributes = re.search(r"kinds of ResponseError. It has (.*?)\.", README)[1]
    assert set(re.findall(r"\w+", attributes)) - {"and"} == vars(error).keys()


async def test_the_stages_come_in_the_readmes_order(hostile):
    promised = re.search(
        r"stage is (.*?), and at the end finished, failed or cancelled.", README)[1]
    statuses, chunks = [], []
    stream = ask("Hi", PNG, url=hostile.url, on_status=statuses.append)
    stages = [stream.status.stage]
    async for chunk in stream:
        chunks.append(chunk)
        await wait_until_async(lambda: not call_threads())  # what comes last is read after the end
    stages += dict.fromkeys(status.stage for status in statuses)
    assert stages == [*re.findall("[a-z]{3,}", promised), "finished"]
    assert "position is the place in the queue (1 is next)" in README
    queued = next(status for status in statuses if status.stage == "queued")
    assert queued.position == 1  # Gradio's rank is 0
    assert "".join(chunks) == stream.text == RIGHT and all(chunks)


# The table of promises


def _stream_of(*pieces, again):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    return lambda handler: handler.drip(head, *pieces, again=again, pause=0.1)


@pytest.mark.parametrize("alive, timeout, words", [
    (False, None, "silent for longer than read_timeout"), (True, 3, "within timeout=3 s")])
async def test_an_answer_ends_by_timeout_or_after_read_timeout_of_silence(
        hostile, alive, timeout, words):
    signs_of_life = b'data: {"msg": "heartbeat"}\n\n' if alive else b""
    hostile.replies = {"/queue/data": _stream_of(again=signs_of_life)}
    stream = ask("Hi", url=hostile.url, read_timeout=1, timeout=timeout, max_retries=0)
    error = await failure(stream)
    assert type(error) is ResponseTimeoutError and words in str(error)


async def test_how_long_an_answer_may_be(hostile):
    most, slack = 100_000, 2**18  # the bounds leave some room around a text
    (times,) = map(int, numbers(BY_REQUESTS[2]))
    (size,) = map(int, numbers(BY_REQUESTS[3]))

    async def fits(*messages):
        hostile.messages = messages
        stream = ask("Hi", url=hostile.url, max_chars=most)
        try:
            await stream.read()
        except ResponseError as error:
            return str(error).split(" ")[1:4]
        return True

    assert await fits(*messages_of("\1" * most))  # JSON has six bytes for it
    assert await fits(*messages_of("x" * (most + 1))) == ["answer", "grew", "past"]
    outputs = "x", "x" * (times * most - 1)
    assert await fits(generating(*outputs), completed("x", "")) is True
    outputs = "x", "x" * (times * most + slack)
    assert await fits(generating(*outputs), completed("x", "")) == ["Space's", "outputs", "grew"]
    for length, fit in ((size * most, True), (size * most + slack, False)):
        said = {"msg": "log", "log": "x" * (length - 1000), "level": "info"}
        assert (await fits(said, *messages_of(RIGHT)) is True) == fit


@pytest.mark.backends("asyncio", "trio")
async def test_the_job_of_a_left_answer_is_cancelled(hostile):
    said = json.dumps({"event_id": "the-event", **generating("a")}).encode()
    alive = b'data: {"msg": "heartbeat"}\n\n'
    hostile.replies = {"/queue/data": _stream_of(b"data: " + said + b"\n\n", again=alive)}
    with anyio.CancelScope() as scope:
        async for _ in ask("Hi", url=hostile.url):
            (thread,) = call_threads()  # "Each answer has one daemon thread, named qvq_wrapper."
            assert thread.daemon
            scope.cancel()
    assert hostile.count("/cancel") == 1  # already: the program may exit now


async def test_a_token_goes_to_the_space_and_a_saved_one_nowhere(hostile, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_saved")
    for token, sent in (("hf_given", {"Bearer hf_given"}), (None, {None})):
        await wait_until_async(lambda: not call_threads())
        hostile.heads.clear()
        assert await ask("Hi", PNG, url=hostile.url, api_key=token).read() == RIGHT
        for name in ("authorization", "x-hf-authorization"):
            heads = [{key.lower(): value for key, value in head.items()} for head in hostile.heads]
            assert {head.get(name) for head in heads} == sent
        assert "hf_saved" not in str(hostile.heads)


def test_no_repr_shows_a_secret():
    stream = ask(
        "Hi", PNG, url="http://127.0.0.1:1", auth=("user", "hf_secret_password"),
        proxy="http://user:hf_secret_proxy@127.0.0.1:1", **SECRET)
    own, todo = [], [stream]
    while todo:
        thing = todo.pop()
        if type(thing).__module__.startswith("qvq_wrapper") and not any(thing is it for it in own):
            own.append(thing)
            assert "hf_secret" not in repr(thing) and repr(PNG)[2:60] not in repr(thing)
            todo += gc.get_referents(thing)
        elif isinstance(thing, dict):
            todo += thing.values()
    assert len(own) > 4  # the stream and what it knows of its question
    stream.cancel()


# A data set


async def test_when_a_run_ends():
    (patience,) = numbers("if nothing was answered for patience (# s)")
    for function in (answer_file, ask_many):
        assert signature(function).parameters["patience"].default == patience
    (minutes,) = numbers("A Space that cannot be reached has # minute")
    (tries,) = numbers("has # tries while the Space answers others")
    assert (bound("unreachable"), bound("max_retries") + 1) == (60 * minutes, tries)
    times, factor = numbers("if the same error has come # times, or # concurrency if that is more")

    async def fail(question):
        asked.append(question)
        await anyio.sleep(0)
        raise KeyError("prompt")

    for concurrency in (1, int(times)):
        asked = []
        with pytest.raises(KeyError):
            async for _ in ask_many([{"prompt": "Hi"}] * 99, ask=fail, concurrency=concurrency):
                pass
        assert len(asked) == max(times, factor * concurrency)


async def test_the_lines_of_a_data_set(hostile, tmp_path):
    names, error = re.search(
        r"A line has your columns, (.*?)\. A failed question has error \((.*?)\)", README).groups()
    own = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", names))) - {"and"}
    with open(tmp_path / "questions.csv", "w", newline="") as file:
        csv.writer(file).writerows([["prompt", "city"], ["What, then; is\tit?", 'a "quoted", one']])
    for messages, left_out, added in [
            (messages_of(RIGHT), set(), set()),
            ([failed("too dark")], {"answer", "asked"}, {"error"})]:
        hostile.messages = messages
        answers = tmp_path / f"{len(messages)}.jsonl"
        await answer_file(tmp_path / "questions.csv", answers, url=hostile.url)
        (line,) = map(json.loads, answers.read_text().splitlines())
        assert line.keys() == {"prompt", "city"} | own - left_out | added
        assert (line["prompt"], line["city"]) == ("What, then; is\tit?", 'a "quoted", one')
    assert line["error"].keys() == set(re.findall(r"\w+", error))
