"""Which rows a resumed run asks: what makes two rows the same question, as the README says it."""

import logging
import os
import shutil
from itertools import product
from pathlib import Path

import pytest
from batches import Asker, lines, write
from cases import each
from conftest import PNG

from qvq_wrapper import Qwen_QVQ_72B
from qvq_wrapper.batch import answer_file, on_dask

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]
with_and_without_id = pytest.mark.parametrize("has_id", [False, True], ids=["", "id"])


async def asked_again(questions, answers, **options):
    """Run once more. Return the prompts that were asked."""
    ask = Asker()
    await answer_file(questions, answers, ask=ask, **options)
    return ask.asked


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "qvq_wrapper")
    return lambda: "\n".join(caplog.messages)


@pytest.fixture
def folder(tmp_path):
    """A folder with two pictures and a file of questions about them."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, data in {"01.png": PNG, "02.png": PNG + b"2"}.items():
        (folder / name).write_bytes(data)
    rows = [{"prompt": f"about {name}", "image": name} for name in ("01.png", "02.png")]
    write(folder / "questions.jsonl", rows)
    return folder


def give_ids(folder):
    rows = lines(folder / "questions.jsonl")
    write(folder / "questions.jsonl", [{"id": n, **row} for n, row in enumerate(rows)])


@with_and_without_id
async def test_a_picture_counts_by_its_content(folder, tmp_path, answers, has_id):
    """Neither its name nor where it lies, its time or its inode counts."""
    if has_id:
        give_ids(folder)
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "01.png").write_bytes(PNG[:-1] + b"z")  # of the same size
    await asked_again(folder / "questions.jsonl", answers)
    if has_id:
        message = "line 1: its id, '0', was answered with another prompt or picture; give the row"
        with pytest.raises(ValueError, match=message):
            await asked_again(other / "questions.jsonl", answers)
    else:
        assert await asked_again(other / "questions.jsonl", answers) == ["about 01.png"]
    moved = shutil.copytree(folder, tmp_path / "moved")
    shutil.rmtree(folder)
    assert await asked_again(moved / "questions.jsonl", answers) == []
    (moved / "01.png").unlink()
    assert await asked_again(moved / "questions.jsonl", answers) == (
        [] if has_id else ["about 01.png"])


@with_and_without_id
async def test_a_changed_prompt_is_another_question(answers, said, has_id):
    old, new = [{"prompt": "a", **({"id": 1} if has_id else {})} for _ in range(2)]
    new["prompt"] = "b"
    await asked_again([old], answers)
    if has_id:
        with pytest.raises(ValueError, match="another prompt or picture; give the row another id"):
            await asked_again([new], answers)
    else:
        assert await asked_again([new], answers) == ["b"]
        assert "1 answers belong to no row of this run" in said()
    assert [line["answer"] for line in lines(answers)][0] == "A"


async def test_a_changed_prompt_about_a_folder_is_another_question(answers, tmp_path):
    """A folder is no picture, but it is there. Nothing else would tell of the change."""
    row = {"id": 1, "prompt": "a", "image": tmp_path}
    await asked_again([row], answers)
    with pytest.raises(ValueError, match="another prompt or picture"):
        await asked_again([row | {"prompt": "b"}], answers)


@with_and_without_id
async def test_another_model_gives_other_answers(space, answers, monkeypatch, has_id):
    monkeypatch.setattr(Qwen_QVQ_72B, "models", [*Qwen_QVQ_72B.models, "another"])
    rows = [{"prompt": "resume model", **({"id": 1} if has_id else {})}]
    for case, same in each([
        {}, {"model": "qvq-72b"}, {"api_name": "generate"}, {"timeout": 50}, {"max_retries": 1},
        {"headers": {"a": "b"}},
    ]):
        with case:
            await answer_file(rows, answers, url=space.url, **same)
            assert len(lines(answers)) == 1
    first = answers.read_text()
    for case, other in each([
        {"model": "another"}, {"api_name": "/text"}, {"parameters": {"image": None}},
    ]):
        answers.write_text(first)
        with case:
            if has_id:
                message = "another model, api_name or parameters; give another"
                with pytest.raises(ValueError, match=message):
                    await answer_file(rows, answers, url=space.url, **other)
            else:
                await answer_file(rows, answers, url=space.url, **other)
                assert len(lines(answers)) == 2
                answers.write_text(answers.read_text().removeprefix(first))
                # It would need a client if it had anything to ask.
                summary = await answer_file(rows, answers, ask=on_dask(None, **other))
                assert summary.skipped == 1 and not summary.failed
            assert len(lines(answers)) == 1


@with_and_without_id
async def test_the_address_does_not_count(space, relay, answers, said, has_id):
    rows = [{"prompt": f"resume {n}", **({"id": n} if has_id else {})} for n in range(3)]
    await answer_file(rows[:2], answers, url=space.url)
    summary = await answer_file(rows, answers, url=f"{relay.url}/")
    assert (summary.skipped, summary.answered) == (2, 1) and said() == ""
    assert [line["asked"] for line in lines(answers)] == [
        {"url": f"{space.url}/"}] * 2 + [{"url": f"{relay.url}/"}]
    summary = await answer_file(rows, answers, url="owner/name")
    assert summary.skipped == 3
    assert "and this run asks https://owner-name.hf.space/; to keep them apart" in said()
    assert f"{relay.url}/" in said()


async def test_the_bytes_of_a_picture_are_the_same_as_its_file(folder, answers, monkeypatch):
    """The file is read once while it does not change."""
    read, real = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or real(path))
    forms = [
        str(folder / "01.png"), folder / "01.png", (folder / "01.png").as_uri(), PNG,
        (PNG, "a.png"), {"bytes": PNG, "path": None}, {"bytes": None, "path": folder / "01.png"},
        memoryview(PNG)]
    await asked_again([{"prompt": "a", "image": forms[0]}], answers)
    for case, form in each(forms):
        with case:
            assert await asked_again([{"prompt": "a", "image": form}], answers) == []
    assert len(await asked_again([{"prompt": "a", "image": PNG + b"x"}], answers)) == 1
    assert len(read) == 1


@with_and_without_id
async def test_a_file_that_another_tool_has_saved_means_the_same(folder, answers, has_id):
    import pandas

    if has_id:
        give_ids(folder)

    async def ask(row):
        if "02" in row["prompt"]:
            raise ValueError("too dark")
        return "007"

    def as_text(table):  # as a spreadsheet has it
        return table.astype(str).replace("None|nan", "", regex=True)

    await answer_file(folder / "questions.jsonl", answers, ask=ask)
    for edit in (lambda table: table, as_text):
        before = answers.read_text()
        table = edit(pandas.read_json(answers, lines=True))
        table.to_json(answers, orient="records", lines=True)
        assert answers.read_text() != before
        assert await asked_again(folder / "questions.jsonl", answers, limit=0) == []
    assert await asked_again(folder / "questions.jsonl", answers) == ["about 02.png"]


async def test_rows_that_failed_are_asked_last(answers):
    rows = [{"prompt": name} for name in "abcd"]
    await answer_file(rows[:2], answers, ask=Asker(failing="ab"))
    assert await asked_again(rows, answers, concurrency=1, limit=3) == ["c", "d", "a"]
    assert await asked_again(rows, answers, concurrency=1) == ["b"]


# The file is ours while we write


def replace(path):
    path.with_name("new").write_bytes(path.read_bytes())
    os.replace(path.with_name("new"), path)


async def test_a_change_by_someone_else_ends_the_run(tmp_path):
    """It is told, too, if it comes after the last answer."""
    changes = [  # and how many questions the next run asks, if it comes after 5 or 10 answers
        (Path.unlink, 10, 10), (replace, 5, 0), (lambda path: os.truncate(path, 10), None, None),
        (lambda path: os.truncate(path, path.stat().st_size + 1), None, None)]
    rows = [{"prompt": f"{n}"} for n in range(10)]
    for case, ((number, (change, *left)), when) in each(product(enumerate(changes), [5, 10])):
        answers, ask, changed = tmp_path / f"{number} {when}.jsonl", Asker(), []

        def change_once(summary):
            if summary.done == when and not changed:
                changed.append(True)
                change(answers)

        with case:
            words = "by someone else during the run. Only the answers that the"
            with pytest.raises(OSError, match=words):
                await answer_file(rows, answers, ask=ask, concurrency=1, progress=change_once)
            assert len(ask.asked) == min(when + 1, 10)
            if left[0] is not None:
                assert len(await asked_again(rows, answers)) == left[when == 10]
