"""The page of a Space with a model behind it, in headless Chromium.

$QVQ_ARTIFACTS is a folder for a screenshot. A README shows it (see test_browser.py).
"""

import base64
import io
import os
from pathlib import Path

from conftest import script, wait_until
from PIL import Image
from test_browser import BOUND, Page, browser, pytestmark  # noqa: F401
from upstream import Upstream

from qvq_wrapper.serve import SAMPLE, running_space

ANSWER = r"""Let me read the sign line by line.

1. At the top it says **OPEN DAILY**.
2. Below that are the hours, from 9 to 17 o'clock, which makes

\[ 7 \cdot (17 - 9) = 56 \text{ hours a week.} \]

3. The last line, **MIND THE STEP**, is a warning. It has nothing to do with \( t = 56 \).

**Final answer:** the shop is open for 56 hours a week, and a coffee costs $3 or $4."""
PIECES = [ANSWER[start:start + 6] for start in range(0, len(ANSWER), 6)]
QUESTION = "What does the sign say?"
THOUGHT = {"event": {"choices": [{"delta": {"reasoning": "Is it $$\nopen?\n\n- <b>yes"}}]}}
SCRIPTS = {
    QUESTION: script(*PIECES), "silent": script(60),
    "think": script(THOUGHT, "It is **open daily**: $$x$$."),
    "broken": script({"status": 500, "body": {"error": "out of <b>memory</b>"}})}


class Form(Page):
    """The page of a Space."""

    def __init__(self, driver, url):
        super().__init__(driver)
        driver.get(url)
        self.wait("return document.querySelector('textarea') !== null")

    def wait_text(self, text):
        self.wait("return document.body.innerText.includes(arguments[0])", text)

    def press(self, label):
        self.wait("const button = [...document.querySelectorAll('button')]"
                  ".find(each => each.innerText.trim() === arguments[0]);"
                  "button?.click(); return button", label)

    def ask(self, question):
        box = self.driver.find_element("css selector", "textarea")
        box.clear()
        box.send_keys(question)
        self.press("Ask")


PASTE = """
const done = arguments[arguments.length - 1];
const draw = document.createElement('canvas');
draw.width = 40; draw.height = 20;
draw.toBlob(blob => navigator.clipboard.write([new ClipboardItem({'image/png': blob})])
            .then(() => done(''), error => done(String(error))));
"""


def test_a_picture_that_is_uploaded_or_pasted(tmp_path):
    with (
        Upstream() as server,
        running_space(base_url=server.url, model="m") as url,
        browser(tmp_path) as driver,
    ):
        page = Form(driver, url)

        def ask():
            asked = len(server.requests)
            page.wait("return document.querySelector('.image-frame img')?.complete")
            page.ask("What is it?")
            wait_until(lambda: len(server.requests) > asked, BOUND)
            page.wait_text("You asked: What is it?")
            data = server.requests[-1]["messages"][-1]["content"][0]["image_url"]["url"]
            return base64.b64decode(data.partition("base64,")[2])

        page.wait("return document.querySelector('input[type=file]')")
        driver.find_element("css selector", "input[type=file]").send_keys(str(SAMPLE))
        assert ask() == SAMPLE.read_bytes()
        driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": [
            "clipboardReadWrite", "clipboardSanitizedWrite"]})
        driver.get(url)
        assert driver.execute_async_script(PASTE) == ""
        page.wait("const button = document.querySelector('[aria-label=\"Paste from clipboard\"]');"
                  "button?.click(); return button")
        assert Image.open(io.BytesIO(ask())).size == (40, 20)


def test_the_page(tmp_path):
    with (
        Upstream(scripts=SCRIPTS) as server,
        running_space(base_url=server.url, model="Qwen/QVQ-72B-Preview",
                      arguments=["--show-thinking"]) as url,
        browser(tmp_path) as driver,
    ):
        driver.set_window_size(1000, 860)
        page = Form(driver, url)
        page.wait_text("Qwen/QVQ-72B-Preview")
        page.wait("const row = document.querySelector('.gallery-item, tr.tr-body, .example');"
                  "row?.click(); return row")
        page.wait("return document.querySelector('textarea').value === arguments[0]", QUESTION)
        page.wait("return document.querySelector('.image-frame img')?.complete")
        page.press("Ask")
        page.wait_text("Final answer")
        page.wait("return document.querySelectorAll('.katex').length === 2")
        page.wait_text("costs $3 or $4")
        if folder := os.environ.get("QVQ_ARTIFACTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            window = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
            box = driver.find_element("css selector", "main").rect
            right, bottom = box["x"] + box["width"] + 18, box["y"] + box["height"] + 18
            window = window.crop((box["x"] - 18, 0, right, bottom))
            window.quantize().save(f"{folder}/page.png", optimize=True)
        assert server.requests[-1]["messages"][-1]["content"][0]["type"] == "image_url"
        page.ask("think")
        page.wait_text("open daily")
        page.wait("return document.querySelector('blockquote')")
        page.wait("const bold = [...document.querySelectorAll('.prose strong')]"
                  ".find(each => each.innerText === 'open daily');"
                  "return bold && !bold.closest('blockquote')")
        page.ask("broken")
        page.wait_text("The model's server says: out of memory (HTTP 500)")
        for leave in (lambda: page.press("Stop"), lambda: driver.get("about:blank")):
            asked, left = len(server.requests), len(server.left)
            page.ask("silent")
            wait_until(lambda: len(server.requests) > asked, BOUND)
            leave()
            wait_until(lambda: len(server.left) == left + 1, BOUND)
