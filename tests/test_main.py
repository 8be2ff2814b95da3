"""The command line, in this process where that makes no difference, or as a user runs it."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
from conftest import BOUND, PNG, script, wait_until
from network import Relay, web_server

from qvq_wrapper import __version__
from qvq_wrapper.__main__ import main
from qvq_wrapper.batch.__main__ import main as batch_main
from qvq_wrapper.printable import printable
from qvq_wrapper.serve.options import parse as parse_for_serve

QVQ = [sys.executable, "-m", "qvq_wrapper"]
TERMINAL, CLOSED = "a terminal", None


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command in this process."""

    def run(command, *arguments, stdin=b""):
        given = Terminal() if stdin is TERMINAL else io.TextIOWrapper(io.BytesIO(stdin or b""))
        monkeypatch.setattr(sys, "stdin", None if stdin is CLOSED else given)
        try:
            status = command(list(arguments))
        except SystemExit as end:
            status = end.code
        shown = capsys.readouterr()
        return SimpleNamespace(status=status, stdout=shown.out, stderr=shown.err)

    return run


@pytest.fixture
def qvq(run):
    return partial(run, main)


@contextmanager
def on_a_terminal(*arguments):
    """Run the command on a terminal. Yields the process and a function that reads its output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*QVQ, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    seen = bytearray()

    def read_until(pattern=None):
        """Return all output so far, as soon as the pattern is found in it, or at its end."""
        while pattern is None or not re.search(pattern, seen.decode(errors="ignore"), re.S):
            missed = f"no {pattern!r} in {bytes(seen)!r}"
            assert select.select([master], [], [], BOUND)[0], missed
            try:
                seen.extend(os.read(master, 1000))
            except OSError:  # the process has ended
                assert pattern is None, missed
                break
        return seen.decode(errors="ignore")

    try:
        yield process, read_until
    finally:
        process.kill()
        process.wait()
        os.close(master)


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


def test_json(space, qvq):
    prompt = script("# Title", 0.1, "# Title\n\x1b[31mred", 0.1, "# Another")
    result = qvq(prompt, "--url", space.url, "--json")
    assert (result.status, result.stderr) == (0, "") and "\x1b" not in result.stdout
    lines = objects(result.stdout)
    assert all(len(line) == 1 for line in lines)
    chunks = [line["chunk"] for line in lines if "chunk" in line]
    assert chunks == ["# Title", "\n\x1b[31mred", "Another"]
    done = lines[-1]["done"]
    assert done["text"] == "# Another" and 0.2 < done["seconds"] < BOUND
    statuses = [line["status"] for line in lines if "status" in line]
    assert statuses[0]["stage"] == "connecting" and statuses[-1]["stage"] == "finished"
    assert statuses[0].keys() == {"stage", "position", "queue_size", "eta", "progress", "log"}
    result = qvq(script("a word", 0.1, {"raise": "too dark"}), "--url", space.url, "--json")
    assert (result.status, result.stderr) == (1, "qvq: too dark\n")
    assert objects(result.stdout)[-1] == {"error": {
        "kind": "ResponseError", "message": "too dark", "status_code": None,
        "retry_after": None, "retryable": False}}


def test_the_token(space, qvq, monkeypatch, tmp_path):
    """It is in a file or in the environment, where an empty one is ignored."""
    (tmp_path / "token").write_text("hf_in_file\n")
    by_file = ["--api-key-file", str(tmp_path / "token")]
    for variable, options, sent in [
            ("", [], None), ("", by_file, "Bearer hf_in_file"), ("hf_set", [], "Bearer hf_set")]:
        monkeypatch.setenv("QVQ_API_KEY", variable)
        assert qvq(f"token {sent}", "--url", space.url, *options).status == 0
        assert space.seen(f"token {sent}")["headers"].get("authorization") == sent


def test_the_options_of_a_call(start_space, qvq, certificate, tmp_path):
    """A login, a certificate of its own, a header, another endpoint, and a limit for pictures."""
    (tmp_path / "login").write_text("user:pass:word\n")
    (tmp_path / "x.png").write_bytes(PNG)
    with start_space("--login", "user", "pass:word", "--certificate", *certificate,
                     "--max-file-size", 100) as space:
        access = ["--auth-file", str(tmp_path / "login"), "--cafile", str(certificate[0]),
                  "--header", "X-More: yes: it is", "--url", space.url]
        result = qvq("all of them", *access, "--api-name", "text", "--read-timeout", "0")
        assert (result.stderr, result.stdout) == ("", "You asked: all of them\n")
        assert qvq("--list", *access).stdout.startswith("/generate: takes")
        large = qvq("Hi", "-i", str(tmp_path / "x.png"), *access)
        assert large.status == 1 and "limit is 100" in large.stderr
        assert space.seen("all of them")["headers"]["x-more"] == "yes: it is"


FORMS = [  # how question and picture are given: the arguments, and standard input
    ("Q --url U x.png", b"not read"), ("--url U -- -Q x.png", b""), ("--url U -- Q -", PNG),
    ("-i x.png Q --url U", b""), ("--url U -i x.png", b"Q"), ("- x.png --url U", b"Q\r\n"),
    ("- --image x.png --url U", b"\xef\xbb\xbfQ\n"), ("Q --image=- --url U", PNG),
    ("Q x.png --url U", TERMINAL), ("Q x.png --url U", CLOSED), ("Q --url U", b"not read"),
]


def test_the_forms_of_question_and_picture(space, qvq, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").write_bytes(PNG)
    for number, (command, stdin) in enumerate(FORMS):
        question = f"form{number}"
        names = {"Q": question, "-Q": f"-{question}", "U": space.url}
        arguments = [names.get(each, each) for each in command.split()]
        if isinstance(stdin, bytes) and stdin != PNG:
            stdin = stdin.replace(b"Q", question.encode())
        result = qvq(*arguments, stdin=stdin)
        asked = f"-{question}" if "-Q" in command else question
        assert (result.status, result.stderr) == (0, ""), (command, result)
        assert result.stdout == f"You asked: {asked}\n", command
        has_picture = "x.png" in command or stdin == PNG
        assert space.seen(asked).get("size") == (len(PNG) if has_picture else None), command


REFUSED_FORMS = [
    ("", TERMINAL, 'there is no question. Write: qvq "What is this?" photo.jpg'),
    ("", CLOSED, "there is no question"), ("- x.png", CLOSED, "standard input is empty"),
    ("-i x.png", b" \n", "standard input is empty"), ("Q -", TERMINAL, "no file with a picture"),
    ("x.png", b"Q", "the question comes before"), ("-i -", PNG, "cannot be both"),
    ("Q x.png x.png", b"", "too many arguments"), ("Q x.png -i x.png", b"", "2 pictures were"),
    ("-", "café".encode("latin-1"), "If it is in ISO-8859-1, convert it: iconv -f ISO-8"),
    ("-", "cafe".encode("utf-16-le"), "UTF-16"), ("-", PNG, "standard input is a picture (PNG)"),
    ("caf\udce9", b"", "an argument is not in UTF-8. If it is in ISO-8859-1"),
    ("Q --system \udce9", b"", "not in UTF-8"), ("Q --param a=\udce9", b"", "not in UTF-8"),
    ("Q -i -", b"", "the picture is empty"), ("--list -i x.png", b"", "--list asks nothing"),
    ("Q --param =1", b"", "must be NAME=VALUE"), ("Q --param a=NaN", b"", "'a' is a float"),
    ("Q --max-retries -1", b"", "max_retries must be 0 or more"),
    ("Q --system S x.pdf", b"", "'x.pdf' cannot be read"),
    ("Q --ulr u", b"", "unknown option: --ulr. Did you mean --url?"),
    ("Q --cafile /", b"", "--cafile /: Is a directory"), ("Q --cafile empty", b"", "no certifica"),
    ("Q --timeout soon", b"", "invalid float value"), ("Q --demo --url U", b"", "--demo"),
    ("Q --header no-colon", b"", "--header"), ("Q --auth-file no/such", b"", "--auth-file"),
    ("Q --api-key-file empty", b"", "--api-key-file empty must hold one line"),
    ("Q --auth-file two", b"", "--auth-file two must hold one line"),
    ("Q --auth-file x.png", b"", "--auth-file x.png must hold one line"),
]


def test_the_forms_that_are_refused(qvq, monkeypatch, tmp_path):
    """Before anything is sent, with one clear line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").write_bytes(PNG)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text("ann:hf_Sesame\nbob:hf_Sesame\n")
    for command, stdin, said in REFUSED_FORMS:
        url = [] if "--url" in command else ["--url", "http://127.0.0.1:9"]
        result = qvq(*command.split(), *url, stdin=stdin)
        assert (result.status, result.stdout) == (2, ""), (command, result)
        assert said in result.stderr.splitlines()[-1], (command, result)
        assert "Sesame" not in result.stderr and result.stderr.count("\n") <= 2, command


def test_the_endpoints_parameters(space, qvq):
    """A value is JSON if it can be, and a text otherwise."""
    more = ["parameters", "--url", space.url, "--api-name", "more", "--param", "temperature=1.5"]
    for value, shown in [("a=b", "a=b"), ("1.50", "1.5"), ('"1.50"', "1.50"), ("[[", "[[")]:
        result = qvq(*more, "--param", f"headers={value}")
        assert (result.stdout, result.stderr) == (f"parameters at 1.5, {shown}\n", "")
    result = qvq(*more, "--param", "temprature=1")
    assert result.status == 1 and "/more has no parameter temprature. It takes:" in result.stderr


def test_the_limits(space, qvq):
    result = qvq(script(5), "--url", space.url, "--timeout", "0.000001")
    assert result.status == 1 and result.stderr.count("\n") == 1 and "timeout" in result.stderr
    result = qvq("a long answer", "--url", space.url, "--max-chars", "5", "--final")
    assert (result.status, result.stdout) == (1, "") and "max_chars=5" in result.stderr
    with web_server(503) as server:
        assert qvq("Hi", "--url", server.url, "--max-retries", "1").status == 1
        assert len(server.requests) == 2


def test_an_answer_that_the_space_rewrites(space, qvq):
    """A file's reader is told, once. Only the final text can be had, with --final."""
    prompt = script("one tow", 0.2, "one two", 0.2, "one two three", 0.2, "1, 2")
    url = ["--url", space.url]
    result = qvq(prompt, *url)
    assert result.status == 0 and result.stdout == "one towwo three1, 2\n"
    assert result.stderr.count("\n") == 1 and "--final" in result.stderr
    assert qvq(script("one", 0.2, "one two"), *url).stderr == ""
    result = qvq(prompt, "--final", *url)
    assert (result.stdout, result.stderr) == ("1, 2\n", "")
    lines = objects(qvq(prompt, "--final", "--json", *url).stdout)
    assert lines[-1]["done"]["text"] == "1, 2" and not any("chunk" in line for line in lines)
    result = qvq(script("half", 0.2, {"raise": "too dark"}), "--final", *url)
    assert (result.status, result.stdout, result.stderr) == (1, "", "qvq: too dark\n")


def test_where_the_output_goes(space, tmp_path):
    """To the right place alone. No answer is asked for that nobody can read.

    In the help's example, the file has the answer and nothing else.
    """
    (tmp_path / "question.txt").write_text("from a pipe\n")
    (tmp_path / "x.png").write_bytes(PNG)
    prompt = script("one", 0.2, "two")  # which is told of on stderr

    def run(command):
        command = command.replace("QVQ", f"{' '.join(QVQ)} --url {space.url}")
        result = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=BOUND)
        return result.returncode, result.stdout, result.stderr

    assert run("QVQ -i x.png < question.txt > answer.md") == (0, "", "")
    assert (tmp_path / "answer.md").read_bytes() == b"You asked: from a pipe\n"
    assert space.seen("from a pipe")["image"] == "x.png"
    assert run(f"QVQ '{prompt}' 2>&-") == (0, "onetwo\n", "")
    assert run("QVQ unprintable >&-") == (2, "", "qvq: standard output is closed\n")
    assert not space.log("asked", prompt="unprintable")
    full = "qvq: the answer cannot be written: No space left on device\n"
    assert run("QVQ full > /dev/full") == (1, "", full)
    prompt = script(*["many", 0.05, "many words"] * 200)
    assert run(f"{{ QVQ '{prompt}'; echo $? >&2; }} | head -c 1") == (0, "m", "141\n")
    wait_until(lambda: space.log("left", prompt=prompt))
    assert not space.log("finished", prompt=prompt)


COMMANDS = {"qvq": (main, ["Hi"]), "qvq-batch": (batch_main, ["q.jsonl", "a.jsonl"]),
            "serve": (parse_for_serve, [])}
SECRET = "hf_Sesame"
TRIED = ["--api-key", "--api_key", "--apikey", "--key", "--token", "--hf-token", "--access-token",
         "--auth", "--bearer", "--password", "--user", "--openai-api-key", "--API-KEY", "-token"]
WITH_A_SECRET = [
    *[([option, SECRET], "Give a token by --api-key-file") for option in TRIED],
    *[([f"--api-key{sign}{SECRET}"], "Give a token by --api-key-file") for sign in "=:"],
    (["--api-key-fil", SECRET], "unknown option: --api-key-fil."),
    (["--foo", SECRET], "unknown option: --foo."), ([f"--foo={SECRET}"], "unknown option: --foo."),
    (["-H", f"Authorization: {SECRET}"], "unknown option: -H."), ([f"-x{SECRET}1"], "option: -x."),
    ([f"--{SECRET}1"], "unknown option: --hf_."), (["b", "c", SECRET], "too many arguments"),
    ([f"--help={SECRET}"], "--help: ignored explicit argument"),
    (["--api-key-file", SECRET], "--api-key-file"), (["--auth-file", SECRET], "--auth-file"),
    (["--auth-file", "\x1b[31m\u202e"], "[31m"),  # the name of a file could steer a terminal
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_secret_is_repeated(command, run, monkeypatch, tmp_path):
    """With the options that people try for one, and where a file's name is wanted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").write_text("")
    (tmp_path / "\x1b[31m\u202e").write_text("two\nlines")
    function, needed = COMMANDS[command]
    for arguments, said in WITH_A_SECRET:
        result = run(function, *needed, *arguments)
        shown = result.stdout + result.stderr
        assert result.status == 2 and said in shown.splitlines()[-1], (arguments, shown)
        assert "Sesame" not in shown and printable(shown, "\n") == shown, arguments
        assert not (tmp_path / "a.jsonl").exists(), arguments


@pytest.mark.parametrize("command", ["qvq", "qvq-batch"])
def test_the_helps_first_screen_has_what_most_people_need(command, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(COMMANDS[command][0], "--help").stdout.splitlines()
    first, rest = "\n".join(lines[:24]), "\n".join(lines[24:])
    assert max(map(len, lines)) <= 80 and "--cafile" in rest and "--timeout" in rest
    if command == "qvq":
        assert all(f"  {each}" in first for each in ("picture", "-i P", "--json", "--list"))
        assert first.count("\n  qvq ") == 4
        assert run(main, "--version").stdout == f"qvq_wrapper {__version__}\n"


@contextmanager
def keeping_back(space, *words):
    """Yield the URL of a relay that keeps these words back, and a function that lets one pass."""
    kept = [(word, threading.Event()) for word in words]

    def keep_back(data):
        waited = (free.wait(BOUND) for word, free in kept if word in data)
        return data if all(waited) else None

    with Relay(space.port) as relay:
        relay.change(keep_back)
        yield relay.url, lambda: next(free for _, free in kept if not free.is_set()).set()


def test_what_a_terminal_shows(space, qvq, tmp_path):
    """The status, on one line; the answer without control characters; an error on a new line."""
    (tmp_path / "x.png").write_bytes(PNG)
    text = "crimson \x1b[31m\x07 and\ttab \x9b1m\u202e\u2066\n\x02"
    assert "\x1b[31m" in qvq(script(text), "--url", space.url).stdout
    info = "a\nlong\x1b[31m " + "word " * 50
    prompt = script({"info": info}, 0.3, text, 0.3, text + "\x01", 0.3, {"raise": "too dark"})
    with keeping_back(space, b"x.png", b"crimson", rb"\u0001", b"too dark") as (url, let_pass), \
            on_a_terminal(prompt, str(tmp_path / "x.png"), "--url", url) as (process, read_until):
        sending = r"Sending the picture, 1 kB \.\.\. (\d+) s.*kB \.\.\. (?!\1 s)"
        for seen in (sending, r"a long\[31m word", "1m\r\n", ""):
            read_until(seen)
            let_pass()
        *status, answer = read_until().split("\r\x1b[K")
        assert process.wait(BOUND) == 1
    shown = r"crimson \[31m and(\t| +)tab 1m\r\nqvq: too dark\r\n"
    assert status[0] == "" and re.fullmatch(shown, answer)
    for line in filter(None, status):  # the terminal cuts it off at the margin
        assert line.startswith("\x1b[?7l") and line.endswith("\x1b[?7h") and "\n" not in line


def test_ctrl_c_in_json(space):
    prompt = script(*["WORD", 0.05] * 200, "ctrl-c in json")
    with subprocess.Popen(
            [*QVQ, prompt, "--url", space.url, "--json"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as process:
        while "WORD" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=BOUND)
    error = objects(output)[-1]["error"]
    assert (process.returncode, errors) == (130, "")
    assert error["kind"] == "KeyboardInterrupt" and "after 4 characters" in error["message"]
    wait_until(lambda: space.log("left", prompt=prompt))
    assert not space.log("finished", prompt=prompt)


def test_ctrl_c_while_the_space_is_silent(start_space):
    with start_space() as space, \
            on_a_terminal(script("WORD", 60), "--url", space.url) as (begun, read_word), \
            on_a_terminal(script(60), "--url", space.url) as (waiting, read_status):
        read_word("WORD")
        read_status(r"The Space is at work \.\.\. ")
        space.signal(signal.SIGSTOP)
        for process in (begun, waiting):
            process.send_signal(signal.SIGINT)
            assert process.wait(BOUND) == 130


def test_a_script_ends_before_its_answer_is_read(space):
    code = f"from qvq_wrapper import ask\nnext(ask('Hi', url={space.url!r}).iterate())"
    result = subprocess.run([*QVQ[:1], "-c", code], capture_output=True, text=True, timeout=BOUND)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.space  # --demo starts one in a child process
@pytest.mark.test_all
def test_the_demo(qvq, monkeypatch):
    """The environment's proxies are not for it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:1")
    result = qvq("What does the sign say?", "--demo")
    assert result.status == 0 and result.stderr == ""
    for line in ("OPEN DAILY", "9 AM TO 5 PM", "MIND THE STEP"):
        assert line in result.stdout
