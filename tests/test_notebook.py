"""Notebook output in a real Jupyter kernel. notebooks/test_browser.py uses a real browser."""

import base64
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import nbformat
import pytest
from conftest import HERE, PNG, script, wait_until
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from network import Relay
from PIL import Image
from readmes import examples

from qvq_wrapper.printable import printable

TIMEOUT = 60
"""Seconds that a cell may take."""


@pytest.fixture(autouse=True, scope="module")
def jupyter(tmp_path_factory):
    """Keep the user's own settings and history out of Jupyter."""
    folder = tmp_path_factory.mktemp("jupyter")
    names = "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        for name in names:
            patch.setenv(name, str(folder / name.lower()))
        yield


class Kernel:
    """A Jupyter kernel."""

    def __init__(self):
        self.manager, self.client = start_new_kernel()

    def run(self, code, on_shown=None):
        """Run a cell and return it, as a Cell. Call ``on_shown`` with it after each message."""
        cell = Cell()

        def take(message):
            cell.take(message["msg_type"], message["content"])
            if on_shown:
                on_shown(cell)

        self.client.execute_interactive(code, output_hook=take, timeout=TIMEOUT)
        return cell


class Cell:
    """Records what a running cell displays.

    Attributes:
        shown: the data of everything that was ever displayed, by MIME type.
        screen: the data that is displayed now, by display id, from top to bottom.
        printed: what was written to standard output and error.
    """

    def __init__(self):
        self.shown, self.screen, self.printed, self.error = [], {}, "", None

    def take(self, kind, content):
        if kind in ("display_data", "update_display_data", "execute_result"):
            place = content.get("transient", {}).get("display_id")
            assert kind != "update_display_data" or place in self.screen
            self.shown.append(content["data"])
            self.screen[place] = content["data"]
        elif kind == "stream":
            self.printed += content["text"]
        elif kind == "error":
            self.error = content

    def all(self, mime):
        """Return everything that was ever displayed with this MIME type."""
        return [data[mime] for data in self.shown if mime in data]

    @property
    def end(self):
        return list(self.screen.values())


@pytest.fixture(scope="module")
def kernel(jupyter, space):
    kernel = Kernel()
    assert not kernel.run(
        "from qvq_wrapper import Qwen_QVQ_72B, ask\n"
        "from qvq_wrapper.notebook import show\n"
        f"Qwen_QVQ_72B.url = {space.url!r}").error
    yield kernel
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)


def test_calls_without_show(kernel):
    """An error ends the cell."""
    cell = kernel.run(
        "print(await ask('awaited').read())\n"
        "messages = [{'role': 'user', 'content': 'sync'}]\n"
        "print(*Qwen_QVQ_72B.create_completion('', messages), sep='')\n"
        "await show(ask('x', url='http://127.0.0.1:9', max_retries=0))")
    assert cell.printed == "You asked: awaited\nYou asked: sync\n"
    assert cell.error["ename"] == "SpaceConnectionError"
    assert cell.error["evalue"].startswith("127.0.0.1:9 could not")


def touch_once_shown(file, words):
    """Return a function for ``Kernel.run``. It makes a file, for which a job waits, after words."""

    def look(cell):
        if re.search(words, "\n".join(cell.all("text/plain"))):
            file.touch()

    return look


def test_a_growing_answer_and_its_final_form(kernel, tmp_path):
    """HTML is shown as text, also the tags of a thought. A browser would hide these."""
    file = tmp_path / "file"
    steps = [{"until": str(file)}]
    for number in range(1, 100):
        steps += [" ".join(map(str, range(number))) + r" and \(x", 0.01]
    answer = "<think>\nIs it <b>open</b>?\n</think>\n\nSo \\(x\\)."
    steps += [answer, 0.03]
    began = time.monotonic()
    cell = kernel.run(
        f"stream = ask({script(*steps)!r})\nawait show(stream)", touch_once_shown(file, "1 s"))
    took = time.monotonic() - began
    assert cell.error is None
    assert file.exists(), "the seconds stood still before the first word"
    assert re.search(r"\d+ characters", str(cell.all("text/html")))
    answers = cell.all("text/markdown")
    assert len(answers) > 2 and "x" not in "".join(answers[:-2])
    shown = "&lt;think>\nIs it &lt;b>open&lt;/b>?\n&lt;/think>\n\nSo $x$."
    assert cell.end[0] == {"text/markdown": shown, "text/plain": answer}
    assert re.search(r">\d+\.\d s<", cell.end[1]["text/html"]) and len(cell.end) == 2
    assert len(cell.shown) <= 10 * took + 5, "it drew more often than ten times a second"
    assert kernel.run(f"assert stream.text == {answer!r}").error is None


def test_a_place_in_the_queue(start_space, kernel, tmp_path):
    file = tmp_path / "file"
    # After the first answer, the Space can estimate the wait.
    prompts = [script("warm", 1), script("here", {"until": str(file)}), "third"]
    with start_space("--at-once", 1) as busy:
        cell = kernel.run(
            f"warm, first, third = [ask(each, url={busy.url!r}) for each in {prompts!r}]\n"
            "await warm.read()\nawait anext(first)\nawait show(third)",
            touch_once_shown(file, r"In the queue · place 1 of 1 · about \d+ s to wait"))
    assert cell.error is None and file.exists(), cell.all("text/plain")


def test_a_small_copy_of_the_picture_is_shown(space, kernel):
    cell = kernel.run(
        "from PIL import Image\n"
        "image = Image.linear_gradient('L').resize((900, 600))\n"
        "stream = ask('a picture', image)\nawait show(stream)")
    assert cell.error is None
    picture, answer, _ = cell.end
    kind, data = re.search(r'src="data:image/(\w+);base64,([^"]+)"', picture["text/html"]).groups()
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert small.format.lower() == kind and small.size == (360, 240)
    assert answer["text/plain"] == "You asked: a picture"
    assert space.seen("a picture")["size"] > 1000
    again, answer, status = kernel.run("await show(stream)").end
    assert again == picture and answer["text/plain"] == "You asked: a picture"
    assert "You asked: " not in status["text/plain"]


def test_a_picture_that_is_not_shown(kernel, picture_url):
    """One at an address is not loaded, and of a broken one there is no thumbnail."""
    url = f"{picture_url}?a=<b>"
    cell = kernel.run(f"await show(ask('a picture at an address', {url!r}))")
    assert cell.error is None
    assert f'<a href="{picture_url}?a=&lt;b&gt;"' in cell.end[0]["text/html"]
    assert "<img" not in str(cell.shown)
    cell = kernel.run(f"await show(ask('a broken picture', {PNG[:40]!r}))")
    assert cell.end[0] == {"text/html": "", "text/plain": ""}
    assert "picture" not in cell.all("text/plain")


def test_answers_side_by_side_keep_their_parts_together(kernel):
    prompts = [script(0.3 * number, f"answer {number}") for number in (3, 1, 2)]
    cell = kernel.run(
        f"import asyncio\nawait asyncio.gather(*(show(ask(prompt)) for prompt in {prompts!r}))")
    assert cell.error is None
    shown = [data["text/plain"] for data in cell.end][:6]
    assert shown[::2] == ["answer 3", "answer 1", "answer 2"]
    assert all(re.fullmatch(r"\d+\.\d s", status) for status in shown[1::2])


def test_drawing_holds_up_no_other_task(kernel):
    """The drawing waits for an event that the event loop sets only if it is free.

    An answer is read also if drawing fails.
    """
    cell = kernel.run(
        "import asyncio, threading\nimport qvq_wrapper.notebook as notebook\n"
        "begun, free, kept = threading.Event(), threading.Event(), notebook.as_markdown\n"
        "def draw(text, **options):\n"
        "    begun.set()\n"
        "    print(free.wait(10))\n"
        "    1 / 0\n"
        "async def set_free():\n"
        "    while not begun.is_set(): await asyncio.sleep(0.01)\n"
        "    free.set()\n"
        "notebook.as_markdown = draw\n"
        f"stream = ask({script('a', 1, 'ab')!r})\n"
        "await asyncio.gather(show(stream), set_free(), return_exceptions=True)\n"
        "print(stream.status.stage, stream.text)\n"
        "notebook.as_markdown = kept")
    assert cell.error is None and cell.printed == "True\nTrue\nfinished ab\n"


def test_an_interrupt_cancels_the_job_and_keeps_the_text_so_far(space, kernel):
    sent = []

    def interrupt(cell):
        if not sent and "WORD" in str(cell.end):
            sent.append(kernel.manager.interrupt_kernel())

    prompt = script(*["WORD", 0.05] * 400, "notebook")
    cell = kernel.run(f"await show(ask({prompt!r}))", interrupt)
    assert cell.error["traceback"] == [cell.error["ename"]]
    assert cell.error["ename"] in ("CancelledError", "KeyboardInterrupt")
    answer, status = cell.end
    assert answer["text/markdown"] == "WORD" and "Interrupted after" in status["text/html"]
    wait_until(lambda: space.log("left", prompt=prompt))
    after = kernel.run("await show(ask('and on'))")
    assert after.error is None and after.end[0]["text/plain"] == "You asked: and on"


def test_an_error_is_shown_in_a_box_and_raised(kernel):
    quota = (
        "You have exceeded your GPU quota (60s requested vs. 56s left). "
        "<a href='http://x'>Log in</a>")
    cell = kernel.run(f"await show(ask({script('As far as', 0.3, {'raise': quota})!r}))")
    assert cell.error["ename"] == "RateLimitError"
    assert cell.error["traceback"] == [f"RateLimitError: {cell.error['evalue']}"]
    answer, box = cell.end
    assert answer["text/plain"] == "As far as"
    assert "<b>RateLimitError</b>" in box["text/html"] and "56s left" in box["text/html"]
    assert "http://x" not in box["text/html"] and "run the cell again" in box["text/html"]


@pytest.mark.test_all
def test_what_was_shown_survives_in_the_saved_notebook_and_its_exports(
        space, tmp_path, monkeypatch):
    """LaTeX, reStructuredText and AsciiDoc need pandoc."""
    nbconvert = pytest.importorskip("nbconvert")
    pypandoc = pytest.importorskip("pypandoc")
    monkeypatch.setenv("PATH", os.path.dirname(pypandoc.get_pandoc_path()), prepend=os.pathsep)
    show = "from qvq_wrapper import ask\nfrom qvq_wrapper.notebook import show\nawait show(ask({}))"
    whole, part = script(r"The door is \(2 m\) high"), script("As far", 0.4, {"raise": "too dark"})
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(show.format(f"{whole!r}, {PNG!r}, url={space.url!r}")),
        nbformat.v4.new_code_cell(show.format(f"{part!r}, url={space.url!r}"))])
    NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", allow_errors=True).execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    plain = [output.data["text/plain"] for output in outputs if output.output_type != "error"]
    assert plain[:2] == ["(the picture asked about)", r"The door is \(2 m\) high"]
    assert re.fullmatch(r"\d+\.\d s", plain[2]) and plain[3] == "As far"
    assert len(outputs) == 6 and outputs[-1].evalue == "too dark"  # nothing provisional is left
    for cell in notebook.cells:
        cell.source = ""  # the words below are in the outputs
    for kind in ("html", "slides", "markdown", "latex", "rst", "asciidoc"):
        exported, _ = nbconvert.get_exporter(kind)().from_notebook_node(notebook)
        for words in ("The door is", "2 m", "high", "As far", "too dark"):
            assert words in exported, (kind, words)


def in_terminal(code, interrupt_at="no such text"):
    """Run a cell in IPython's terminal. Return what it prints. Press Ctrl-C at a text, once."""
    imports = "from qvq_wrapper import ask; from qvq_wrapper.notebook import show"
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-term-title"]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*command, "-c", f"{imports}\nprint('BEGIN')\n{code}"],
        stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    screen = b""
    with suppress(OSError):  # the process has ended
        while select.select([master], [], [], TIMEOUT)[0]:
            screen += os.read(master, 1000)
            if interrupt_at.encode() in screen:
                process.send_signal(signal.SIGINT)
                interrupt_at = "no such text"
    os.close(master)
    process.wait(TIMEOUT)
    return screen.decode().replace("\r\n", "\n").partition("BEGIN\n")[2]


UNFIT = "\x1b]0;steer\x07\x1b[2J\x9b1m\u202e\u2066"


def test_answers_in_ipythons_terminal(space):
    """They are printed once, without what would steer the terminal, and then how they ended.

    Half a character at the end is not printed.
    """
    steps = ["A\ufffd", 0.3, f"A{UNFIT}\tB", 0.3, f"A{UNFIT}\tB\nC\u2028D"]
    error = script("half", 0.3, {"raise": f"too {UNFIT} dark"})
    screen = in_terminal(
        f"url = {space.url!r}\nawait show(ask({script(*steps, 0.3)!r}, {PNG!r}, url=url))\n"
        f"stream = ask({script('one', 0.3, 'other', 0.3)!r}, url=url)\n"
        f"for _ in range(2): await show(stream)\nawait show(ask({error!r}, url=url))")
    end = r"\d+\.\d s\n"
    pattern = rf"A\]0;steer\[2J1m(\t| +)B\nC D\n{end}(one|o)ther\n{end}other\n{end}"
    pattern += "half\nThe Space's app says this. Another question or picture may help.\n"
    pattern += r"ResponseError: too \]0;steer\[2J1m dark\n"
    assert re.fullmatch(pattern, screen), screen


def test_an_interrupt_in_ipythons_terminal(space):
    prompt = script(*["WORD", 0.05] * 400, "terminal")
    screen = in_terminal(
        f"url = {space.url!r}\ntry:\n    await show(ask({prompt!r}, url=url))\n"
        "except KeyboardInterrupt:\n    await show(ask('after', url=url))", "WORD")
    assert re.fullmatch(r"WORD\n■ Cancelled\nYou asked: after\n\d+\.\d s\n", screen), screen
    wait_until(lambda: space.log("left", prompt=prompt))


def test_no_words_of_a_space_steer_a_page_or_a_terminal(space, kernel, tmp_path):
    """Some front ends print the plain form: jupyter console, and a diff of two notebooks.

    A Space can write HTML with entities, which an error shows as the signs that they stand for.
    """
    file = tmp_path / "file"
    prompt = script(
        {"info": f"log{UNFIT}<img src=x>"}, {"until": str(file)}, f"SINGLE answer{UNFIT}",
        {"raise": f"error{UNFIT}&lt;img src=x&gt;"})
    with Relay(space.port) as relay:
        relay.replace(b"SINGLE", b"\\ud83d")  # a lone surrogate, which no message can hold
        cell = kernel.run(
            f"await show(ask({prompt!r}, url={relay.url!r}))", touch_once_shown(file, "log"))
    address = kernel.run(f"await show(ask('x', 'http://127.0.0.1:9/' + {UNFIT!r}))")
    shown = "".join([
        *cell.all("text/plain"), *address.all("text/plain"), *cell.error["traceback"],
        *address.error["traceback"]])
    for word in ("log]", "? answer]", "error]", "http:"):
        assert word in shown
    assert printable(shown, "\n") == shown
    page = "".join(cell.all("text/html"))
    assert page.count("&lt;img src=x&gt;") >= 2 and "<img" not in page


def test_what_a_cell_ends_with(kernel):
    assert "Not asked yet" in kernel.run("ask('x')").end[0]["text/markdown"]
    prompt = script(r"So \(x\).")
    shown = kernel.run(f"stream = ask({prompt!r})\nawait stream.read()\nstream").end[0]
    assert shown["text/markdown"] == "So $x$.\n\n*finished, 9 characters*"
    assert shown["text/plain"] == "<AnswerStream finished, 9 characters>"
    for code, words in [
            ("show(ask('x'))", "Not shown yet: write `await show(stream)`"),
            ("async def other(): pass\nother()", "<coroutine object other")]:
        assert kernel.run(code).end[0]["text/plain"].startswith(words)
    error = kernel.run("await show('an answer')").error
    assert error["evalue"] == "show() takes the stream that ask() returns, not str"


def test_cancelling_from_elsewhere_is_no_error(kernel):
    """As a Stop button does it."""
    cell = kernel.run(
        f"import asyncio\nstream = ask({script(60)!r})\n"
        "asyncio.get_running_loop().call_later(0.5, stream.cancel)\nawait show(stream)")
    assert cell.error is None and cell.end[-1]["text/plain"] == "■ Cancelled"


def test_the_readmes_notebook_example(space, kernel):
    (block,) = (block for block in examples("README.rst") if "await show(" in block)
    local = f"__import__('contextlib').nullcontext({space.url!r})"
    cell = kernel.run(block.replace("running_space()", local))
    assert cell.error is None and "<img" in cell.end[0]["text/html"]
    assert "does the sign say?" in cell.end[1]["text/plain"]


@pytest.mark.space  # the notebook starts one in a child process
@pytest.mark.test_all
def test_the_quickstart_runs_from_top_to_bottom():
    notebook = nbformat.read(HERE / "notebooks" / "quickstart.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "stored with outputs"
    # The extras that it names bring all that it imports. gradio brings pandas.
    assert 'pip install ".[batch,demo,notebook]" matplotlib ' in notebook.cells[0].source
    source = "\n".join(cell.source for cell in code)
    modules = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.M))
    assert modules - sys.stdlib_module_names == {"qvq_wrapper", "matplotlib", "pandas"}
    NotebookClient(notebook, timeout=180, kernel_name="python3").execute()
    shown = str([cell.outputs for cell in code])
    assert "OPEN DAILY" in shown and "<img" in shown
