"""How an answer becomes Markdown for notebooks.

Every front end has to show its formulas, and nothing in it may be active except links.
"""

import itertools
import re
import time

import pytest
from examples import EXAMPLES
from formulas import FORMULAS
from hypothesis import given, settings
from hypothesis.strategies import builds, recursive, sampled_from
from lab import active

from qvq_wrapper.notebook.markdown import as_markdown

DOLLAR, AT = "<span>&#36;</span>", "<span>&#64;</span>"


def check(pairs):
    """Compare how each text is shown with how it has to be shown."""
    wrong = [
        f"{sent!r} is shown as {found!r}, and not as {shown!r}"
        for sent, shown in pairs if (found := as_markdown(sent)) != shown]
    assert not wrong, "\n".join(wrong)


def beginnings(text):
    """Return how each beginning of a text is shown while it grows, and the beginning itself."""
    return ((as_markdown(text[:end], partial=True), text[:end]) for end in range(len(text) + 1))


def test_formulas():
    check([
        (r"\\( x \\)", "$x$"),
        ("so \\[\n a\n\n = b % why\n\\] it is", "so $$a = b$$ it is"),
        (r"**\boxed{\frac{6}{\sqrt{3}}}**", r"**$\boxed{\frac{6}{\sqrt{3}}}$**"),
        ("\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}",
         r"$$\begin{align*} a &= b \\ c &= d \end{align*}$$"),
        (r"\(a<b\)", r"$a\lt b$"),
        (r"\(x \ \)", r"$x \ {}$"),
        (r"\(a \\{b}\)", r"$a \\ {b}$"),
        (r"\(a@@0@@b\)", "$a@{}@0@{}@b$"),
        ("$a$`b`", "$a$&#8203;`b`"),
        (r"90\(^\circ\)C", r"90&#8203;$^\circ$&#8203;C"),
        (r"\$5, $5", f"{DOLLAR}5, {DOLLAR}5"),
        (r"\( never closed", "<span>&#92;</span>( never closed"),
        (r"\(a{b\)", "<code>&#92;&#40;a&#123;b&#92;&#41;</code>"),
        (r"\alpha, 2 \* 3", r"\alpha, 2 &#42; 3"),
        (r"\ref{a}, \eqref{b}", "<span>&#92;</span>ref{a}, <span>&#92;</span>eqref{b}"),
        # A percent sign, with which a comment would begin.
        (r"\(25%\)", r"$25\%$"),
        (r"\boxed{75%}", r"$\boxed{75\%}$"),
        ("$$\nx = 25%\n= \\frac{1}{4} % a quarter\n% that {is\n$$", r"$$x = 25\% = \frac{1}{4}$$"),
        (r"$$a \\% b$$", r"$$a \\\% b$$"),
        ("\\begin{align}\na &= 5% \\\\\nb &= 6 % why\n\\end{align}",
         r"$$\begin{align} a &= 5\% \\ b &= 6 \% why \end{align}$$"),
    ])


def test_formulas_that_models_write_stay_as_they_are():
    shown = {formula: as_markdown(f"\\[{formula}\\]") for formula in FORMULAS}
    changed = {formula for formula in FORMULAS if shown[formula] != f"$${formula}$$"}
    # Both front ends set these, but only in other words. KaTeX has no \ce.
    other_words = {
        r"\mbox{if } x > 0": r"$$\text{if } x > 0$$",
        r"E = mc^2 \tag{1}": r"$$E = mc^2 \qquad \text{(1)}$$",
        r"\bm{v} = \bm{u} + \bm{a}t":
            r"$$\boldsymbol{v} = \boldsymbol{u} + \boldsymbol{a}t$$",
    }
    as_code = {formula for formula in FORMULAS if "<code>" in shown[formula]}
    assert {formula: shown[formula] for formula in changed - as_code} == other_words
    assert as_code == {r"\ce{H2O}"}
    assert len(as_code) * 100 <= len(FORMULAS) > 100


COMMANDS = r"""
\href \url \includegraphics \style \class \cssId \data \htmlClass \htmlId \htmlStyle \htmlData
\html@mathml \mmlToken \bbox \rule \definecolor \def \gdef \edef \xdef \let \futurelet \newcommand
\renewcommand \providecommand \global \newenvironment \DeclareMathOperator \DeclarePairedDelimiter
\Newextarrow \newtagform \catcode \require \char \unicode \verb \ref \eqref \texttip \mathtip
\toggle \unknown \α \sin@x \begin \begin{x} \\\href
""".split()
ACTIVE_FORMULAS = [
    *(command + "{a}{x}" for command in COMMANDS), r"\color{red;x:y}{x}", r"\tag{\href{x}{y}}",
    r"\textcolor{url(x)}{x}", r"\color[RGB]{1,2,3}{x}", r"\fcolorbox{red}{a:b}{x}",
    r"\hspace{1em;x:y}", r"\begin {matrix}y\end{matrix}"]


def test_a_formula_with_another_command_is_shown_as_code():
    for formula in ACTIVE_FORMULAS:
        shown = as_markdown(f"\\({formula}\\), \\[{formula}\\], \\boxed{{{formula}}}")
        assert "$" not in re.sub("</?span>", "", shown), formula
        assert shown.count("<code>") == 3, formula


def test_code_and_plain_markdown_are_not_changed():
    for text in [
        "# Title\n\n*One* **two**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> so it is, 3 > 2",
        "`$x$` and `\\(x\\)` and ``a ` b``",
        "```python\ncost = '$x$'  # \\(y\\)\n```",
        "1. so\n   ```python\n   if a < b:\n       pass\n   ```\n2. and",
        "````\n```\nx\n```\n````",
    ]:
        assert as_markdown(text) == text
        assert as_markdown(text + "\n", partial=True).rstrip("\n") == text


def test_every_front_end_sees_the_same_code():
    check([
        ("~~~ python\na\n~~~", "```python\na\n```"),
        ("- ```\n  a\n  ```", "-\n  ```\n  a\n  ```"),
        ("      ```\n      a\n      ```", "   ```\n   a\n   ```"),
        ("```\nnever closed", "```\nnever closed\n```"),
        ("```mermaid\ngraph\n```", "```\ngraph\n```"),
        ("```memermaidrmaid\ngraph\n```", "```\ngraph\n```"),
        ("one ` alone", "one &#96; alone"),
        ("```pythön\na\n```", "```pyth\na\n```"),
        ("```\n@@0\n```", f"<pre><code>{AT}{AT}0</code></pre>\n"),
    ])


def test_only_links_stay_active():
    check([
        ("<b>x</b>", "&lt;b>x&lt;/b>"),
        ("1 < 2 > 0 & 3", "1 < 2 > 0 & 3"),
        ("&lt;b&gt; &#36;", "&amp;lt;b&amp;gt; &amp;#36;"),
        ("![a](http://x/y.png)", "[a](<http://x/y.png>)"),
        ("![](http://x/y.png)", "[picture](<http://x/y.png>)"),
        ("![a][b]\n\n[b]: http://x 't'", "[a][b]\n\n[b]&#58; <http://x> 't'"),
        ("[a](javascript:x)", "[a]&#40;javascript:x)"),
        ("[a](data:text/html,x)", "[a]&#40;data:text/html,x)"),
        ("`<b>`", "<code>&#60;b&#62;</code>"),
        ("```html\n<b>\n  x\n```", "<pre><code>&#60;b&#62;&#10;  x</code></pre>\n"),
        (r"$\href{javascript:x}{y}$",
         "<code>&#36;&#92;href&#123;javascript&#58;x&#125;&#123;y&#125;&#36;</code>"),
        ("$n![a](http://x)$", "$n! [a] (http://x)$"),
    ])


HANDLER = '" onmouseover="alert(1)" x="'
ATTACKS = [
    *(f"[x](https://a.b/{begin}{HANDLER}{end})" for begin, end in (
        ("$", "$"), ("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]"), (r"\\(", r"\\)"),
        (r"\\[", r"\\]"), (r"\boxed{", "}"), (r"\begin{array}{c}", r"\end{array}"))),
    f'[x](https://a.b "${HANDLER}$")',
    f"[x](https://a.b/$) [y](https://a.b/{HANDLER}$)",
    f"[x](<https://a.b/${HANDLER}$>)",
    f"<https://a.b/${HANDLER}$>",
    f"https://a.b/$x and https://a.b/{HANDLER}$",
    "www.a.b/$'x'$ or xwww.a.b, ftp://a.b/x, //a.b, mailto:a@b.c and a@b.c",
    f"![${HANDLER}$](https://a.b) and [![x](https://a.b/$)](https://a.b/{HANDLER}$)",
    f"[x][a] ${HANDLER}$\n\n[a]: https://a.b/@@0@@",
    f"[x](https://a.b/@@0@@) ${HANDLER}$",
    f"[x](https://a.b/@\\@0@@) ${HANDLER}$",
    f"[x](https://a.b/&#64;&commat;0@@) ${HANDLER}$",
    f"[x](https://a.b/?&amp;#64;&amp;#64;0&amp;#64;@) ${HANDLER}$",
    f"@\\@0@@ @&#64;0@@ @\\@7@@ $x$ ${HANDLER}$",
    "[x](https://a.b/?&amp;quot;&quot;&#34;) <https://a.b/&quot> https://a.b/?&#36; https://a.b/&#",
    "`@@0@@`",
    "```\n@@0@@\n```",
    f"```x{HANDLER}\ny\n```",
    f"```$x$@@0@@{HANDLER}\ny\n```",
    f"# ${HANDLER}$ <b id=x>",
    "[x](HTTPS://a.b) [y](JavaScript:alert) [z](https&#58;//a.b) <javascript:x> <data:x>",
    "[x](https://user:pass@a.b) [x](https://a.b\\@c.d) [x](https://[::1]/) [x](https://a%22b)",
]


BEFORE = ("", "`a` ", "> - ", "| a | b |\n|---|---|\n| ")


def test_an_attack_makes_nothing_active():
    for attack, before in zip(ATTACKS, itertools.cycle(BEFORE)):
        for partial in (False, True):
            assert not active(as_markdown(before + attack, partial=partial)), before + attack


def assert_nothing_active(text):
    assert not active(as_markdown(text)), text
    for shown, beginning in beginnings(text):
        assert not active(shown), beginning


@pytest.mark.attack
def test_no_beginning_of_an_attack_makes_anything_active():
    blocks = [
        "> ", "- ", "    ", "a\n\n\t", "```\n", "> ```\n> ", "- ```\n  ", "|a|\n|-|\n|", "`", "$",
        "\\[", "$5 (", "| $a|", "> \\[\n> x\n", "\\begin{align}\n"]
    attacks = ["<img src=http://x>", "![a](http://x)", "[a](javascript:x)", "[a]: javascript:x"]
    ends = ["", "`", "$", "\n```", "\n> ```", "\n> \\]", "|b$|", "\\end{align}"]
    mixed = itertools.product(BEFORE, ATTACKS), itertools.product(blocks, attacks, ends)
    for parts in itertools.chain(*mixed):
        assert_nothing_active("".join(parts))


def joined(children):
    """Return mixtures of these texts as links, addresses, pictures, formulas, code and blocks."""
    shapes = [
        "[{}](https://a.b/{}{})", '[{}](https://a.b/{} "{}")', "[{}](<https://a.b/{}>) {}",
        "![{}](https://a.b/{}){}", "<https://a.b/{}{}>{}", "https://a.b/{} {}{}", "www.{}.b/{}{}",
        "[{}][a]\n\n[a]: https://a.b/{} {}", "${}{}${}", "$${}{}$${}", "\\({}{}\\){}",
        "\\[{}{}\\]{}", "\\boxed{{{}{}}}{}", "\\begin{{cases}}{}\\end{{cases}}{}{}", "`{}{}`{}",
        "\n```{}\n{}\n```\n{}", "\n> {}{}{}", "\n- {}{}{}", "\n| {} | {} |\n|-|:-|\n| {} |",
        "{}{}{}"]
    return builds(str.format, sampled_from(shapes), children, children, children)


MIXTURES = recursive(sampled_from([
    "", "x", " ", "\n", "\n\n", '"', "'", " onfocus='x' ", HANDLER, "$", "$$", "\\", "`", "``",
    "~~~", "@", "@@0@@", "@\\@0@@", "&#64;", "&quot;", "&", "&amp;", "&#36;", ";", "%",
    "%24", "%2", "(", ")", "[", "]", "]:", "!", "<", ">", "<b>", "{", "}", "|", "//", "a@b.c",
    "ü", "例", "\u202e", "javascript:",
    "http://", "https://a.b", "www.", "\\href", "\\begin{x}", "\\\\(", "\\[", "#",
]), joined, max_leaves=8)


@pytest.mark.attack
@given(MIXTURES)
@settings(max_examples=200, deadline=None)
def test_no_mixture_makes_anything_active(text):
    assert_nothing_active(text)


def test_links():
    check([
        ("[a](https://x.y/ü?q=a b)", "[a]&#40;<https://x.y/%C3%BC?q=a> b)"),
        ("[a](https://x.y/ü%20%zz \"t\")", "[a](<https://x.y/%C3%BC%20%25zz>)"),
        ("[a](https://exämple.com/)", "[a](<https://xn--exmple-cua.com/>)"),
        ("[a](https://x.y/(b)_c*)", "[a](<https://x.y/%28b%29_c%2A>)"),
        ("[`a` $x$](http://x)", "[`a` $x$](<http://x>)"),
        ("[a\nb](http://x\n't')c", "[a\nb](<http://x>)c"),
        ("[](http://x)", "<http://x>"),
        ("[![a](http://x)](http://y)", "[[a]&#40;http:/&#47;x)](<http://y>)"),
        ("so https://x.y/a_(b), (http://z).", "so <https://x.y/a_%28b%29>, (<http://z>)."),
        ("见https://x.y/三，www.x.y。", "见<https://x.y/%E4%B8%89>，<http://www.x.y>。"),
        ("https://x.y?a&copy;=1", "<https://x.y?a%C2%A9=1>"),
        ("https://x.y?a&copy=1&b&copy_&amp;c", "<https://x.y?a&copy=1&b%26copy_&c>"),
        ("\\https://x", "<span>&#92;</span><https://x>"),
        ("https://x.y/$x$", "<https://x.y/>$x$"),
        ("a@b.c, 1//2, ftp://x, www.-x", "a&#64;b.c, 1/&#47;2, ftp:/&#47;x, www&#46;-x"),
    ])


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


def without_code(shown):
    shown = re.sub(r"^([ >]*)(```+)[^\n]*\n.*?^\1\2$", "", shown, flags=re.M | re.S)
    return re.sub(r"<code>.*?</code>|(?<!`)(`+)(?!`)[^\n]*?[^`\n]\1(?!`)", "", shown)


FORMULA = re.compile(r"(\$\$?)((?:[^$\\]|\\.)+)\1")


def plain(formula):
    """Take back what is done in tables: only the second line says that the first is in one."""
    return re.sub(r"\\vert ?", "|", formula).replace("{c|c}", "{cc}")


def test_formulas_beside_money_and_code_also_while_the_answer_grows():
    """No beginning of an answer shows what the whole does not."""
    for sent, formulas, _ in EXAMPLES:
        shown = without_code(as_markdown(sent))
        assert [formula for _, formula in FORMULA.findall(shown)] == formulas, sent
        for shown, beginning in beginnings(sent):
            prose = without_code(shown)
            found = {plain(formula) for _, formula in FORMULA.findall(prose)}
            assert found <= set(map(plain, formulas)), beginning
            assert not re.search(r"[$`]|\\[()\[\]]", FORMULA.sub("", prose)), beginning


def test_what_was_shown_of_a_growing_answer_does_not_change():
    whole = as_markdown(ANSWER)
    for shown, sent in beginnings(ANSWER):
        fences = re.findall(r"^ *```", shown, re.M)
        assert len(fences) % 2 == 0, sent
        assert whole.startswith(shown.removesuffix("```").rstrip()) or fences, sent
    for sent, shown in [("One\n- $x", "One"), ("> One\n> - $x", "> One")]:
        assert as_markdown(sent, partial=True) == shown  # a marker alone would make a heading


def test_blocks_keep_their_structure():
    check([
        ("> \\[\n> a\n> \\]\n> b", "> $$a$$\n> b"),
        ("> 1. \\(a\n>    b\\)\n> c", "> 1. $a b$\n> c"),
        ("> ```python\n> a\n> ```\n> b", "> ```python\n> a\n> ```\n> b"),
        ("> ```\n> <b>\n> ```\n> b", "> <pre><code>&#60;b&#62;</code></pre>\n> b"),
        ("1. a\n   ```\n   <b>\n   ```\n2. b",
         "1. a\n   <pre><code>&#60;b&#62;</code></pre>\n2. b"),
        ("a\n\n    b = 1\n\n    c\n\nd", "a\n\n    b = 1\n\n    c\n\nd"),
        ("a\n\n\tb = $1", "a\n\n<pre><code>b &#61; &#36;1</code></pre>\n"),
        ("- a\n\n\t  b = $1", "- a\n\n  <pre><code>b &#61; &#36;1</code></pre>"),
        ("| $|x|$ |\n|---|", r"| $\vert x\vert$ |" + "\n|---|"),
        ("$$a$$  \nb", "$$a$$\nb"),
        ("$$a$$ b", "&#8203;$$a$$ b"),
        ("a\r\n\\[\r\nb\r\n\\]", "a\n$$b$$"),
    ])


RUNS = [
    "$", "$$", "`", "~", "\\", "!", "[", "<", "&", "@", "{", "%", "|", "\n", "\t", "> ", "- ",
    "1. ", "**", "//", "\\(", "\\[", "\\\\[", "\\[\n", "\\end{x}", "\\boxed{", "\\begin{align}",
    "\\begin{align}\n", "$$ a", "$a ",
    "$x$ ", "$5 |", "a | $x\n", "|`a|b`", "`` ` ", "```\n", "~~~\n",
    "`a\n", "> - x\n", "![", "[a](", "[[]", "](", "[a](http://x '", "http://", "http://x.", "www.",
    "\\[`", "\\[ \\] $$ ", "!\\", "> - " * 20 + "x\n",
    "".join("`" * count + "x" for count in range(1, 60)),
]


@pytest.mark.parametrize("runs", [
    ["$", "> - x\n", "[a](", "\\begin{align}"],
    pytest.param([*RUNS, ANSWER], marks=pytest.mark.attack)],
    ids=["few", "all"])
def test_eight_times_the_text_takes_eight_times_as_long(runs):
    """What is quadratic takes 64 times as long."""

    def seconds(text):
        began = time.thread_time()
        as_markdown(text + "x", partial=partial)
        return time.thread_time() - began

    for partial, run in itertools.product((False, True), runs):
        short, long = (run * (length // len(run) + 1) for length in (4_000, 32_000))
        # The clock is too coarse for a moment, and other processes slow down some measurements.
        bound = 32 * max(min(seconds(short) for _ in range(3)), 0.002)
        assert any(seconds(long) < bound for _ in range(3)), (run[:20], partial)
