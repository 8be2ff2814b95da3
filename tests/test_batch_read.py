"""Questions as people's programs write them, and rows that hold anything."""

import json
import logging
import math
from itertools import product

import pytest
from batches import echo, lines
from cases import each
from conftest import PNG

from qvq_wrapper.batch import answer_file, ask_many

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


async def results(questions, **options):
    return [result async for result in ask_many(questions, ask=echo, **options)]


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
ODD_CELLS = {**ODD, "nan": math.nan, "list": [], "dict": {}, "bytes": b"", "any": object()}


async def test_one_odd_row_does_not_end_a_run(answers):
    """Its result says what is wrong with it, and has the columns that can be written."""
    odd = [{"prompt": name, "year": 1999, "column": ODD[name]} for name in ODD]
    odd += [{"prompt": "odd", "id": f"{column} {name}", column: ODD_CELLS[name]}
            for column, name in product(["id", "prompt", "image", "messages"], ODD_CELLS)]
    rows = [{"prompt": "a", "id": "first"}, *odd, {"prompt": "a", "id": "last"}]
    assert len(await results(rows)) == len(rows)
    summary = await answer_file(rows, answers, ask=lambda row: echo({"prompt": "x"}))
    found = {line["prompt"]: line for line in lines(answers) if "column" in line}
    assert len(lines(answers)) == len(rows) == summary.answered + summary.failed.total()
    assert [line["answer"] for line in lines(answers) if line["prompt"] == "a"] == ["X", "X"]
    for case, (number, name) in each(enumerate(ODD, 2)):
        with case:
            if error := found[name].get("error"):
                words = f"row {number}: cannot be written as JSON: "
                assert error["message"].startswith(words)
                assert found[name]["year"] == 1999 and found[name]["column"].startswith("<")
    assert "error" in found["loop"] and "error" in found["deeper"]
    assert (await answer_file(rows, answers, ask=echo)).skipped == summary.answered


async def test_bad_rows_are_recorded_with_their_lines(tmp_path):
    deep = "[" * 700 + "]" * 700
    for case, (name, content, answered, errors) in each([
        ("a.jsonl", [
            '{"prompt": "a"}', '{"prompt": ', "[1]", '{"image": "a.png"}', "{]", "", "[" * 100_000,
            '{"prompt": "b", "image": "missing.png"}', '{"prompt": 5}', '{"prompt": "d", "x": NaN}',
            f'{{"prompt": "c", "x": {"9" * 5000}}}', f'{{"prompt": "e", "x": {deep}}}',
            '{"prompt": "z"}', '{"prompt": "e"'], "ABDZ", {
                2: "not JSON", 3: "a question must be a dict", 4: "the question has neither",
                5: "not JSON", 7: "not JSON", 9: "'int' object", 11: "not JSON", 14: "not JSON"}),
        ("a.csv", ["prompt,year", "a,1", "b,2,3", '"c', 'd",4', "e"], ["A", "C\nD", "E"], {
            3: "the row has more cells than the header"}),
    ]):
        answers = tmp_path / f"of {name}.jsonl"
        (tmp_path / name).write_text("\n".join(content))
        with case:
            summary = await answer_file(tmp_path / name, answers, ask=echo)
            found = lines(answers)
            assert {line["answer"] for line in found if "answer" in line} >= set(answered)
            messages = [line["error"]["message"] for line in found if "error" in line]
            for number, words in errors.items():
                assert any(each.startswith(f"line {number}: {words}") for each in messages)
            assert len(messages) == summary.failed.total() <= len(errors) + 1  # 700 deep


# Files


async def test_a_file_as_programs_write_it(tmp_path):
    """A cell may be as long as a picture's data: URI."""
    head, *rows = [["prompt", "city", "x"], ["wo?", "Köln", "A" * 200_000], ["où?", "Nîmes", ""]]
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
        ("a.json", b"[]", {}, "must be a .jsonl, .csv or"),
        ("a.csv", b"prompt,prompt\na,b\n", {}, "two columns of the same name"),
        ("a.csv", b"", {}, "a.csv is empty"), ("a.csv", b"city\n", {}, "its columns: city"),
        ("a.csv", b"prompt;image\nHi, you;x.png\n", {}, '--separator ";"'),
    ]):
        (tmp_path / name).write_bytes(content)
        with case:
            with pytest.raises(ValueError, match=message):
                await answer_file(tmp_path / name, answers, ask=pytest.fail, **options)
            with pytest.raises(ValueError, match=message):
                async for _ in ask_many(tmp_path / name, ask=pytest.fail, **options):
                    pass
            assert not answers.exists() or not answers.read_text()


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
    assert len(await results([{"prompt": "a", "image_count": 3}], image_column="")) == 1


# Folders


async def test_a_folder_of_pictures(space, tmp_path, answers, caplog):
    """Of every format, and in folders below. What is left out is told."""
    caplog.set_level(logging.WARNING, "qvq_wrapper")
    folder = tmp_path / "data:"
    (folder / "data:").mkdir(parents=True)
    (folder / "x.png").mkdir()
    (tmp_path / "elsewhere").mkdir()
    suffixes = (
        "png apng jpg JPG jpeg jpe jfif gif webp bmp dib tif tiff avif heic heif hif".split())
    names = {*(f"a.{suffix}" for suffix in suffixes), "data:/x.png"}
    for name in (*names, ".hidden.png"):
        (folder / name).write_bytes(PNG)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "gone.png").symlink_to(tmp_path / "no")
    (folder / "notes.txt").write_text("x")
    summary = await answer_file(folder, answers, prompt="in a folder", url=space.url)
    assert {line["image"] for line in lines(answers) if "answer" in line} == names
    assert summary.total == summary.answered == len(names)
    [message] = caplog.messages
    assert "left out 3" in message and "such as gone.png" in message
    assert {entry["image"] for entry in space.log("asked", prompt="in a folder")} == {
        name.removeprefix("data:/") for name in names}
    with pytest.raises(ValueError, match="no pictures found in .*elsewhere$"):
        await answer_file(tmp_path / "elsewhere", answers, prompt="What?", ask=pytest.fail)
    (tmp_path / "elsewhere" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="no pictures found in .*; .* such as notes.txt"):
        await answer_file(tmp_path / "elsewhere", answers, prompt="What?", ask=pytest.fail)


# Other forms


async def test_one_prompt_about_each_picture(space, tmp_path):
    import pandas

    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        (tmp_path / path).write_bytes(PNG)
    cells = [{"bytes": PNG, "path": "c.png"}, {"bytes": None, "path": paths[0]}]
    forms = [
        paths, tuple(paths), iter(paths), pandas.Series(paths), pandas.DataFrame({"image": paths}),
        [{"image": path} for path in paths], [PNG, PNG], [(PNG, "a.png")] * 2, cells,
        [{"image": cell} for cell in cells]]
    for case, (number, form) in each(enumerate(forms)):
        stream = ask_many(form, prompt=f"form {number}", url=space.url)
        with case:
            assert [one["answer"] async for one in stream] == [f"You asked: form {number}"] * 2
            assert space.seen(f"form {number}")["size"] == len(PNG)
    asked = space.log("asked", prompt=f"form {len(forms) - 1}")
    assert {entry["image"] for entry in asked} == {"a.png", "c.png"}
    with_its_own = iter([{"image": PNG}, {"prompt": "a", "image": PNG}])
    found = await results(with_its_own, prompt="b")
    assert sorted("error" in one for one in found) == [False, True]


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


async def test_the_progress_and_the_total(answers):
    seen = []
    rows = [{"prompt": f"{n}"} for n in range(20)]
    await answer_file(
        rows, answers, ask=echo, limit=3, progress=lambda s: seen.append((s.done, s.total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]
    for case, (questions, options, total) in each([
        (rows, {"limit": 3}, 6), (iter(rows), {"total": 20}, 20), (iter(rows), {}, None),
    ]):
        with case:
            assert (await answer_file(questions, answers, ask=echo, **options)).total == total


async def test_the_first_error_of_each_kind_is_told_with_its_row(answers):
    async def ask(row):
        raise {"a": ValueError, "b": KeyError}[row["prompt"]](f"in\n{row['n']}")

    rows = [{"prompt": name, "n": n} for n, name in enumerate("abab")]
    summary = await answer_file(rows, answers, ask=ask, concurrency=1)
    assert summary.errors == {"ValueError": "row 1: in 0", "KeyError": r"row 2: 'in\n1'"}
    assert str(summary).splitlines()[1:] == [
        "first ValueError: row 1: in 0", r"first KeyError: row 2: 'in\n1'"]
