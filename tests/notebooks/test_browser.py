"""``show`` in JupyterLab in headless Chromium.

$QVQ_ARTIFACTS is a folder for screenshots. The READMEs show four of them, which lie in this folder.
To make them anew, give this folder: ``-m browser tests/notebooks -k "growing or the_page"``.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from conftest import free_port, script, wait_until
from examples import EXAMPLES
from formulas import FORMULAS
from PIL import Image
from test_markdown import ATTACKS

from qvq_wrapper.notebook.markdown import as_markdown

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
BOUND = 60
"""Seconds that a test waits for one event. The browser shares the machine with the tests."""
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs: apt-get install chromium chromium-driver"),
]

QUESTION = "What is the area of this triangle?"
ANSWER = r"""Let me look at the triangle first.

Its base is \( b = 6 \) and its height is \( h = 4 \), so

\[
A = \frac{1}{2} \cdot b \cdot h = \frac{1}{2} \cdot 6 \cdot 4 = 12
\]

With Heron's formula, where $s = \frac{a + b + c}{2}$:

$$A = \sqrt{s (s - a)(s - b)(s - c)}$$

**Final answer:** \boxed{12 \text{ cm}^2}"""

WATCH = """
window.seen = [];
function look() {
    const outputs = [...document.querySelectorAll('.jp-OutputArea-output')];
    const now = outputs.map(output => {
        const copy = output.cloneNode(true);
        copy.querySelectorAll('mjx-container, code').forEach(set => set.remove());
        return copy.textContent;
    }).join('|');
    if (now !== window.seen.at(-1)) window.seen.push(now);
    requestAnimationFrame(look);
}
look();
"""
"""Records the text of all outputs in each frame, without code and formulas."""


@contextmanager
def jupyterlab(folder, theme):
    """Run JupyterLab on a folder. Yields its address."""
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    port = free_port()
    options = {
        "ServerApp.port": port, "ServerApp.port_retries": 0, "ServerApp.root_dir": str(folder),
        "ServerApp.allow_root": True, "ServerApp.ip": "127.0.0.1", "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True, "LabApp.user_settings_dir": str(folder / "settings"),
        "LabApp.workspaces_dir": str(folder / "workspaces"), "LabApp.extension_manager": "readonly",
    }
    names = ("CONFIG", "DATA", "RUNTIME")
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in names}
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser",
             *(f"--{name}={value}" for name, value in options.items())],
            stdout=log, stderr=log,
            env=os.environ | own | {"IPYTHONDIR": str(folder / "ipython")})
    url = f"http://127.0.0.1:{port}"

    def answers():
        assert server.poll() is None, (folder / "log").read_text()
        try:
            return urllib.request.urlopen(f"{url}/api", timeout=1)
        except (urllib.error.URLError, TimeoutError):
            return None

    try:
        wait_until(answers, BOUND).close()
        yield url
    finally:
        server.terminate()  # it ends its kernels itself
        server.wait(BOUND)


@contextmanager
def browser(folder):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    arguments = [
        "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-sync", "disable-background-networking", "disable-component-update",
        "window-size=1000,1100", "hide-scrollbars", f"user-data-dir={folder / 'chromium'}"]
    for argument in arguments:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """A page in the browser."""

    def __init__(self, driver):
        self.driver = driver

    def wait(self, code, *arguments):
        """Run the script until it returns a true value, and return that."""
        try:
            return wait_until(lambda: self.driver.execute_script(code, *arguments), BOUND)
        except AssertionError:
            keep(self.driver.find_element("css selector", "body"), "failed")
            raise


def keep(element, name, margin=0):
    """Save a screenshot of the element, without so many rows of pixels at its lower end."""
    if folder := os.environ.get("QVQ_ARTIFACTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
        picture = picture.crop((0, 0, picture.width, picture.height - margin))
        picture.quantize().save(f"{folder}/{name}.png", optimize=True)


class Notebook(Page):
    """A notebook that is open in JupyterLab."""

    def __init__(self, driver, url, folder, *cells):
        super().__init__(driver)
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
        notebook.metadata.kernelspec = {
            "name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / "triangle.ipynb")
        driver.get(f"{url}/lab/tree/triangle.ipynb?reset")
        self.wait(
            "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
            " === 'idle'")
        self.command("application:toggle-left-area")
        driver.execute_script(WATCH)

    def command(self, name):
        self.driver.execute_script(
            "window.jupyterapp.commands.execute(arguments[0]); return null", name)

    def run(self):
        """Run the selected cell and select the next one."""
        self.command("notebook:run-cell-and-select-next")

    def wait_text(self, text):
        """Wait until an output has contained the text."""
        return self.wait(f"return window.seen.some(now => now.includes({json.dumps(text)}))")

    def wait_idle(self):
        """Wait until no cell is running."""
        self.wait(
            "return document.querySelector("
            "'.jp-Notebook-ExecutionIndicator[data-status=idle]') !== null"
            " && ![...document.querySelectorAll('.jp-InputPrompt')]"
            ".some(p => p.textContent.includes('*'))")

    def keep(self, name):
        """Save a screenshot of the latest cell that has an output, without the next one's frame."""
        selector = ".jp-CodeCell:has(.jp-OutputArea-output)"
        keep(self.driver.find_elements("css selector", selector)[-1], name, margin=3)

    def count(self, selector):
        return self.driver.execute_script(
            "return document.querySelectorAll(arguments[0]).length", selector)

    def check_growth(self):
        """Check what was visible: the status, the growing answer, and never a formula's source."""
        seen = self.driver.execute_script("return window.seen")
        assert any("In the queue · place 1 of 1" in now for now in seen)
        assert any("characters" in now for now in seen) and "characters" not in seen[-1]
        assert re.search(r"\|\d+\.\d s$", seen[-1])
        lengths = [len(now.split("|")[1]) for now in seen if now.count("|") == 2]
        assert len(set(lengths)) > 8 and lengths == sorted(lengths)
        assert not [now for now in seen if re.search(r"\\|\$\D|\$$|frac|boxed", now)]

    def requests(self):
        """Return scheme and host of each request that the browser has made."""
        log = self.driver.get_log("performance")
        events = [json.loads(entry["message"])["message"] for entry in log]
        urls = [event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent"]
        return {"/".join(url.split("/")[:3]) for url in urls if url.startswith("http")}


PREPARE = """
from matplotlib.figure import Figure
from qvq_wrapper import Qwen_QVQ_72B

Qwen_QVQ_72B.url = {url!r}


def ask(prompt, *picture, **options):  # asks the test Space with a script
    return Qwen_QVQ_72B.ask({scripts!r}.get(prompt, prompt), *picture, **options)


async def until_busy():
    stream = ask("busy")
    await anext(stream)
    return stream


figure = Figure((4, 2.4), layout="tight")
axes = figure.subplots()
axes.fill([0, 6, 2], [0, 0, 4], alpha=.4)
axes.set_aspect(1)
"""


def words(answer):
    """Return the steps of an answer that arrives six letters at a time."""
    steps = []
    for end in range(6, len(answer), 6):
        steps += [answer[:end], 0.03]
    return [*steps, answer]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_a_growing_answer_in_jupyterlab(start_space, tmp_path, theme):
    shade = theme.split()[-1].lower()
    scripts = {
        "busy": script("busy", 3), QUESTION: script(1, *words(ANSWER)),
        "long": script({"raise": f"No such file: /{'folder/' * 20}{'a' * 200}.png"})}
    jupyter = jupyterlab(tmp_path, theme)
    with start_space("--at-once", 1) as space, jupyter as url, browser(tmp_path) as driver:
        driver.set_window_size(760, 1100)
        (tmp_path / "prepare.py").write_text(PREPARE.format(url=space.url, scripts=scripts))
        page = Notebook(
            driver, url, tmp_path,
            "from qvq_wrapper.notebook import show\nfrom prepare import ask, figure, until_busy\n"
            "busy = await until_busy()",
            f'stream = ask("{QUESTION}", figure)\nawait show(stream)',
            f'await show(ask("{QUESTION}"))',
            "await show(ask('Hello', url='http://127.0.0.1:9'))", "await show(ask('long'))")
        page.run()
        page.run()
        page.wait_text("In the queue")
        page.keep(f"{shade}-1-waiting")
        page.wait("return document.querySelectorAll('mjx-container').length > 3")
        page.keep(f"{shade}-2-growing")
        page.wait_text("Final answer")
        page.wait_idle()
        page.keep(f"{shade}-3-answer")
        page.check_growth()
        assert page.count("mjx-container[display=true]") == 2 and page.count("mjx-container") == 6
        assert page.count("mjx-merror") == 0
        page.run()
        page.wait("return document.querySelectorAll('mjx-container').length > 8")
        page.command("notebook:interrupt-kernel")
        page.wait_text("Interrupted after")
        page.wait_idle()
        page.keep(f"{shade}-4-interrupted")
        wait_until(lambda: len(space.log("left")) == 3, BOUND)
        assert len(space.log("finished")) == 2
        page.run()
        page.wait_text("SpaceConnectionError")
        page.wait_idle()
        page.keep(f"{shade}-5-error")
        page.run()
        page.wait_text("No such file")
        page.wait_idle()
        page.keep(f"{shade}-6-long-error")
        assert driver.execute_script(
            "return [...document.querySelectorAll('.jp-RenderedHTMLCommon div')]"
            ".every(box => box.scrollWidth <= box.clientWidth)")


OUTPUTS = """
return [...document.querySelectorAll('.jp-RenderedMarkdown')].map(output => {
    const copy = output.cloneNode(true);
    copy.querySelectorAll('mjx-container, .jp-InternalAnchorLink').forEach(set => set.remove());
    copy.querySelectorAll('td, th').forEach(cell => cell.prepend(' '));
    const text = copy.textContent.replaceAll('\\u200b', '').replace(/\\s+/g, ' ').trim();
    return [output.querySelectorAll('mjx-container').length, text];
})
"""


def test_formulas_money_and_code_in_jupyterlab(tmp_path):
    texts = [as_markdown(sent) for sent, _, _ in EXAMPLES]
    of_models = [as_markdown(f"\\[{formula}\\]") for formula in FORMULAS]
    texts.append("\n\n".join(text for text in of_models if text.startswith("$$")))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    firsts = range(0, len(texts), 30)  # JupyterLab shows 50 outputs of a cell at most
    cells = [
        "import json\nfrom IPython.display import Markdown, display\n"
        f"for text in json.load(open('texts.json'))[{first}:{first + 30}]:\n"
        "    display(Markdown(text))" for first in firsts]
    with jupyterlab(tmp_path, "JupyterLab Light") as url, browser(tmp_path) as driver:
        page = Notebook(driver, url, tmp_path, *cells)
        for _ in cells:
            page.run()
        page.wait(
            f"return document.querySelectorAll('.jp-RenderedMarkdown').length === {len(texts)}")
        expected = sum(len(formulas) for _, formulas, _ in EXAMPLES) + texts[-1].count("$$") // 2
        page.wait(f"return document.querySelectorAll('mjx-container').length >= {expected}")
        page.keep("examples")
        seen = driver.execute_script(OUTPUTS)
        assert page.count("mjx-merror") == 0
        assert page.count("mtext[mathcolor=red]") == 0  # a command that MathJax does not know
    for (sent, formulas, text), output in zip(EXAMPLES, seen):
        assert output == [len(formulas), text], sent


ACTIVE = """
return [...document.querySelectorAll('.jp-RenderedMarkdown *')].flatMap(element =>
    [...element.attributes].map(({name, value}) => [element.localName, name, value])
).filter(([element, name, value]) =>
    name.startsWith('on') || ['src', 'srcdoc', 'action', 'formaction'].includes(name)
    || name.endsWith('href') && !/^https?:/.test(value) && !value.startsWith('#')
).concat([...document.querySelectorAll(
    '.jp-RenderedMarkdown :is(img, script, iframe, object, embed, form, svg, style, link)')
].map(element => [element.localName]))
"""
"""Every attribute and element of the outputs that a script or a foreign address could use."""


def test_an_answer_runs_no_script_in_jupyterlab(start_space, tmp_path):
    flag = "window.pwned = (window.pwned || 0) + 1"
    attacks = [attack.replace("alert(1)", flag) for attack in ATTACKS]
    attacks += [f'[x](https://a.b/$" on{event}="{flag}" tabindex="0" autofocus x="$)'
                for event in ("focus", "mouseover", "animationstart", "error", "load")]
    attacks += [f"<img src=x onerror='{flag}'>", f"<script>{flag}</script>",
                f"![x](https://a.b/$\" onerror=\"{flag}\" x=\"$)", r"$\href{javascript:x}{y}$"]
    answer = "\n\n".join([*attacks, "The end."])
    scripts = {"Attack": script(1, *[answer[:end] for end in range(0, len(answer), 400)], answer)}
    with start_space("--at-once", 1) as space, jupyterlab(tmp_path, "JupyterLab Light") as url, \
            browser(tmp_path) as driver:
        (tmp_path / "prepare.py").write_text(PREPARE.format(url=space.url, scripts=scripts))
        page = Notebook(driver, url, tmp_path,
                        "from qvq_wrapper.notebook import show\nfrom prepare import ask\n"
                        "await show(ask('Attack'))")
        page.run()
        page.wait_text("The end.")
        page.wait_idle()
        page.wait("return document.querySelectorAll('mjx-container').length > 8")
        driver.execute_script(
            "for (const each of document.querySelectorAll('.jp-RenderedMarkdown *')) {"
            "    for (const name of ['mouseover', 'focus', 'error', 'click', 'animationstart'])"
            "        each.dispatchEvent(new Event(name)); }")
        page.keep("attacks")
        assert driver.execute_script("return window.pwned ?? null") is None
        assert driver.execute_script(ACTIVE) == []
        assert page.count(".jp-RenderedMarkdown a[href^='https://a.b/']") > 20
        assert page.requests() == {url}
