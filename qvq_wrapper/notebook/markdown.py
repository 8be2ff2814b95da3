"""Rewrites a model's Markdown so that every notebook renders its formulas and only links work."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from .blocks import CODE_SPAN, MAX_FORMULA, Block, find_blocks
from .dollars import is_formula, is_price, is_price_level
from .latex import ENVIRONMENTS, format_formula
from .links import LINK, format_link

_BRACED = r"(?:[^{}\\]|\\.)*"  # text with balanced braces, up to five levels deep
for _ in range(5):
    _BRACED = rf"(?:[^{{}}\\]|\\.|\{{{_BRACED}\}})*"
_NAMES = "|".join(map(re.escape, ENVIRONMENTS))
_TEXT_TOKEN = rf"""
    {CODE_SPAN}
    | \$\$\$+
    | \$\$(?P<display>.{{1,{MAX_FORMULA}}}?)\$\$(?!\$)
    | \\(?P<twice>\\?)\[
        (?P<bracketed>(?:(?!(?<!\\)\\(?P=twice)\[).){{1,{MAX_FORMULA}}}?)\\\\?\]
    | \\\\?\((?P<inline>(?:(?!\\\().){{1,{MAX_FORMULA}}}?)\\\\?\)
    | \$(?P<dollars>(?=[^\s$])(?:[^\n$`\\]|\\.){{0,{MAX_FORMULA}}}?[^\s$`\\])\$(?!\d)
    | (?P<boxed>\\boxed\s*\{{{_BRACED}\}})
    | (?P<environment>\\begin\{{(?P<name>{_NAMES})\}}.{{1,{MAX_FORMULA}}}?\\end\{{(?P=name)\}})
    | (?P<start>`+|\$\$(?=.)|\$(?=[^\s$])|\\\\?[(\[]|\\(?:boxed|begin|end|(?:eq)?ref)\b)
    | \\(?P<escaped>[!-/:-@\[-`{{-~])
    | \$\$?"""
_LABEL_TOKEN = re.compile(_TEXT_TOKEN, re.X | re.S)
_TOKEN = re.compile(LINK + "|" + _TEXT_TOKEN, re.X | re.S)
_DISPLAYS = ("display", "bracketed", "environment")
_FORMULAS = (*_DISPLAYS, "inline", "dollars", "boxed")
_LINKS = ("link", "pointed", "bare")

_UNFINISHED = re.compile(r"""
    (?<!\\)(?:\\+[A-Za-z]+ | !?\[[^\]\[\n]{0,200}(?:\](?:\([^()\n]{0,2000})?)?)\Z""", re.X)
"""A command or half a link at the end: the next characters decide what it means."""
_PROSE = re.compile(r"""
    &(?=\#|[A-Za-z]\w*;) | <(?=[A-Za-z/!?]) | (?<!!)!+(?=\[) | \][(:] | @+ | //
    | (?i:www)\. | \\\Z""", re.X)
"""Signs of an entity, HTML, a picture, a link, an address, and JupyterLab's own ``@@0@@``.

A backslash at the end would hide the first sign of the link behind it.
"""
_WORD_BEFORE, _WORD_AFTER = re.compile(r"(?<=\w)", re.ASCII), re.compile(r"(?=[\w`])", re.ASCII)
_ACTIVE = re.compile(r"""
    <(?=[A-Za-z/!?]) | !\[ | \]\((?!\s*https?://) | ^[ \t]*\[[^\]\n]*\]: | \\(?:begin|end)
    | \\\\[(\[] | @@\d""", re.M | re.X)
"""Signs of HTML, pictures, links and formulas. A front end may act on them even inside code."""


def as_markdown(text: str, *, partial: bool = False) -> str:
    """Return Markdown in which every front end renders the formulas, and only http(s) links work.

    Formulas get the delimiters that all front ends know, ``$`` and ``$$``. HTML becomes text, and
    pictures become links.

    Args:
        text: the text that the Space sent, in Markdown.
        partial: more text can follow. An unfinished formula, link, fence or code span at the end is
            left out.
    """
    text = re.sub("\r\n?", "\n", text).replace("\0", "\ufffd")
    if partial:
        unfinished = _UNFINISHED.search(text, max(0, len(text) - 2300))
        text = text[:unfinished.start()] if unfinished else text.rstrip("$`~\\")
    shown, end = [], -1
    for block in find_blocks(_mask_pipes(text)):
        is_cut = False
        end += 1 + len(block.source)
        if block.kind not in ("fence", "code"):
            following = text[end:end + MAX_FORMULA] if partial else None
            content, is_cut = _rewrite(block, following)
        elif partial and block.content == "" and end == len(text):
            break  # a fence's first line, which can go on
        else:
            content = _code_block(block)
        shown.append(content)
        if is_cut:
            break
    result = "\n".join(shown)
    # A line of nothing but these would make the line above it a heading.
    return re.sub(r"\n[ \t>]*[-=]+[ \t]*\Z", "", result) if partial else result


def _mask_pipes(text: str) -> str:
    """Return the text with ``\\0`` instead of each ``|`` in formulas and code inside a line."""

    def mask(line: str) -> str:
        pieces = ((prose, match[0] if match else "") for prose, match in _pieces(line))
        return "".join(prose + token.replace("|", "\0") for prose, token in pieces)

    return "\n".join(mask(line) if "|" in line else line for line in text.split("\n"))


def _pieces(
    text: str, pattern: re.Pattern[str] = _TOKEN
) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Find links, code, formulas, and what could be taken for their delimiters.

    Each comes with the text before it. The last one is None, with the rest of the text.
    """
    end = 0
    while match := pattern.search(text, end):
        start = match.start()
        if match["dollars"] and not is_formula(text, start, match.end()):
            match = pattern.match(text, start, start + 1) or match  # the first dollar sign alone
        elif match["display"] and is_price_level(match["display"]):
            match = pattern.match(text, start, start + 2) or match
        yield text[end:start], match
        end = match.end()
    yield text[end:], None


def _rewrite(block: Block, following: str | None) -> tuple[str, bool]:
    """Return the block for the notebook, and whether it was cut before something unfinished.

    ``following`` is the text after the block, None if no more can come.
    """
    content, result, is_cut = block.content, "", False
    for prose, match in _pieces(content):
        result += _safe_prose(prose)
        if not match:
            break
        if match["start"] and following is not None:
            rest = content[match.start():match.start() + MAX_FORMULA + 1] + following
            if is_cut := _is_unfinished(match["start"], rest, block.kind):
                break
        safe = _safe_token(match, block.kind == "row")
        # Formulas are set in one line. Each \0 is a line of the source that has none in the result.
        result += safe + "\0" * (match[0].count("\n") - safe.count("\n"))
    prefixes, lines = iter(block.prefixes), []
    for line in result.split("\n"):
        prefix = next(prefixes)
        for _ in range(line.count("\0")):
            next(prefixes)
        lines.append(prefix + _part_display(line.replace("\0", "")))
    return "\n".join(lines), is_cut


def _part_display(line: str) -> str:
    """VS Code takes all that follows a line for a formula if the line only starts with one."""
    match = re.match(r"\$\$(?:[^$\\]|\\.)*\$\$(?P<rest>.*)", line)
    if not match:
        return line
    return "&#8203;" + line if match["rest"].strip() else line.rstrip()


def _is_unfinished(start: str, rest: str, kind: str) -> bool:
    """Return whether ``rest``, which begins with ``start``, can become a formula or code."""
    if start == r"\end" or len(rest) > MAX_FORMULA:
        return False
    if start == "$" and is_price(rest):
        return False
    if start == "$" or start[0] == "`" or kind != "text":
        return "\n" not in rest
    return start[-1] != "(" or not re.search(r"\n[ \t>]*\n", rest)


def _safe_token(match: re.Match[str], in_table: bool) -> str:
    kind = match.lastgroup or ""
    if kind in _LINKS:
        return _safe_link(match, in_table)
    if kind == "code":
        # In a table, a | ends the cell even inside code.
        code = match["code"].replace(r"\|", "|") if in_table else match["code"]
        return _code(code) if _ACTIVE.search(code) or "|" in code else match[0]
    if kind in _FORMULAS:
        formula = format_formula(match[kind], is_display=kind in _DISPLAYS, in_table=in_table)
        # A zero-width space, because VS Code sets no formula beside a letter or digit, and
        # JupyterLab none before a backtick.
        before = "&#8203;" if _WORD_BEFORE.match(match.string, match.start()) else ""
        after = "&#8203;" if _WORD_AFTER.match(match.string, match.end()) else ""
        return before + (formula or _code(match[0])) + after
    text = match["escaped"] or match[0]
    delimiter = "\\" if text[0] == "\\" else text
    return "".join(map(_literal, delimiter)) + text[len(delimiter):]


def _safe_link(match: re.Match[str], in_table: bool) -> str:
    if match["link"]:
        label = _safe_label(match["label"], in_table) or ("picture" if match["mark"] else "")
        link = format_link(match["destination"], label)
    else:
        link = format_link(match[0].strip("<>"))
    return link or _safe_label(match[0], in_table)


def _safe_label(text: str, in_table: bool) -> str:
    """Return text in which nothing is a link."""
    result = ""
    for prose, match in _pieces(text, _LABEL_TOKEN):
        result += _safe_prose(prose) + (_safe_token(match, in_table) if match else "")
    return result


def _code_block(block: Block) -> str:
    """Return a code block that every front end recognises: closed, and a fence's depth at most."""
    needs_entities = _ACTIVE.search(block.content)
    in_quote = ">" in block.prefixes[0]
    has_dollar = "$" in block.content  # JupyterLab sets formulas in an indented block
    if block.kind == "code" and not (needs_entities or has_dollar):
        return block.source
    prefix = block.prefixes[0].expandtabs(4)
    prefix = prefix[:len(prefix) - block.excess]
    indent = re.sub(r"[^>\s]", " ", prefix)
    first = prefix
    if re.search(r"[^>\s]\s*$", prefix):  # a list's marker gets a line of its own
        first = prefix.rstrip() + "\n" + indent
    body = block.content.rstrip("\n")
    if needs_entities or has_dollar and (in_quote or block.kind == "code"):
        return f"{first}<pre>{_code(body)}</pre>" + ("" if indent else "\n")
    if has_dollar:
        first, indent = first[:len(first) - len(indent)], ""
    # JupyterLab would draw a mermaid diagram, which can load pictures.
    language = re.sub(r"[^\w+#.-].*", "", block.info.strip(), flags=re.S | re.A)
    language = "" if "mermaid" in language.lower() else language
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", body))])
    return first + f"{fence}{language}\n{body}\n{fence}".replace("\n", "\n" + indent)


def _code(text: str) -> str:
    code = re.sub(r"[^\w ]", lambda match: f"&#{ord(match[0])};", text)
    return "<code>" + code.replace("&#64;", _literal("@")) + "</code>"


def _literal(character: str) -> str:
    """Return an entity for a character.

    MathJax and JupyterLab look for $, \\ and @@0@@ in the page too. An element hides them.
    """
    entity = f"&#{ord(character)};"
    return f"<span>{entity}</span>" if character in "$\\@" else entity


def _safe_prose(text: str) -> str:
    """Return text outside code, formulas and links as text that nothing acts on."""

    def escape(match: re.Match[str]) -> str:
        sign = match[0]
        if sign[0] == "!":
            return ""  # a picture's label is shown
        if sign[0] == "\\" or sign[:2] == "@@":
            return "".join(map(_literal, sign))
        return html.escape(sign) if sign in "&<" else f"{sign[:-1]}&#{ord(sign[-1])};"

    return _PROSE.sub(escape, text)
