"""Questions as people's programs write them, and rows that hold anything."""

import json
import logging
import math

import pytest
from conftest import PNG, free_port

from qvq_wrapper.batch import answer_file, ask_many
from qvq_wrapper.question.formats import SUFFIXES

pytestmark = pytest.mark.anyio


async def echo(row):
    return row["prompt"].upper()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def results(questions, **options):
    return [result async for result in ask_many(questions, ask=echo, **options)]


@pytest.fixture
def answers(tmp_path):
    return tmp_path / "answers.jsonl"


# Rows that hold anything


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


class Odd:
    def __str__(self):
        raise RuntimeError("no text")


LOOP = []
LOOP.append(LOOP)
ODD = {
    "deep": nested(700), "deeper": nested(100_000), "loop": LOOP, "long number": 10**5000,
    "object": Odd(), "key": {(1, 2): 3}, "float": math.inf, "half": "\ud800"}


@pytest.mark.parametrize("name", ODD)
async def test_one_odd_row_does_not_end_a_run(answers, name):
    odd = {"prompt": "odd", "year": 1999, "column": ODD[name]}
    summary = await answer_file([{"prompt": "a"}, odd, {"prompt": "b"}], answers, ask=echo)
    found = {line["prompt"]: line for line in lines(answers)}
    assert found["a"]["answer"] == "A" and found["b"]["answer"] == "B"
    if "error" in found["odd"]:
        message = found["odd"]["error"]["message"]
        assert message.startswith("row 2: cannot be written as JSON: ")
        assert found["odd"]["year"] == 1999 and found["odd"]["column"].startswith("<")
    else:
        assert summary.answered == 3
    again = await answer_file([{"prompt": "a"}, odd, {"prompt": "b"}], answers, ask=echo)
    assert again.skipped == summary.answered


@pytest.mark.parametrize("name", ["id", "prompt", "image", "messages"])
async def test_nor_does_an_odd_question(answers, name):
    for value in [*ODD.values(), math.nan, [], {}, b"", object()]:
        rows = [{"prompt": "a", "id": 1}, {"prompt": "odd", "id": 2, name: value}]
        summary = await answer_file(
            rows, answers, url=f"http://127.0.0.1:{free_port()}", limit=0)
        assert summary.answered == 0
        assert len(await results(rows)) == 2
        await answer_file(rows, answers, ask=lambda row: echo({"prompt": "x"}))
        assert [line["answer"] for line in lines(answers) if line["prompt"] == "a"] == ["X"]
        answers.unlink()


async def test_odd_lines_of_a_file(tmp_path, answers):
    path = tmp_path / "questions.jsonl"
    deep = "[" * 700 + "]" * 700
    path.write_text("\n".join([
        '{"prompt": "a"}', f'{{"prompt": "b", "x": {deep}}}', "[" * 100_000,
        f'{{"prompt": "c", "x": {"9" * 5000}}}', '{"prompt": "d", "x": NaN}', '{"prompt": "e"']))
    await answer_file(path, answers, ask=echo)
    found = lines(answers)
    assert {line.get("answer") for line in found} >= {"A", "D"} and len(found) == 6
    messages = [line["error"]["message"] for line in found if "error" in line]
    assert any(message.startswith("line 3: not JSON") for message in messages)
    assert all(message.split(":")[0] in ("line 2", "line 3", "line 4", "line 6")
               for message in messages)


# Files


@pytest.mark.parametrize("name, encoding, separator", [
    ("a.jsonl", "utf-8", None), ("a.jsonl", "utf-8-sig", None), ("a.jsonl", "utf-16", None),
    ("a.csv", "utf-8", ","), ("a.csv", "utf-8-sig", ","), ("a.csv", "utf-16", ","),
    ("a.tsv", "utf-8", "\t"), ("a.TSV", "utf-16", "\t")])
async def test_a_file_as_programs_write_it(tmp_path, answers, name, encoding, separator):
    cells = [["prompt", "city"], ["wo?", "Köln"], ["où?", "Nîmes"]]
    if separator:
        text = "\r\n".join(map(separator.join, cells))
    else:
        text = "\r\n".join(json.dumps(dict(zip(cells[0], row)), ensure_ascii=False)
                           for row in cells[1:])
    (tmp_path / name).write_bytes(text.encode(encoding))
    summary = await answer_file(tmp_path / name, answers, ask=echo)
    assert summary.total == 2
    assert {(line["city"], line["answer"]) for line in lines(answers)} == {
        ("Köln", "WO?"), ("Nîmes", "OÙ?")}


@pytest.mark.parametrize("name, content, options, message", [
    ("a.csv", "prompt\nx\nKöln\n".encode("latin-1"), {}, "line 3, is not UTF-8.*--encoding"),
    ("a.jsonl", '{"prompt": "a"}\n{"prompt": "ö"}'.encode("latin-1"), {}, "line 2, is not UTF-8"),
    ("a.csv", b"prompt\nx\n", {"encoding": "utf-9"}, "Python has no 'utf-9'"),
    ("a.csv", b"id;prompt\n1;x\n", {}, '--separator ";"'),
    ("a.csv", b"id\tprompt\n1\tx\n", {}, '--separator "tab"'),
    ("a.tsv", b"id,prompt\n1,x\n", {}, '--separator ","'),
    ("a.csv", b"prompt\nx\n", {"separator": ";;"}, "separator must be one character"),
    ("a.jsonl", b"{}", {"separator": ";"}, "is no table"),
    ("a.csv", b"question,year\nx,1\n", {}, "its columns: question, year.*--prompt-column"),
    ("a.jsonl", b'{"question": "x"}\n', {}, "its columns: question.*--prompt-column"),
    ("a.csv", b"prompt,image_path\nx,1\n", {}, "prompt, image_path.*--image-column"),
    ("a.jsonl", b'{"prompt": "x", "picture": "y"}\n', {}, "prompt, picture.*--image-column"),
    ("a.csv", b"prompt,image\nx,y\n", {"prompt": "What?"}, "has prompts of its own"),
    ("a.csv", b"year\n1\n", {"prompt": "What?"}, "its columns: year.*--image-column"),
    ("a.csv", b"prompt\nx\n", {"prompt_column": "q"}, "no column named q"),
    ("a.csv", b"prompt\nx\n", {"image_column": "q"}, "no column named q")])
async def test_a_file_in_another_form_is_refused_before_anything_is_asked(
        tmp_path, answers, name, content, options, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        await answer_file(tmp_path / name, answers, ask=pytest.fail, **options)
    with pytest.raises(ValueError, match=message):
        async for _ in ask_many(tmp_path / name, ask=pytest.fail, **options):
            pass
    assert not answers.exists() or not answers.read_text()


async def test_the_options_read_such_files(tmp_path, answers):
    path = tmp_path / "a.csv"
    path.write_bytes("frage;bild\nwo?;Köln.png\n".encode("latin-1"))
    await answer_file(path, answers, ask=echo, encoding="latin-1", separator=";",
                      prompt_column="frage", image_column="bild")
    [line] = lines(answers)
    assert (line["frage"], line["bild"], line["answer"]) == ("wo?", "Köln.png", "WO?")
    assert "prompt" not in line
    assert len(await results([{"prompt": "a", "image_count": 3}], image_column="")) == 1


@pytest.mark.parametrize("columns, message", [
    ({"question": ["a"]}, "the DataFrame has no column named prompt; its columns: question"),
    ({"prompt": ["a"], "img": ["b"]}, "the DataFrame has no column named image")])
async def test_a_table_with_other_names_is_refused_at_the_call(columns, message):
    pandas = pytest.importorskip("pandas")
    for questions in (pandas.DataFrame(columns), [{name: "x" for name in columns}]):
        with pytest.raises(ValueError, match=message.replace("the DataFrame", ".*")):
            ask_many(questions, ask=echo)


# Folders


async def test_every_format_of_the_package_is_found_in_a_folder(tmp_path, answers, caplog):
    caplog.set_level(logging.WARNING, "qvq_wrapper")
    folder = tmp_path / "data:"
    (folder / "x.png").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for suffix in SUFFIXES:
        (folder / f"a{suffix}").write_bytes(PNG)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.png").symlink_to(tmp_path / "no")
    (folder / "notes.txt").write_text("x")
    images = []

    async def ask(row):
        images.append(row["image"])
        return "x"

    summary = await answer_file(folder, answers, prompt="What?", ask=ask)
    assert summary.total == summary.answered == len(SUFFIXES)
    assert set(images) == {str(folder / f"a{suffix}") for suffix in SUFFIXES}
    [message] = caplog.messages
    assert "left out 3" in message and "such as gone.png" in message


@pytest.mark.parametrize("name", ["", "notes.txt"])
async def test_a_folder_without_pictures(tmp_path, answers, name):
    (tmp_path / "scans").mkdir()
    if name:
        (tmp_path / "scans" / name).write_text("x")
    with pytest.raises(ValueError, match=f"no pictures found in .*{name}"):
        await answer_file(tmp_path / "scans", answers, prompt="What?", ask=pytest.fail)


async def test_pictures_in_a_folder_called_data(space, tmp_path):
    folder = tmp_path / "scans"
    (folder / "data:").mkdir(parents=True)
    (folder / "data:" / "x.png").write_bytes(PNG)
    [found] = [each async for each in ask_many(folder, prompt="data folder", url=space.url)]
    assert found["answer"] == "You asked: data folder"
    assert space.seen("data folder")["image"] == "x.png"


# Other forms


async def test_one_prompt_about_each_picture(space, tmp_path):
    pandas = pytest.importorskip("pandas")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        (tmp_path / path).write_bytes(PNG)
    cells = [{"bytes": PNG, "path": "c.png"}, {"bytes": None, "path": paths[0]}]
    forms = [
        paths, tuple(paths), iter(paths), pandas.Series(paths), pandas.DataFrame({"image": paths}),
        [{"image": path} for path in paths], cells, [PNG, PNG], [(PNG, "a.png")] * 2]
    for number, form in enumerate(forms):
        stream = ask_many(form, prompt=f"form {number}", url=space.url)
        assert [each["answer"] async for each in stream] == [f"You asked: form {number}"] * 2
        assert space.seen(f"form {number}")["size"] == len(PNG)


async def test_a_row_with_a_prompt_of_its_own_beside_the_one_for_all():
    rows = iter([{"image": PNG}, {"prompt": "a", "image": PNG}])
    found = await results(rows, prompt="b")
    assert sorted("error" in each for each in found) == [False, True]


async def test_a_picture_cell_of_datasets(space, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    rows = [{"prompt": "cell 1", "image": {"bytes": PNG, "path": "shots/one.png"}},
            {"prompt": "cell 2", "image": {"bytes": None, "path": str(tmp_path / "a.png")}}]
    assert all(["answer" in each async for each in ask_many(rows, url=space.url)])
    assert space.seen("cell 1")["image"] == "one.png"
    assert space.seen("cell 2")["image"] == "a.png"


async def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "q.jsonl").write_text('{"prompt": "a", "image": "~/a.png"}\n')
    images = []

    async def ask(row):
        images.append(row["image"])
        return "x"

    summary = await answer_file("~/q.jsonl", "~/a.jsonl", ask=ask)
    assert summary.answered == 1 and len(lines(tmp_path / "a.jsonl")) == 1
    assert images == [str(tmp_path / "a.png")]


async def test_the_total(answers):
    seen = []
    rows = [{"prompt": f"{n}"} for n in range(20)]
    await answer_file(rows, answers, ask=echo, limit=5, progress=lambda s: seen.append(s.total))
    assert set(seen) == {5}
    summary = await answer_file(rows, answers, ask=echo, limit=5)
    assert summary.total == summary.done == 10
    summary = await answer_file(iter(rows), answers, ask=echo, total=20)
    assert summary.total == 20
    summary = await answer_file(iter(rows), answers, ask=echo)
    assert summary.total is None


async def test_the_first_error_of_each_kind_is_told_with_its_row(answers):
    async def ask(row):
        raise {"a": ValueError, "b": KeyError}[row["prompt"]](f"in\n{row['n']}")

    rows = [{"prompt": name, "n": n} for n, name in enumerate("abab")]
    summary = await answer_file(rows, answers, ask=ask, concurrency=1)
    assert summary.errors == {"ValueError": "row 1: in 0", "KeyError": r"row 2: 'in\n1'"}
    assert str(summary).splitlines()[1:] == [
        "first ValueError: row 1: in 0", r"first KeyError: row 2: 'in\n1'"]
