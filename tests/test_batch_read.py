"""Questions as people's programs write them, and rows that hold anything."""

import json
import logging
import math
from itertools import product

import pytest
from cases import each
from conftest import PNG, free_port

from qvq_wrapper.batch import answer_file, ask_many

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


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


async def test_one_odd_row_does_not_end_a_run(tmp_path):
    for case, name in each(ODD):
        answers = tmp_path / f"{name}.jsonl"
        odd = {"prompt": "odd", "year": 1999, "column": ODD[name]}
        rows = [{"prompt": "a"}, odd, {"prompt": "b"}]
        with case:
            summary = await answer_file(rows, answers, ask=echo)
            found = {line["prompt"]: line for line in lines(answers)}
            assert found["a"]["answer"] == "A" and found["b"]["answer"] == "B"
            if "error" in found["odd"]:
                message = found["odd"]["error"]["message"]
                assert message.startswith("row 2: cannot be written as JSON: ")
                assert found["odd"]["year"] == 1999 and found["odd"]["column"].startswith("<")
            else:
                assert summary.answered == 3
            again = await answer_file(rows, answers, ask=echo)
            assert again.skipped == summary.answered


async def test_nor_does_an_odd_question(tmp_path):
    values = {**ODD, "nan": math.nan, "list": [], "dict": {}, "bytes": b"", "any": object()}
    url = f"http://127.0.0.1:{free_port()}"
    for case, (column, name) in each(product(["id", "prompt", "image", "messages"], values)):
        answers = tmp_path / f"{column} {name}.jsonl"
        rows = [{"prompt": "a", "id": 1}, {"prompt": "odd", "id": 2, column: values[name]}]
        with case:
            assert (await answer_file(rows, answers, url=url, limit=0)).answered == 0
            assert len(await results(rows)) == 2
            await answer_file(rows, answers, ask=lambda row: echo({"prompt": "x"}))
            assert [line["answer"] for line in lines(answers) if line["prompt"] == "a"] == ["X"]


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


async def test_a_file_as_programs_write_it(tmp_path):
    head, *rows = [["prompt", "city"], ["wo?", "Köln"], ["où?", "Nîmes"]]
    for case, (number, suffix, encoding, separator) in each([
        (1, "jsonl", "utf-8", None), (2, "jsonl", "utf-8-sig", None), (3, "jsonl", "utf-16", None),
        (4, "csv", "utf-8", ","), (5, "csv", "utf-8-sig", ","), (6, "csv", "utf-16", ","),
        (7, "tsv", "utf-8", "\t"), (8, "TSV", "utf-16", "\t"), (9, "ndjson", "utf-8", None),
    ]):
        if separator:
            text = "\r\n".join(map(separator.join, [head, *rows]))
        else:
            text = "\r\n".join(
                json.dumps(dict(zip(head, row)), ensure_ascii=False) for row in rows)
        file, answers = tmp_path / f"{number}.{suffix}", tmp_path / f"answers{number}.jsonl"
        file.write_bytes(text.encode(encoding))
        with case:
            assert (await answer_file(file, answers, ask=echo)).total == 2
            assert {(line["city"], line["answer"]) for line in lines(answers)} == {
                ("Köln", "WO?"), ("Nîmes", "OÙ?")}


async def test_a_file_in_another_form_is_refused_before_anything_is_asked(tmp_path, answers):
    for case, (name, content, options, message) in each([
        ("a.csv", "prompt\nx\nKöln\n".encode("latin-1"), {}, "line 3, is not UTF-8.*--encoding"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "ö"}'.encode("latin-1"), {}, "line 2, is not UTF"),
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
        ("a.csv", b"prompt\nx\n", {"image_column": "q"}, "no column named q"),
    ]):
        (tmp_path / name).write_bytes(content)
        with case:
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


async def test_a_table_with_other_names_is_refused_at_the_call():
    import pandas

    no_prompt, no_image = {"question": ["a"]}, {"prompt": ["a"], "img": ["b"]}
    for case, (questions, message) in each([
        (pandas.DataFrame(no_prompt), "the DataFrame has no column named prompt; .*: question"),
        ([no_prompt], "the list of questions has no column named prompt; .*: question"),
        (pandas.DataFrame(no_image), "the DataFrame has no column named image"),
        ([no_image], "the list of questions has no column named image"),
    ]):
        with case, pytest.raises(ValueError, match=message):
            ask_many(questions, ask=echo)


# Folders


async def test_a_picture_of_every_format_is_found_in_a_folder(tmp_path, answers, caplog):
    caplog.set_level(logging.WARNING, "qvq_wrapper")
    folder = tmp_path / "data:"
    (folder / "x.png").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    suffixes = (
        "png apng jpg JPG jpeg jpe jfif gif webp bmp dib tif tiff avif heic heif hif".split())
    for suffix in suffixes:
        (folder / f"a.{suffix}").write_bytes(PNG)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.png").symlink_to(tmp_path / "no")
    (folder / "notes.txt").write_text("x")
    images = []

    async def ask(row):
        images.append(row["image"])
        return "x"

    summary = await answer_file(folder, answers, prompt="What?", ask=ask)
    assert set(images) == {str(folder / f"a.{suffix}") for suffix in suffixes}
    assert summary.total == summary.answered == len(suffixes)
    [message] = caplog.messages
    assert "left out 3" in message and "such as gone.png" in message


async def test_a_folder_without_pictures(tmp_path, answers):
    (tmp_path / "scans").mkdir()
    with pytest.raises(ValueError, match="no pictures found in .*scans$"):
        await answer_file(tmp_path / "scans", answers, prompt="What?", ask=pytest.fail)
    (tmp_path / "scans" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="no pictures found in .*scans; .* such as notes.txt"):
        await answer_file(tmp_path / "scans", answers, prompt="What?", ask=pytest.fail)


async def test_pictures_in_a_folder_called_data(space, tmp_path):
    folder = tmp_path / "scans"
    (folder / "data:").mkdir(parents=True)
    (folder / "data:" / "x.png").write_bytes(PNG)
    [found] = [one async for one in ask_many(folder, prompt="data folder", url=space.url)]
    assert found["answer"] == "You asked: data folder"
    assert space.seen("data folder")["image"] == "x.png"


# Other forms


async def test_one_prompt_about_each_picture(space, tmp_path):
    import pandas

    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        (tmp_path / path).write_bytes(PNG)
    cells = [{"bytes": PNG, "path": "c.png"}, {"bytes": None, "path": paths[0]}]
    forms = [
        paths, tuple(paths), iter(paths), pandas.Series(paths), pandas.DataFrame({"image": paths}),
        [{"image": path} for path in paths], cells, [PNG, PNG], [(PNG, "a.png")] * 2]
    for case, (number, form) in each(enumerate(forms)):
        stream = ask_many(form, prompt=f"form {number}", url=space.url)
        with case:
            assert [one["answer"] async for one in stream] == [f"You asked: form {number}"] * 2
            assert space.seen(f"form {number}")["size"] == len(PNG)


async def test_a_row_with_a_prompt_of_its_own_beside_the_one_for_all():
    rows = iter([{"image": PNG}, {"prompt": "a", "image": PNG}])
    found = await results(rows, prompt="b")
    assert sorted("error" in one for one in found) == [False, True]


async def test_a_picture_cell_of_datasets(space, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    rows = [{"prompt": "cell 1", "image": {"bytes": PNG, "path": "shots/one.png"}},
            {"prompt": "cell 2", "image": {"bytes": None, "path": str(tmp_path / "a.png")}}]
    assert all(["answer" in one async for one in ask_many(rows, url=space.url)])
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
