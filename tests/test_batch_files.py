"""Questions of a file answered into a file: keys, resuming, faults, and the command."""

import asyncio
import datetime
import fcntl
import json
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import termios
from itertools import count
from pathlib import Path

import anyio
import pytest
from batches import COMMAND, Asker, answered, echo, lines, run_each, write
from cases import each
from conftest import BOUND, PNG, free_port, script, wait_until

from qvq_wrapper import RateLimitError
from qvq_wrapper.batch import answer_file

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


# Questions


@pytest.mark.backends("asyncio", "trio")
async def test_jsonl(space, tmp_path, answers):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(PNG)
    rows = [{"prompt": f"file {n}", "image": "pictures/a.png", "n": n} for n in range(5)]
    path = write(tmp_path / "questions.jsonl", rows)
    path.write_bytes(path.read_bytes() + b"\n  \n")
    summary = await answer_file(str(path), answers, url=space.url)
    assert (summary.total, summary.answered, summary.skipped) == (5, 5, 0)
    assert str(summary).startswith("5 answered, 0 failed, 0 asked again, ")
    found = next(line for line in lines(answers) if line["n"] == 3)
    assert rows[3].items() <= found.items() and found["answer"] == "You asked: file 3"
    asked, file = found["asked"], (tmp_path / "pictures" / "a.png").stat()
    assert asked["url"] == f"{space.url}/" and "api_name" not in asked
    assert asked["picture"]["size"] == len(PNG) and asked["picture"]["inode"] == file.st_ino
    assert space.seen("file 3")["image"] == "a.png"


# Lines


async def test_values_that_json_does_not_have(answers):
    import numpy
    import pandas

    row = {
        "prompt": "a", "image": PNG, 7: "seven", "nan": float("nan"), "inf": numpy.float64("inf"),
        "int": numpy.int64(5), "bool": numpy.bool_(True), "array": numpy.array([1.5, numpy.nan]),
        "na": pandas.NA, "nat": pandas.NaT, "when": pandas.Timestamp("2026-01-02"),
        "day": datetime.date(2026, 1, 2), "path": Path("a/b"), "set": {1}, "deep": [{"b": b"x"}],
        "object": object()}
    await answer_file([row], answers, ask=echo)
    [line] = [json.loads(text, parse_constant=pytest.fail) for text in open(answers)]
    assert line["image"].startswith("sha256:") and line["deep"][0]["b"].startswith("sha256:")
    expected = {
        "7": "seven", "nan": None, "inf": None, "int": 5, "bool": True, "array": [1.5, None],
        "na": None, "nat": None, "when": "2026-01-02T00:00:00", "day": "2026-01-02",
        "path": "a/b", "set": [1], "object": "<object>"}
    assert {name: line[name] for name in expected} == expected


async def test_an_answer_is_one_line_whatever_is_in_it(answers):
    text = "ä\n\r\u2028\u2029\x85\x9b1m\x00\ud800 \U0001f600 \x7f"

    async def ask(row):
        return text

    await answer_file([{"prompt": "a"}, {"prompt": "b"}], answers, ask=ask)
    found = lines(answers)
    assert [line["answer"] for line in found] == [text, text]
    assert "ä" in answers.read_text() and "\x9b" not in answers.read_text()


# Resuming


async def test_a_run_goes_on_where_it_has_ended(tmp_path, answers):
    """By an error, by its limit, or because all was asked."""
    numbers = [str(n) for n in range(20)]
    questions = write(tmp_path / "questions.jsonl", [{"prompt": each} for each in numbers])
    first = Asker(failing="9", error=RateLimitError("quota used up", retry_after=10_000))
    with pytest.raises(RateLimitError):
        await answer_file(questions, answers, ask=first, concurrency=1)
    assert set(answered(answers)) == set(numbers[:9])
    second, third, fourth = Asker(), Asker(), Asker()
    assert (await answer_file(questions, answers, ask=second, limit=7)).answered == 7
    summary = await answer_file(questions, answers, ask=third)
    assert (summary.answered, summary.skipped) == (4, 16)
    assert sorted(second.asked + third.asked, key=int) == numbers[9:]
    assert len(answered(answers)) == 20
    await answer_file(questions, answers, ask=fourth)
    assert fourth.asked == []


async def test_which_rows_are_the_same_question(tmp_path):
    """Neither their order nor their other columns count. A row with an id has one answer."""
    rows = [{"prompt": str(n), "image": f"{n}.png"} for n in range(5)]
    changed = [{"note": "new", **row} for row in reversed(rows)]
    same, ids = {"prompt": "same"}, [{"id": name, "prompt": "a"} for name in (1, "2", 2.0)]
    for case, (number, earlier, later, asked) in each([
        (1, rows, [*changed, {"prompt": "0", "image": "z.png"}], ["0"]),
        (2, [same] * 3, [same] * 5, ["same"] * 2), (3, [], ids, ["a"] * 2), (4, ids, ids, []),
    ]):
        answers, again = tmp_path / f"{number}.jsonl", Asker()
        with case:
            await answer_file(earlier, answers, ask=echo)
            await answer_file(later, answers, ask=again)
            assert again.asked == asked
            answered(answers)


async def test_an_id_with_another_question_names_both_lines(tmp_path, answers):
    rows = [{"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b"}, {"id": 1, "prompt": "c"}]
    questions = write(tmp_path / "questions.jsonl", rows)
    with pytest.raises(ValueError, match="line 3 and line 1 have the same id, '1'"):
        await answer_file(questions, answers, ask=echo)
    assert answered(answers).items() <= {"a": "A", "b": "B"}.items()


async def test_a_picture_that_has_no_text_needs_an_id(answers):
    from PIL import Image

    image = Image.new("L", (2, 2))
    with pytest.raises(ValueError, match="row 2: .*needs an id"):
        await answer_file([{"prompt": "a"}, {"prompt": "b", "image": image}], answers, ask=echo)
    await answer_file([{"prompt": "b", "image": image, "id": 7}], answers, ask=echo)
    assert answered(answers) == {"a": "A", "b": "B"}
    assert lines(answers)[1]["image"] == "<Image>"


async def test_failed_questions_are_asked_again_and_leave_one_line_each(answers):
    """A failure stays while its question was not asked again. It goes when its row has changed."""
    rows = [{"prompt": name} for name in "abcde"]
    summary = await answer_file(rows[:4], answers, ask=Asker(failing="abd"))
    assert summary.failed == {"RuntimeError": 3} and summary.answered == 1
    again = Asker(failing="d")
    await answer_file(rows, answers, ask=again, retry_failed=True)
    assert sorted(again.asked) == ["a", "b", "d"]
    assert answered(answers) == {"a": "A", "b": "B", "c": "C", "d": None}
    await answer_file(rows, answers, ask=echo, limit=1)
    assert answered(answers) == {"a": "A", "b": "B", "c": "C", "d": None, "e": "E"}
    await answer_file([*rows[:3], {"prompt": "mended"}], answers, ask=echo)
    assert answered(answers).keys() == {"a", "b", "c", "e", "mended"}


async def test_failed_questions_alone_are_asked_as_they_are_read(answers):
    """The source may be endless."""
    await answer_file([{"prompt": name} for name in "ab"], answers, ask=Asker(failing="ab"))
    endless = ({"prompt": "a" if number == 50 else f"new {number}"} for number in count())
    with anyio.fail_after(BOUND):
        await answer_file(endless, answers, ask=echo, retry_failed=True, limit=1)
    assert answered(answers) == {"a": "A", "b": None}


async def test_a_line_that_was_cut_off_is_mended(answers):
    """A repeated line counts once."""
    rows = [{"prompt": name} for name in "abc"]
    for case, cut in each([1, 10, 60]):
        with case:
            await answer_file(rows, answers, ask=echo, concurrency=1)
            answers.write_bytes(answers.read_bytes()[:-cut])
            again = Asker()
            await answer_file(rows, answers, ask=again)
            assert again.asked == ([] if cut == 1 else ["c"])
            assert answered(answers) == {"a": "A", "b": "B", "c": "C"}
    answers.write_text(answers.read_text() * 2)
    assert (await answer_file(rows, answers, ask=echo)).skipped == 3
    assert answered(answers) == {"a": "A", "b": "B", "c": "C"}


async def test_a_file_that_holds_no_answers_is_not_touched(answers):
    old = '{"prompt": "a", "answer": "A", "key": "0123456789abcdef01234567-2"}'
    for case, (content, message) in each([
        ('{"prompt": "my own file"}', "is no answer"), ("some notes\nand more", "is no answer"),
        ('{"key": "a"}\n[]', "is no answer"), ("[1]", "is no answer"),
        (old, "is no answer.*another version.*give another file"),
        (old.replace("0123456789abcdef01234567-2", "7"), "is no answer"),
    ]):
        answers.write_text(f"{content}\n")
        with case:
            with pytest.raises(ValueError, match=f"line 1, {message}"):
                await answer_file([{"prompt": "a"}], answers, ask=pytest.fail)
            assert answers.read_text() == f"{content}\n"


async def test_the_file_is_replaced_by_one_that_nobody_could_prepare(tmp_path, monkeypatch):
    """Others may write into the folder. What they put there is neither followed nor touched.

    A link of one's own to the answers, and their mode, are kept.
    """
    precious, answers, link = (tmp_path / name for name in ("precious", "real.jsonl", "a.jsonl"))
    precious.write_text("precious")
    link.symlink_to(answers)
    await answer_file([{"prompt": "a"}], link, ask=Asker(failing="a"))
    answers.chmod(0o640)
    (tmp_path / "real.jsonl.tmp").symlink_to(precious)
    before, failed = set(tmp_path.iterdir()), answers.read_bytes()
    for case, (fsync, left) in each([(os.fsync, 1), (lambda fd: os.write(-1, b""), 2)]):
        with case:
            answers.write_bytes(failed)
            monkeypatch.setattr(os, "fsync", fsync)
            await answer_file([{"prompt": "a"}], link, ask=echo)
            assert precious.read_text() == "precious" and set(tmp_path.iterdir()) == before
            assert link.is_symlink() and not answers.is_symlink()
            assert answers.stat().st_mode & 0o777 == 0o640 and len(lines(answers)) == left


async def test_a_lock_that_is_a_link_is_refused(tmp_path, answers):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "answers.jsonl.lock").symlink_to(precious)
    with pytest.raises(OSError, match="answers.jsonl.lock"):
        await answer_file([{"prompt": "a"}], answers, ask=echo)
    assert precious.read_text() == "precious" and not answers.exists()


# Faults


@pytest.mark.backends("asyncio", "trio")
async def test_a_second_run_is_refused(answers):
    async def ask(row):
        with pytest.raises(BlockingIOError, match="another run writes its answers to"):
            await answer_file([{"prompt": "b"}], answers, ask=echo)
        return "A"

    await answer_file([{"prompt": "a"}], answers, ask=ask)
    await answer_file([{"prompt": "b"}], answers, ask=echo)
    assert answered(answers) == {"a": "A", "b": "B"}


@pytest.fixture
def small_disk():
    """Let this process write 64 kB into a file, as if the disk were full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_full_disk(answers, small_disk):
    with pytest.raises(OSError, match="the answers before this one are safe"):
        await answer_file([{"prompt": f"{n}" * 300} for n in range(200)], answers, ask=echo)
    found = answered(answers)
    assert 20 < len(found) < 200 and all(found[each] == each for each in found)
    assert answers.read_bytes().endswith(b"\n")


# The command


def test_the_command(space, tmp_path):
    """Exit status 2 is wrong usage. Nothing that it prints steers a terminal."""
    write(tmp_path / "q.jsonl", [{"prompt": f"command {n}"} for n in range(6)])
    write(tmp_path / "fails.jsonl", [{"prompt": script({"raise": "x"})}, {"prompt": "b"}])
    (tmp_path / "scans").mkdir()
    cut_off = "\x1b[31m.jsonl"
    for name, content in {
        "q.csv": "frage;bild\nwo?;\nö?;\n".encode("latin-1"), cut_off: b'{"cut off',
        "scans/a.png": PNG, "scans/b.png": PNG, "s.csv": "a\x1b[31m\u202e\x9b,b\n1,2\n".encode(),
        "r.csv": b"prompt,\x1b[31m,\x1b[31m\n", "\x1b[31m.csv": b"a,b\n1,2\n",
        "\x1b[31m.txt": b"", "\x1b[31m": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    here, nowhere = ["--url", space.url], ["--url", f"http://127.0.0.1:{free_port()}"]
    table = ["q.csv", "t.jsonl", "--prompt-column", "frage", "--image-column", "bild", *here]
    figures = r"\d answered( and 4 earlier)?, 0 failed, 0 asked again, [\d.]+ a minute\n"
    first = r"1 answered, 1 failed \(1 ResponseError\).*first ResponseError: line 1: x\n"
    ended = r"qvq-batch: the run was ended: .*could not be reached.* The same command goes on .*\n"
    steering, folder = r"qvq-batch: .*\[31m.*\n", ["--images", "scans"]
    cases = [
        (["q.jsonl", "a.jsonl", *here, "--limit", "4"], 0, figures),
        (["q.jsonl", "a.jsonl", *here, "--quiet"], 0, ""),
        ([*folder, "--prompt", "What?", "i.jsonl", *here], 0, f"2{figures[2:]}"),
        (table, 2, '.*--separator ";".*'),
        (table + ["--separator", ";"], 2, ".*--encoding latin-1.*"),
        (table + ["--separator", ";", "--encoding", "latin-1"], 0, figures),
        (["fails.jsonl", "f.jsonl", *here], 1, first),
        (["q.jsonl", "n.jsonl", *nowhere, "--patience", "0.5"], 1, f"0 answered.*{ended}"),
        (["q.jsonl", cut_off, *here, "--limit", "1"], 0,
         r"qvq-batch: .*\[31m.jsonl: the cut-off last line was removed\n" + figures),
        *(([name, "b.jsonl"], 2, steering)
          for name in ("s.csv", "r.csv", "\x1b[31m.csv", "\x1b[31m.txt", "\x1b[31m")),
        *((arguments, 2, ".+") for arguments in (
            [], ["b.jsonl"], ["no.jsonl", "b.jsonl"], ["q.jsonl", "b.csv"],
            ["q.jsonl", "b.jsonl", "--limit", "-1"], [*folder, "b.jsonl"],
            [*folder, "--prompt", "x", "q.jsonl", "b.jsonl"],
            ["q.jsonl", "b.jsonl", "--api-key-file", "no/such"]))]
    results = run_each([arguments for arguments, *_ in cases], tmp_path)
    for case, ((_, status, pattern), found) in each(zip(cases, results, strict=True)):
        with case:
            assert found[0] == status and re.fullmatch(pattern, found[1], re.S), found[1]
            assert "Traceback" not in found[1]
            assert all(line.isprintable() for line in found[1].splitlines())
    assert len(answered(tmp_path / "a.jsonl")) == 6 and len(lines(tmp_path / "i.jsonl")) == 2
    assert not (tmp_path / "b.jsonl").exists()
    assert {(line["frage"], line["answer"]) for line in lines(tmp_path / "t.jsonl")} == {
        ("wo?", "You asked: wo?"), ("ö?", "You asked: ö?")}


@pytest.mark.parametrize("signals", [
    [signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]], ids=["one", "two"])
def test_a_signal_lets_go_of_the_answers_under_way(space, tmp_path, answers, signals):
    """A second one ends at once: nothing is awaited and nothing is said any more."""
    prompt = script("word", *["word", 0.05] * 2000, len(signals))
    rows = [{"prompt": f"signal {n}"} for n in range(3)] + [{"prompt": prompt}]
    questions = write(tmp_path / "q.jsonl", rows)
    with subprocess.Popen(
        [*COMMAND, questions, answers, "--url", space.url], stderr=subprocess.PIPE, text=True,
    ) as process:
        wait_until(lambda: answers.exists() and len(lines(answers)) == 3)
        # Gradio closes no generator that has yielded nothing yet.
        wait_until(lambda: len(space.log("step", prompt=prompt)) > 1)
        for number in signals:
            process.send_signal(number)
        assert process.wait(BOUND) == 128 + signal.SIGTERM
        shown = process.stderr.read()
    assert len(answered(answers)) == 3
    if len(signals) == 2:
        assert shown == ""
        return
    assert shown.endswith("qvq-batch: stopped. The same command goes on from here.\n")
    assert "3 answered, 0 failed" in shown
    wait_until(lambda: space.log("left", prompt=prompt))
    assert not space.log("finished", prompt=prompt)


def test_a_bar_on_a_terminal(space, tmp_path, answers, capfd):
    """The library prints nothing else."""
    asyncio.run(answer_file([{"prompt": "a"}], tmp_path / "a.jsonl", ask=Asker(failing="a")))
    assert capfd.readouterr() == ("", "")
    asyncio.run(answer_file([{"prompt": "a"}], tmp_path / "a.jsonl", ask=echo, progress=True))
    shown = capfd.readouterr().err
    assert "1/1" in shown and "a minute, 0 failed" in shown
    questions = write(tmp_path / "q.jsonl", [{"prompt": f"bar {n}"} for n in range(6)])
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, questions, answers, "--url", space.url], stdout=slave, stderr=slave)
    os.close(slave)
    assert process.wait(BOUND) == 0
    seen = os.read(master, 10_000)
    os.close(master)
    assert b"6/6" in seen and b"a minute, 0 failed" in seen and b"6 answered, 0 failed" in seen
