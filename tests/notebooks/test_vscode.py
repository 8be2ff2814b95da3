"""Answers as VS Code renders them, with its own engine from npm."""

import html
import json
import re
import shutil
import subprocess

import pytest
from examples import EXAMPLES
from formulas import FORMULAS

from qvq_wrapper.notebook.markdown import as_markdown

NODE, NPM = shutil.which("node"), shutil.which("npm")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (NODE and NPM), reason="needs node and npm"),
]

# As in VS Code's extensions markdown-language-features and markdown-math.
ENGINE = """
const markdown = require("markdown-it")({html: true, linkify: true});
const options = {globalGroup: true, enableBareBlocks: true, output: "mathml"};
markdown.use(require("@vscode/markdown-it-katex").default, options);
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map(text => markdown.render(text))));
"""


@pytest.fixture(scope="session")
def render(tmp_path_factory):
    """Return a function that turns texts in Markdown into HTML."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text("{}")
    packages = ["markdown-it@14", "@vscode/markdown-it-katex@1"]
    install = [NPM, "install", "--no-audit", "--no-fund", *packages]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120)
    if installed.returncode:
        pytest.skip(f"npm cannot install the engine: {installed.stderr.splitlines()[:1]}")

    def render(texts):
        done = subprocess.run(
            [NODE, "-e", ENGINE], cwd=folder, input=json.dumps(texts), stdout=subprocess.PIPE,
            text=True, check=True)
        return json.loads(done.stdout)

    return render


def seen(page):
    """Return the formulas of the page, and the text beside them."""
    source = r'<annotation encoding="application/x-tex">(.*?)</annotation>'
    formulas = [html.unescape(formula).strip() for formula in re.findall(source, page, re.S)]
    text = re.sub(r"<math.*?</math>|\u200b", "", page, flags=re.S)
    text = html.unescape(re.sub("<[^>]*>", "", re.sub("<t[dh]", " <", text)))
    return formulas, " ".join(text.split())


def test_formulas_money_and_code(render):
    pages = render([as_markdown(sent) for sent, _, _ in EXAMPLES])
    for (sent, formulas, text), page in zip(EXAMPLES, pages):
        assert "katex-error" not in page
        assert seen(page) == (formulas, text), sent
        rows = [len(re.findall("<t[dh]", row)) for row in re.findall("<tr>.*?</tr>", page, re.S)]
        assert len(set(rows)) <= 1 and "<td></td>" not in page  # each row has all its cells
    for formula, page in zip(FORMULAS, render([as_markdown(f"\\[{each}\\]") for each in FORMULAS])):
        assert "katex-error" not in page and ("<math" in page or formula == r"\ce{H2O}"), formula


def test_no_half_of_an_answer_has_a_broken_formula(render):
    parts = [sent[:end] for sent, _, _ in EXAMPLES for end in range(len(sent))]
    for part, page in zip(parts, render([as_markdown(part, partial=True) for part in parts])):
        assert "katex-error" not in page, part
