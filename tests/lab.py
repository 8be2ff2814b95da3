"""Does to Markdown what JupyterLab does, and finds everything active in the page."""

import html
import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

MATH = re.compile(
    r"(\$\$?|\\(?:begin|end)\{[a-z]*\*?\}|\\[{}$]|[{}]|(?:\n\s*)+|@@[0-9]+@@|\\\\[()[\]])", re.I)
ADDRESS = re.compile(
    r"(?:https?://|ftp://|www\.)(?:[a-z0-9-]+\.?)+[^\s<]*"
    r"|[a-z0-9._+-]+@[a-z0-9_-]+(?:\.[a-z0-9_-]*[a-z0-9])+(?![-_])", re.I)


def remove_math(text):
    """Return the text with ``@@0@@`` instead of formulas, and the formulas.

    The same as in @jupyterlab/rendermime 4.6, latex.ts.
    """

    def hide(match):
        return match[0].replace("$", "~D")

    has_code = "`" in text or "~~~" in text
    if has_code:
        text = text.replace("~", "~T")
        fence = r"^(?P<fence>`{3,}|(~T){3,})[^`\n]*\n([\s\S]*?)^(?P=fence)`*$"
        text = re.sub(fence, hide, text, flags=re.M)
        text = re.sub(r"(^|[^\\])(`+)([^\n]*?[^`\n])\2(?!`)", hide, text, flags=re.M)

    def show(text):
        names = {"~T": "~", "~D": "$"}
        return re.sub("~[TD]", lambda match: names[match[0]], text) if has_code else text

    parts, math = MATH.split(text), []
    start = end = last = None
    depth = 0

    def take(first, final):
        formula = html.escape("".join(parts[first:final + 1]), quote=False)
        parts[first:final + 1] = [f"@@{len(math)}@@"] + [""] * (final - first)
        math.append(show(formula))

    for index in range(1, len(parts), 2):
        part = parts[index]
        if part[0] == "@":
            parts[index] = f"@@{len(math)}@@"
            math.append(part)
        elif start is not None:
            if part == end:
                if depth:
                    last = index
                else:
                    take(start, index)
                    start = end = last = None
            elif re.search(r"\n.*\n", part):
                if last is not None:
                    take(start, last)
                start, end, last, depth = None, None, None, 0
            elif part == "{":
                depth += 1
            elif part == "}" and depth:
                depth -= 1
        elif part in ("$", "$$"):
            start, end, depth = index, part, 0
        elif part in (r"\\(", r"\\["):
            start, end, depth = index, r"\\)" if part[-1] == "(" else r"\\]", 0
        elif part[1:6] == "begin":
            start, end, depth = index, r"\end" + part[6:], 0
    if start is not None and last is not None:
        take(start, last)
    return show("".join(parts)), math


def render(text):
    """Return the page of a text in Markdown, as the trusted output of a cell."""
    text, math = remove_math(text)
    return re.sub("@@([0-9]+)@@", lambda match: math[int(match[1])], PARSER.render(text))


def _address(state, silent):
    """Make a link of an address that stands alone, as GitHub's Markdown does."""
    match = ADDRESS.match(state.src, state.pos)
    if not match or state.linkLevel:
        return False
    if not silent:
        state.push("link_open", "a", 1).attrs = {"href": match[0]}
        state.push("text", "", 0).content = match[0]
        state.push("link_close", "a", -1)
    state.pos = match.end()
    return True


def _link(self, tokens, index, options, env):
    attributes = {"title": "", **tokens[index].attrs}
    # JupyterLab does not escape &, and a browser takes only &name= as it is.
    href = re.sub("&(?=[A-Za-z0-9]+=)", "&amp;", attributes["href"])
    title = f' title="{html.escape(attributes["title"])}"' if attributes["title"] else ""
    return f'<a href="{href}"{title}>'


def _fence(self, tokens, index, options, env):
    language = tokens[index].info.strip()  # JupyterLab does not escape it
    code = html.escape(tokens[index].content)
    return f'<pre><code class="language-{language}">{code}</code></pre>'


PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("text")
PARSER.inline.ruler.after("html_inline", "address", _address)
PARSER.add_render_rule("fence", _fence)
PARSER.add_render_rule("link_open", _link)
PARSER.validateLink = lambda url: True


class Active(HTMLParser):
    """Collects what is in a page beside text and the few things that we mean to send."""

    ATTRIBUTES = {
        ("a", "href"): r"https?://[\w.-]+([:/?#]([\w.~:/?#&=+,;-]|%[0-9A-Fa-f]{2})*)?",
        ("code", "class"): r"language-[\w+#.-]*",
        ("ol", "start"): r"\d+",
        ("td", "style"): "text-align:(left|center|right)",
        ("th", "style"): "text-align:(left|center|right)",
    }
    ELEMENTS = (
        "a blockquote br code em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th"
        " thead tr ul").split()

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.handle_comment = self.handle_decl = self.handle_pi = self.found.append
        self.unknown_decl = self.found.append
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in self.ELEMENTS:
            self.found.append(tag)
        for name, value in attributes:
            if not re.fullmatch(self.ATTRIBUTES.get((tag, name), r"\b\B"), value or "", re.A):
                self.found.append((tag, name, value))


def active(text):
    """Return what a text in Markdown has in JupyterLab beside text, formulas and safe links."""
    return Active(render(text)).found
