"""The command line, run as a user runs it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from conftest import BOUND, PNG, script, wait_until
from network import Relay

from qvq_wrapper.__main__ import main
from qvq_wrapper.batch.__main__ import main as batch_main
from qvq_wrapper.printable import printable
from qvq_wrapper.serve import running_space
from qvq_wrapper.serve.options import parse as parse_for_serve

QVQ = [sys.executable, "-m", "qvq_wrapper"]


def qvq(*arguments, **options):
    return subprocess.run([*QVQ, *arguments], capture_output=True, text=True, timeout=60, **options)


@contextmanager
def on_a_terminal(*arguments):
    """Run the command on a terminal. Yields the process and a function that reads its output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*QVQ, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    seen = bytearray()

    def read_until(text):
        """Return all output so far, as soon as it contains the text."""
        while text.encode() not in seen:
            assert select.select([master], [], [], BOUND)[0], f"no {text!r} in {seen.decode()!r}"
            seen.extend(os.read(master, 1000))
        return seen.decode()

    try:
        yield process, read_until
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_stdout_has_the_answer_and_nothing_else(space, tmp_path):
    picture = tmp_path / "x.png"
    picture.write_bytes(PNG)
    result = qvq("a question", "--image", str(picture), "--url", space.url)
    assert (result.returncode, result.stdout, result.stderr) == (0, "You asked: a question\n", "")
    assert space.seen("a question")["image"] == "x.png"


def test_the_question_from_stdin(space):
    assert qvq("-", "--url", space.url, input="from stdin\n").stdout == "You asked: from stdin\n"


def test_the_pipe(space, tmp_path):
    """The help's example: with stderr on a terminal, the file has the answer and nothing else."""
    (tmp_path / "question.txt").write_text("from a pipe")
    (tmp_path / "x.png").write_bytes(PNG)
    master, slave = pty.openpty()
    command = f"cat question.txt | {' '.join(QVQ)} - --image x.png --url {space.url} > answer.md"
    subprocess.run(command, shell=True, cwd=tmp_path, stderr=slave, timeout=60, check=True)
    os.close(slave)
    os.close(master)
    assert (tmp_path / "answer.md").read_bytes() == b"You asked: from a pipe\n"
    assert space.seen("from a pipe")["image"] == "x.png"


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


def test_json(space):
    prompt = script("# Title", 0.1, "# Title\n\x1b[31mred", 0.1, "# Another")
    result = qvq(prompt, "--url", space.url, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    lines = objects(result.stdout)
    assert {key for line in lines for key in line} == {"status", "chunk", "done"}
    assert all(len(line) == 1 for line in lines)
    chunks = [line["chunk"] for line in lines if "chunk" in line]
    assert chunks == ["# Title", "\n\x1b[31mred", "Another"]
    assert list(lines[-1]) == ["done"]
    done = lines[-1]["done"]
    assert done["text"] == "# Another" and 0.2 < done["seconds"] < BOUND
    statuses = [line["status"] for line in lines if "status" in line]
    assert statuses[0]["stage"] == "connecting" and statuses[-1]["stage"] == "finished"
    keys = {"stage", "position", "queue_size", "eta", "progress", "log"}
    assert all(keys <= status.keys() for status in statuses)


def test_an_error_in_json(space):
    result = qvq(script("a word", 0.1, {"raise": "too dark"}), "--url", space.url, "--json")
    assert (result.returncode, result.stderr) == (1, "qvq: too dark\n")
    lines = objects(result.stdout)
    assert {"chunk": "a word"} in lines and not any("done" in line for line in lines)
    assert lines[-1] == {"error": {
        "kind": "ResponseError", "message": "too dark", "status_code": None,
        "retry_after": None, "retryable": False}}


def test_an_empty_token_in_the_environment_is_ignored(space):
    environment = os.environ | {"QVQ_API_KEY": ""}
    assert qvq("Hi", "--url", space.url, env=environment).stdout == "You asked: Hi\n"


@pytest.mark.parametrize("source", ["file", "environment"])
def test_the_token(space, tmp_path, source):
    (tmp_path / "token").write_text("hf_secret\n")
    arguments = ["--api-key-file", str(tmp_path / "token")] if source == "file" else []
    environment = os.environ | ({"QVQ_API_KEY": "hf_secret"} if source == "environment" else {})
    prompt = f"token by {source}"
    assert qvq(prompt, "--url", space.url, *arguments, env=environment).returncode == 0
    assert space.seen(prompt)["headers"]["authorization"] == "Bearer hf_secret"


def test_the_options_of_a_call(start_space, certificate, tmp_path):
    """A login, a certificate of its own, a header and another endpoint."""
    (tmp_path / "login").write_text("user:pass:word\n")
    with start_space("--login", "user", "pass:word", "--certificate", *certificate) as space:
        result = qvq(
            "all of them", "--url", space.url, "--auth-file", str(tmp_path / "login"),
            "--cafile", str(certificate[0]), "--header", "X-More: yes: it is",
            "--api-name", "text", "--read-timeout", "0")
        assert (result.stderr, result.stdout) == ("", "You asked: all of them\n")
        assert space.seen("all of them")["headers"]["x-more"] == "yes: it is"


def test_the_read_timeout(space):
    result = qvq(script(5), "--url", space.url, "--read-timeout", "0.5")
    assert result.returncode == 1 and "read_timeout" in result.stderr


@pytest.mark.parametrize("content", [b"", b"two\nlines", PNG, b"\n"])
@pytest.mark.parametrize("option", ["--api-key-file", "--auth-file"])
def test_a_file_with_a_secret_that_cannot_be_used(tmp_path, option, content):
    (tmp_path / "secret.png").write_bytes(content)
    result = qvq("Hi", option, str(tmp_path / "secret.png"))
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert f"{option} {tmp_path / 'secret.png'} must hold one line" in result.stderr


def test_the_picture_from_stdin(space):
    arguments = [*QVQ, "picture from stdin", "--image", "-", "--url", space.url]
    result = subprocess.run(arguments, input=PNG, capture_output=True, timeout=60)
    assert result.stdout == b"You asked: picture from stdin\n" and result.stderr == b""
    assert space.seen("picture from stdin")["size"] == len(PNG)


def test_a_picture_that_is_too_large_for_the_space(start_space, tmp_path):
    """That is known only when the Space has said its limit."""
    (tmp_path / "x.png").write_bytes(PNG)
    with start_space("--max-file-size", 100) as space:
        result = qvq("Hi", "--image", str(tmp_path / "x.png"), "--url", space.url, "--json")
    assert result.returncode == 1 and "limit is 100" in result.stderr
    assert objects(result.stdout)[-1]["error"]["kind"] == "MediaError"


def test_a_full_disk(space):
    command = f"{' '.join(QVQ)} full --url {space.url} > /dev/full"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "qvq: the answer cannot be written: No space left on device\n"


def test_an_error_prints_one_line_and_exits_with_status_1(space):
    result = qvq(script({"raise": "too dark"}), "--url", space.url)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "qvq: too dark\n")
    result = qvq("Hi", "--url", space.url, "--timeout", "0.000001")
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "timeout" in result.stderr


@pytest.mark.parametrize("arguments", [
    [], ["Hi", "--image", __file__], ["Hi", "--image", "no.png"], ["Hi", "--url", "nonsense"],
    ["Hi", "--timeout", "soon"], ["Hi", "--api-key-file", "no/such"], ["Hi", "--proxy", "x"], [""],
    ["Hi", "--demo", "--url", "http://127.0.0.1"], ["Hi", "--json", "--image", "no.png"],
    ["-", "--image", "-"], ["Hi", "--image", "-"], ["Hi", "--header", "no colon"],
    ["Hi", "--header", "a b: c"], ["Hi", "--cafile", "no/such"], ["Hi", "--cafile", __file__],
    ["Hi", "--auth-file", "no/such"], ["Hi", "--read-timeout", "-1"], ["Hi", "--api-name", ""],
])
def test_wrong_usage_exits_with_status_2(arguments):
    result = qvq(*arguments)
    assert result.returncode == 2 and result.stdout == "" and "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 2


COMMANDS = {"qvq": (main, ["Hi"]), "qvq-batch": (batch_main, ["q.jsonl", "a.jsonl"]),
            "serve": (parse_for_serve, [])}
SECRET = "hf_Sesame"
TRIED = ["--api-key", "--api_key", "--apikey", "--key", "--token", "--hf-token", "--access-token",
         "--auth", "--bearer", "--password", "--user", "--openai-api-key", "--API-KEY", "-token"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("arguments, said", [
    *[([option, SECRET], "Give a token by --api-key-file") for option in TRIED],
    *[([f"--api-key{sign}{SECRET}"], "Give a token by --api-key-file") for sign in "=:"],
    (["--api-key-fil", SECRET], "unknown option: --api-key-fil."),
    (["--foo", SECRET], "unknown option: --foo."), ([f"--foo={SECRET}"], "unknown option: --foo."),
    (["-H", f"Authorization: {SECRET}"], "unknown option: -H."), ([f"-x{SECRET}1"], "option: -x."),
    ([f"--{SECRET}1"], "unknown option: --hf_."), (["b", SECRET], "too many arguments"),
    ([f"--help={SECRET}"], "--help: ignored explicit argument"),
    (["--api-key-file", SECRET], "--api-key-file"), (["--auth-file", SECRET], "--auth-file"),
], ids=str)
def test_no_secret_is_repeated(command, arguments, said, capsys, monkeypatch, tmp_path):
    """With the options that people try for one, and where a file's name is wanted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.jsonl").write_text("")
    run, needed = COMMANDS[command]
    try:
        status = run([*needed, *arguments])
    except SystemExit as end:
        status = end.code
    shown = "".join(capsys.readouterr())
    assert status == 2 and said in shown.splitlines()[-1] and "Sesame" not in shown
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize("command, option", [
    ("qvq", "--image"), ("qvq", "--auth-file"), ("qvq", "--cafile"), ("serve", "--auth-file")])
def test_a_message_does_not_steer_the_terminal(command, option, capsys, monkeypatch, tmp_path):
    """The name of a file could."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "\x1b[31m\u202e").write_text("two\nlines")
    run, needed = COMMANDS[command]
    with suppress(SystemExit):
        run([*needed, option, "\x1b[31m\u202e"])
    shown = capsys.readouterr().err
    assert "[31m" in shown and printable(shown, "\n") == shown


def test_a_second_picture_is_refused():
    result = qvq("Hi", "--image", "a.png", "--image", "b.png")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "qvq: --image was given 2 times; the Space takes one picture\n"


def test_the_help_fits_a_screen():
    lines = qvq("--help", env=os.environ | {"COLUMNS": "80"}).stdout.splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith("  qvq ") or "| qvq " in line]) == 4


def test_control_characters_are_removed_only_on_a_terminal(space):
    prompt = script("red \x1b[31m\x07 and\ttab \x9b1m\u202e\u2066\n", 0.1)
    assert "\x1b[31m" in qvq(prompt, "--url", space.url).stdout
    with on_a_terminal(prompt, "--url", space.url) as (process, read_until):
        shown = read_until("1m")
        assert "red [31m and" in shown
        assert not set("\x07\x9b\u202e\u2066") & set(shown)
        assert process.wait(BOUND) == 0


def test_a_chunk_of_control_characters_adds_no_line(space):
    with on_a_terminal(script("a\n", 0.2, "a\n\x07", 0.2), "--url", space.url) as (process, seen):
        assert process.wait(BOUND) == 0
        assert seen("a\r\n").endswith("a\r\n")


def test_the_status_is_on_the_terminal(start_space):
    """It shows the place in the queue, the wait and the seconds so far. The answer replaces it."""
    with start_space("--at-once", 1) as space:
        # After this answer the Space can estimate the wait.
        assert qvq(script("warm", 0.5), "--url", space.url).returncode == 0
        with on_a_terminal(script("first", 4), "--url", space.url) as (_, read_first):
            read_first("first")
            with on_a_terminal("second", "--url", space.url) as (process, read_until):
                shown = read_until("second\r\n")
                assert process.wait(BOUND) == 0
    status, answer = shown.rsplit("\r\x1b[K", 1)
    assert answer == "You asked: second\r\n"
    assert "In the queue, place 1 of 1, about " in status and " s to wait ... 1 s" in status
    assert " ... 2 s" in status


def test_the_status_stays_on_one_line(space):
    """The terminal cuts it off at the margin. The Space's own text cannot change that."""
    prompt = script({"info": "a\nlong\x1b[31m " + "word " * 50}, 1.5, "answer")
    with on_a_terminal(prompt, "--url", space.url) as (process, read_until):
        shown = read_until("answer\r\n")
        assert process.wait(BOUND) == 0
    lines = shown.split("\r\x1b[K")
    assert lines[0] == "" and lines[-1] == "answer\r\n"
    shown_lines = [line for line in lines[1:-1] if line]
    assert all(line.startswith("\x1b[?7l") and line.endswith("\x1b[?7h") for line in shown_lines)
    assert any("a long[31m word" in line for line in lines) and "\n" not in "".join(lines[:-1])


def test_the_status_of_an_upload(space, tmp_path):
    """It shows the picture's size, but no progress: gradio_client does not report any."""
    (tmp_path / "x.png").write_bytes(PNG + bytes(2_000_000 - len(PNG)))
    status_seen = threading.Event()

    def hold_upload_response(data):
        if b"x.png" in data and not status_seen.wait(BOUND):
            return None
        return data

    with Relay(space.port) as relay:
        relay.change(hold_upload_response)
        arguments = ["large picture", "--image", str(tmp_path / "x.png"), "--url", relay.url]
        with on_a_terminal(*arguments) as (process, read_until):
            read_until("Sending the picture, 2,000 kB ... ")
            status_seen.set()
            read_until("You asked: large picture")
            assert process.wait(BOUND) == 0


def test_an_error_during_the_answer_is_on_a_new_line(space):
    prompt = script("half", 0.1, {"raise": "too dark"})
    with on_a_terminal(prompt, "--url", space.url) as (process, read_until):
        assert read_until("too dark\r\n").endswith("half\r\nqvq: too dark\r\n")
        assert process.wait(BOUND) == 1


def interrupt(process):
    """Press Ctrl-C. Return the exit status and the seconds until the process ended."""
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    return process.wait(BOUND), time.monotonic() - start


def test_ctrl_c_cancels_the_job(space):
    prompt = script(*["WORD", 0.05] * 200, "ctrl-c")
    with on_a_terminal(prompt, "--url", space.url) as (process, read_until):
        read_until("WORD")
        status, seconds = interrupt(process)
    assert status == 130 and seconds < 3
    wait_until(lambda: space.log("left", prompt=prompt), 2)
    assert not space.log("finished", prompt=prompt)


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


@pytest.mark.parametrize(("prompt", "seen"), [
    (script("WORD", 30), "WORD"), (script(30), "The Space is at work ... ")])
def test_ctrl_c_while_the_space_is_silent(start_space, prompt, seen):
    with start_space() as space:
        with on_a_terminal(prompt, "--url", space.url) as (process, read_until):
            read_until(seen)
            space.signal(signal.SIGSTOP)
            status, seconds = interrupt(process)
    assert status == 130 and seconds < 3


def test_the_reader_of_a_pipe_closes_it(space):
    prompt = script(*["many", 0.01, "many words"] * 50)
    command = f"{sys.executable} -m qvq_wrapper '{prompt}' --url {space.url} | head -c 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("m", "")


def test_a_script_ends_before_its_answer_is_read(space):
    code = f"""
from qvq_wrapper import ask
answer = ask("Hi", url={space.url!r}).iterate()
next(answer)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_local_space_does_not_get_the_token(monkeypatch):
    monkeypatch.setenv("QVQ_API_KEY", "hf_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def popen(command, env, **options):
        assert "hf_secret" not in env.values() and "PATH" in env
        raise OSError("not started")

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError, match="not started"), running_space():
        pass


@pytest.mark.space  # --demo starts one in a child process
@pytest.mark.test_all
def test_the_demo(tmp_path):
    """The environment's proxies are not for it."""
    proxies = {"HTTP_PROXY": "http://127.0.0.1:1", "all_proxy": "socks://127.0.0.1:1"}
    result = qvq("What does the sign say?", "--demo", cwd=tmp_path, env=os.environ | proxies)
    assert result.returncode == 0 and result.stderr == ""
    for line in ("OPEN DAILY", "9 AM TO 5 PM", "MIND THE STEP"):
        assert line in result.stdout


def test_version():
    from qvq_wrapper import __version__

    assert qvq("--version").stdout == f"qvq_wrapper {__version__}\n"
