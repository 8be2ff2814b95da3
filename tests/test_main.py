"""The command line, as a person uses it."""

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from conftest import BOUND, PNG, script, wait_until

QVQ = [sys.executable, "-m", "qvq_wrapper"]


def qvq(*arguments, **options):
    return subprocess.run([*QVQ, *arguments], capture_output=True, text=True, timeout=60, **options)


@contextmanager
def on_a_terminal(*arguments):
    """The command with a terminal for stdout and stderr; gives the process and a function that reads it."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*QVQ, *arguments], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    seen = bytearray()

    def read_until(text):
        while text.encode() not in seen:
            seen.extend(os.read(master, 1000))
        return seen.decode()

    try:
        yield process, read_until
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_the_answer_is_all_that_is_on_stdout(space, tmp_path):
    picture = tmp_path / "x.png"
    picture.write_bytes(PNG)
    result = qvq("a question", "--image", str(picture), "--url", space.url)
    assert (result.returncode, result.stdout, result.stderr) == (0, "You asked: a question\n", "")
    assert space.seen("a question")["image"] == "x.png"


def test_the_question_from_stdin(space):
    assert qvq("-", "--url", space.url, input="from stdin").stdout == "You asked: from stdin\n"


@pytest.mark.parametrize("source", ["file", "environment"])
def test_the_token(space, tmp_path, source):
    (tmp_path / "token").write_text("hf_secret\n")
    arguments = ["--api-key-file", str(tmp_path / "token")] if source == "file" else []
    environment = os.environ | ({"QVQ_API_KEY": "hf_secret"} if source == "environment" else {})
    assert qvq(f"token by {source}", "--url", space.url, *arguments, env=environment).returncode == 0
    assert space.seen(f"token by {source}")["headers"]["authorization"] == "Bearer hf_secret"


def test_an_error_is_one_line_and_status_1(space):
    result = qvq(script({"raise": "too dark"}), "--url", space.url)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "qvq: too dark\n")
    result = qvq("Hi", "--url", space.url, "--timeout", "0.000001")
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "timeout" in result.stderr


@pytest.mark.parametrize("arguments", [
    [], ["Hi", "--image", __file__], ["Hi", "--image", "no.png"], ["Hi", "--url", "nonsense"],
    ["Hi", "--timeout", "soon"], ["Hi", "--api-key-file", "no/such"], ["Hi", "--proxy", "x"], [""],
    ["Hi", "--demo", "--url", "http://127.0.0.1"],
])
def test_wrong_usage_is_status_2(arguments):
    result = qvq(*arguments)
    assert result.returncode == 2 and result.stdout == "" and "Traceback" not in result.stderr


def test_control_characters_are_taken_out_on_a_terminal_only(space):
    prompt = script("red \x1b[31m\x07 and\ttab \x9b1m\n", 0.1)
    assert "\x1b[31m" in qvq(prompt, "--url", space.url).stdout
    with on_a_terminal(prompt, "--url", space.url) as (process, read_until):
        shown = read_until("1m")
        assert "red [31m and" in shown and "\x07" not in shown and "\x9b" not in shown
        assert process.wait(BOUND) == 0


def test_the_status_is_on_the_terminal(start_space):
    with start_space("--at-once", 1) as space:
        with on_a_terminal(script("first", 3), "--url", space.url) as (_, read_first):
            read_first("first")
            with on_a_terminal("second", "--url", space.url) as (process, read_until):
                assert "place 1 of 1" in read_until("You")
                assert process.wait(BOUND) == 0


def interrupt(process):
    """The exit status after Ctrl-C, and the seconds until it was there."""
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


def test_ctrl_c_on_a_dead_line(start_space):
    with start_space() as space:
        with on_a_terminal(script("WORD", 30), "--url", space.url) as (process, read_until):
            read_until("WORD")
            space.signal(signal.SIGSTOP)
            status, seconds = interrupt(process)
    assert status == 130 and seconds < 3


def test_a_reader_that_leaves(space):
    prompt = script(*["many", 0.01, "many words"] * 50)
    command = f"{sys.executable} -m qvq_wrapper '{prompt}' --url {space.url} | head -c 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("m", "")


def test_a_script_ends_with_an_answer_unread(space):
    code = f"from qvq_wrapper import ask\nanswer = ask('Hi', url={space.url!r}).iterate()\nnext(answer)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_demo(tmp_path):
    result = qvq("What does the sign say?", "--demo", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == ""
    for line in ("OPEN DAILY", "9 AM TO 5 PM", "MIND THE STEP"):
        assert line in result.stdout


def test_version():
    from qvq_wrapper import __version__

    assert qvq("--version").stdout == f"qvq_wrapper {__version__}\n"
