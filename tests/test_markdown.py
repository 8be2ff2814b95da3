"""How an answer becomes Markdown for notebooks.

Every front end has to show its formulas, and nothing in it may be active except links.
"""

import html
import random
import re
import time

import pytest
from examples import EXAMPLES

from qvq_wrapper.notebook.markdown import as_markdown

DOLLAR = "<span>&#36;</span>"
OWN = r"</?(?:code|span|pre)>|<https?://[\w.~:/?#&=+,;%-]*>"
"""What we write ourselves between < and >."""


@pytest.mark.parametrize("sent, shown", [
    (r"\(x\)", "$x$"),
    (r"\( x \)", "$x$"),
    (r"\\( x \\)", "$x$"),
    ("so \\[\n a\n\n = b % why\n\\] it is", "so $$a = b$$ it is"),
    ("$$\na\n$$", "$$a$$"),
    ("$x_1$ and $y$", "$x_1$ and $y$"),
    (r"**\boxed{\frac{6}{\sqrt{3}}}**", r"**$\boxed{\frac{6}{\sqrt{3}}}$**"),
    (r"\[ \boxed{12} \]", r"$$\boxed{12}$$"),
    ("\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}",
     r"$$\begin{align*} a &= b \\ c &= d \end{align*}$$"),
    (r"\(a<b\)", r"$a\lt b$"),
    (r"\(x \ \)", r"$x \ {}$"),
    (r"90\(^\circ\)C", r"90&#8203;$^\circ$&#8203;C"),
    ("$5 and $6", f"{DOLLAR}5 and {DOLLAR}6"),
    ("from $5-$10", f"from {DOLLAR}5-{DOLLAR}10"),
    (r"\$5", f"{DOLLAR}5"),
    ("a $ b", f"a {DOLLAR} b"),
    (r"\( never closed", "<span>&#92;</span>( never closed"),
    (r"\(a{b\)", "<code>&#92;&#40;a&#123;b&#92;&#41;</code>"),
    (r"\alpha, 2 \* 3", r"\alpha, 2 &#42; 3"),
])
def test_formulas(sent, shown):
    assert as_markdown(sent) == shown


@pytest.mark.parametrize("text", [
    "`$x$` and `\\(x\\)` and ``a ` b``",
    "```python\ncost = '$x$'  # \\(y\\)\n```",
    "1. so\n   ```python\n   if a < b:\n       pass\n   ```\n2. and",
    "````\n```\nx\n```\n````",
])
def test_code_is_not_changed(text):
    assert as_markdown(text) == text
    assert as_markdown(text + "\n", partial=True).rstrip("\n") == text


@pytest.mark.parametrize("sent, shown", [
    ("~~~ python\na\n~~~", "```python\na\n```"),
    ("- ```\n  a\n  ```", "-\n  ```\n  a\n  ```"),
    ("      ```\n      a\n      ```", "   ```\n   a\n   ```"),
    ("```\nnever closed", "```\nnever closed\n```"),
    ("```mermaid\ngraph\n```", "```\ngraph\n```"),
    ("```memermaidrmaid\ngraph\n```", "```\ngraph\n```"),
    ("```Mermaid\ngraph\n```", "```\ngraph\n```"),
    ("one ` alone", "one &#96; alone"),
])
def test_every_front_end_sees_the_same_code(sent, shown):
    assert as_markdown(sent) == shown


@pytest.mark.parametrize("sent, shown", [
    ("<b>x</b>", "&lt;b>x&lt;/b>"),
    ("1 < 2 > 0 & 3", "1 < 2 > 0 & 3"),
    ("&lt;b&gt; &#36;", "&amp;lt;b&amp;gt; &amp;#36;"),
    ("![a](http://x/y.png)", "[a](http://x/y.png)"),
    ("![](http://x/y.png)", "[picture](http://x/y.png)"),
    ("![a][b]\n\n[b]: http://x 't'", "[a][b]\n\n[b]&#58; <http://x> 't'"),
    ("[a](javascript:x)", "[a]&#40;javascript:x)"),
    ("[a](data:text/html,x)", "[a]&#40;data:text/html,x)"),
    ("[a](https://x.y?a=1&b=2)", "[a](https://x.y?a=1&b=2)"),
    ("<https://x.y>", "<https://x.y>"),
    ("`<b>`", "<code>&#60;b&#62;</code>"),
    ("```html\n<b>\n  x\n```", "<pre><code>&#60;b&#62;&#10;  x</code></pre>\n"),
    (r"$\href{javascript:x}{y}$",
     "<code>&#36;&#92;href&#123;javascript&#58;x&#125;&#123;y&#125;&#36;</code>"),
    (r"\(\def\alpha{x}\)", "<code>&#92;&#40;&#92;def&#92;alpha&#123;x&#125;&#92;&#41;</code>"),
    ("$n![a](http://x)$", "$n! [a] (http://x)$"),
])
def test_only_links_stay_active(sent, shown):
    assert as_markdown(sent) == shown


PIECES = [
    "word ", "\n", "\n\n", "    ", "- ", "> ", "| ", "`", "``", "```", "~~~",
    "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\\\(", "\\\\", "\\", "{", "}",
    "\\boxed{", "\\begin{align}", "\\end{align}", "\\begin{x}", "\\end{x}", "x", "5", "%",
    "<img src=http://x>", "<", "b>", "![", "!", "[", "]", "](http://x)", "](javascript:x)",
    "]: http://x", "&lt;", "&", "\\href{",
]


@pytest.fixture(scope="module")
def texts():
    """Random texts made of these pieces, the same in each run."""
    generator = random.Random(7)
    return ["".join(generator.choices(PIECES, k=generator.randint(2, 25))) for _ in range(4000)]


@pytest.mark.parametrize("partial", [False, True])
def test_random_texts_have_nothing_active_but_links(texts, partial):
    own = re.compile(OWN)
    for text in texts:
        shown = own.sub("", as_markdown(text, partial=partial))
        live = re.search(r"<[A-Za-z/!?]|!\[|\]\((?!http://)|^ {0,3}\[[^\]]*\]:", shown, re.M)
        assert not live, (text, shown)


ANSWER = r"""Its base is \(b = 6\) and it costs $5.

\[
A = \frac{1}{2} \begin{pmatrix} 1 \\ 2 \end{pmatrix}
\]

1. So $s = \frac{a}{2}$:
   ```python
   print("$x", "\(")
   ```
2. `x = "$"` and $$A = \sqrt{s}$$

\begin{align} a &= b \\ c &= d \end{align}

**\boxed{12 \text{ cm}^2}** is it."""


@pytest.mark.parametrize("end", range(len(ANSWER) + 1))
def test_a_growing_answer_never_shows_half_a_formula(end):
    shown = as_markdown(ANSWER[:end], partial=True)
    fences = re.findall(r"^ *```", shown, re.M)
    assert len(fences) % 2 == 0
    prose = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", shown, flags=re.M | re.S)
    formulas = re.findall(r"(\$\$?)([^$]+)\1", prose)
    assert all(formula.count("{") == formula.count("}") for _, formula in formulas)
    rest = re.sub(r"(\$\$?)[^$]+\1", "", prose)
    assert not re.search(r"[$\\`]", rest), rest
    whole = as_markdown(ANSWER)
    beginning = shown.removesuffix("```").rstrip()
    assert whole.startswith(beginning) or fences, "text that was shown changed later"


def without_code(shown):
    shown = re.sub(r"^([ >]*)(```+)[^\n]*\n.*?^\1\2$", "", shown, flags=re.M | re.S)
    return re.sub(r"<code>.*?</code>|(?<!`)(`+)(?!`)[^\n]*?[^`\n]\1(?!`)", "", shown)


FORMULA = re.compile(r"(\$\$?)((?:[^$\\]|\\.)+)\1")


@pytest.mark.parametrize("sent, formulas, text", EXAMPLES)
def test_formulas_beside_money_and_code(sent, formulas, text):
    shown = without_code(as_markdown(sent))
    assert [formula for _, formula in FORMULA.findall(shown)] == formulas


def plain(formula):
    """Take back what is done in tables: only the second line says that the first is in one."""
    return re.sub(r"\\vert ?", "|", formula).replace("{c|c}", "{cc}")


@pytest.mark.parametrize("sent, formulas, text", EXAMPLES)
def test_no_beginning_of_an_answer_shows_what_the_whole_does_not(sent, formulas, text):
    for end in range(len(sent) + 1):
        shown = without_code(as_markdown(sent[:end], partial=True))
        found = {plain(formula) for _, formula in FORMULA.findall(shown)}
        assert found <= set(map(plain, formulas)), sent[:end]
        assert not re.search(r"[$`]|\\[()\[\]]", FORMULA.sub("", shown)), sent[:end]


@pytest.mark.parametrize("before", [
    "> ", "- ", "    ", "a\n\n\t", "```\n", "> ```\n> ", "- ```\n  ", "|a|\n|-|\n|", "`", "$",
    "\\[", "$5 (", "| $a|", "> \\[\n> x\n", "\\begin{align}\n",
])
def test_no_block_makes_anything_active(before):
    own = re.compile(OWN)
    live = re.compile(r"<[A-Za-z/!?]|!\[|\]\((?!http://)|^[ >|-]*\[[^\]]*\]:", re.M)
    for sent in ("<img src=http://x>", "![a](http://x)", "[a](javascript:x)", "[a]: javascript:x"):
        for after in ("", "`", "$", "\n```", "\n> ```", "\n> \\]", "|b$|", "\\end{align}"):
            text = before + sent + after
            shown = [as_markdown(text[:end], partial=True) for end in range(len(text))]
            for each in [*shown, as_markdown(text)]:
                assert not live.search(own.sub("", each)), (text, each)


@pytest.mark.parametrize("sent, shown", [
    ("> \\[\n> a\n> \\]\n> b", "> $$a$$\n> b"),
    ("> 1. \\(a\n>    b\\)\n> c", "> 1. $a b$\n> c"),
    ("> ```python\n> a\n> ```\n> b", "> ```python\n> a\n> ```\n> b"),
    ("> ```\n> <b>\n> ```\n> b", "> <pre><code>&#60;b&#62;</code></pre>\n> b"),
    ("1. a\n   ```\n   <b>\n   ```\n2. b", "1. a\n   <pre><code>&#60;b&#62;</code></pre>\n2. b"),
    ("a\n\n    b = 1\n\n    c\n\nd", "a\n\n    b = 1\n\n    c\n\nd"),
    ("a\n\n\tb = $1", "a\n\n<pre><code>b &#61; &#36;1</code></pre>\n"),
    ("- a\n\n\t  b = $1", "- a\n\n  <pre><code>b &#61; &#36;1</code></pre>"),
    ("| $|x|$ |\n|---|", r"| $\vert x\vert$ |" + "\n|---|"),
    ("so $|x|$", "so $|x|$"),
    ("$$a$$  \nb", "$$a$$\nb"),
    ("$$a$$ b", "&#8203;$$a$$ b"),
    ("a\r\n\\[\r\nb\r\n\\]", "a\n$$b$$"),
])
def test_blocks_keep_their_structure(sent, shown):
    assert as_markdown(sent) == shown


def test_a_lone_marker_at_the_end_makes_no_heading():
    assert as_markdown("One\n- $x", partial=True) == "One"
    assert as_markdown("> One\n> - $x", partial=True) == "> One"


def test_plain_markdown_is_not_changed():
    text = "# Title\n\n*One* **two**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> so it is, 3 > 2\n"
    assert as_markdown(text) == text == as_markdown(text, partial=True)


def test_a_long_answer_is_converted_quickly():
    long_texts = [
        ANSWER * 200, "$" * 20_000, "`" * 20_000, r"\(" * 10_000, r"\boxed{" * 4_000, "[" * 20_000,
        "```\n" * 5_000, "\\[\n" * 7_000, "$$ a\n" * 5_000, "> " * 10_000, "a | $x\n" * 3_000,
        "\\begin{align}\n" * 2_000, "$5 |" * 5_000, "> - " * 20 + "x\n" * 3_000]
    for text in long_texts:
        began = time.perf_counter()
        as_markdown(text)
        assert time.perf_counter() - began < 2, text[:20]


def test_entities_decode_to_the_original_code():
    code = "<a href='x'>é & \\begin{x}</a>"
    assert html.unescape(re.sub("</?code>", "", as_markdown(f"`{code}`"))) == code
