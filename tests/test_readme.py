"""The Python examples of the READMEs run, in order, and print what they should."""

import ast
import asyncio
import re
import threading
from contextlib import nullcontext

import httpx
import pytest
import uvicorn
from cases import each
from conftest import PNG, free_port, script, wait_until
from readmes import READMES, ROOT, examples

from qvq_wrapper import Qwen_QVQ_72B, ask


# Left out in both runs: an example that test_notebook.py runs, and one that needs a cluster.
@pytest.mark.parametrize("without", [
    ["await show(", "dask", "g4f", "import gradio"],  # gradio takes seconds to import
    pytest.param(["await show(", "dask"], marks=pytest.mark.test_all)], ids=["quick", "all"])
@pytest.mark.filterwarnings("ignore:a question was never asked")  # some only make a stream
def test_every_example_runs(without, space, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(Qwen_QVQ_72B, "url", space.url)
    monkeypatch.setattr(Qwen_QVQ_72B, "live", 0)  # g4f counts in it
    monkeypatch.setenv("G4F_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if "g4f" in without:  # then the packages of the text reader are missing too
        monkeypatch.setattr("qvq_wrapper.serve.running_space", lambda: nullcontext(space.url))
    for name in ("triangle.png", "photo.jpg"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "questions.jsonl").write_text('{"prompt": "What?", "image": "photo.jpg"}')
    count = 0
    for readme in READMES:
        names = {}  # each README has all imports that it needs
        for block in examples(readme):
            if not any(word in block for word in without):
                block = block.replace("http://127.0.0.1:7860", space.url)
                code = compile(block, readme, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                running = eval(code, names)
                if running is not None:
                    asyncio.run(running)
                count += 1
    shown = capsys.readouterr().out
    assert ("What does the sign say?" if "g4f" in without else "OPEN DAILY") in shown
    assert "Hello, how are you?" in shown.replace("\n", "")
    assert "g4f" in without or "What is the area?" in shown
    assert count > 12


def test_a_reader_who_leaves_the_web_app_ends_the_job(space, monkeypatch, tmp_path):
    """The README's example for FastAPI, in uvicorn, with a reader who leaves after one word."""
    monkeypatch.setattr(Qwen_QVQ_72B, "url", space.url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(PNG)
    names = {"ask": ask}
    every = (block for readme in READMES for block in examples(readme))
    exec(next(block for block in every if "StreamingResponse" in block), names)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(names["app"], port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        page = f"http://127.0.0.1:{port}/describe"
        answer = httpx.get(page, params={"question": "in a web app"}, timeout=60)
        assert answer.text == "You asked: in a web app"
        prompt = script(*["web", 0.05, "web app"] * 200)
        with httpx.stream("GET", page, params={"question": prompt}, timeout=60) as answer:
            assert next(answer.iter_text()).startswith("web")
        wait_until(lambda: space.log("left", prompt=prompt))
        assert not space.log("finished", prompt=prompt)
    finally:
        server.should_exit = True
        thread.join()


def test_every_link_and_picture_is_there():
    links = [(name, link) for name, text in READMES.items() for link in re.findall(
        r"(?:image:: |(?<!`)`[^`<]*<)(?!\w+:)([^>\s]+)", text)]
    assert len(links) > 12
    for case, (name, link) in each(links):
        with case:
            path, _, section = link.partition("#")
            target = (ROOT / name).parent / path
            titles = re.findall(r"^(.+)\n[-=]+$", target.read_text(), re.M) if section else []
            # GitHub makes the name of a section of its title in this way.
            names = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert target.is_file() and section in ["", *names]
