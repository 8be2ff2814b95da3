"""Rewrites a model's Markdown so that every notebook renders its formulas and only links work."""

from __future__ import annotations

import re
from itertools import accumulate

MAX_FORMULA = 2000  # characters; longer text between delimiters is not a formula

_BRACED = r"(?:[^{}\\]|\\.)*"  # text with balanced braces, up to five levels deep
for _ in range(5):
    _BRACED = rf"(?:[^{{}}\\]|\\.|\{{{_BRACED}\}})*"
_TOKEN = re.compile(rf"""
    ^(?P<lead>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(?P<fence>```+|~~~+)(?P<info>[^`\n]*)
        (?:\n|\Z)(?P<block>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)
    | (?P<ticks>`+)(?P<code>[^\n]*?[^`\n])(?P=ticks)(?!`)
    | \$\$(?P<display>.{{1,{MAX_FORMULA}}}?)\$\$
    | \\\\?\[(?P<bracketed>.{{1,{MAX_FORMULA}}}?)\\\\?\]
    | \\\\?\((?P<inline>(?:(?!\n\s*\n|\\\().){{1,{MAX_FORMULA}}}?)\\\\?\)
    | \$(?P<dollars>(?=[^\s$])(?:[^\n$`\\]|\\.){{0,{MAX_FORMULA}}}?[^\s$`\\])\$(?!\d)
    | (?P<boxed>\\boxed\s*\{{{_BRACED}\}})
    | (?P<environment>\\begin\{{(?P<name>(?:align(?:ed|at)?|array|cases|eqnarray|equation
        |gather(?:ed)?|[bBpvV]?matrix|multline|split)\*?)\}}.{{1,{MAX_FORMULA}}}?\\end\{{(?P=name)\}})
    | (?P<start>`+|\$\$|\$(?=\S)|\\\\?[(\[]|\\(?:boxed|begin|end)\b)
    | \\(?P<escaped>[!-/:-@\[-`{{-~])
    | \$""", re.X | re.M | re.S)
_ACTIVE = re.compile(r"<(?=[A-Za-z/!?])|!\[|\]\((?!\s*https?://)|\\(?:begin|end)|\\\\[(\[]")
"""Signs of HTML, pictures, links and formulas. A front end may act on them even inside code."""
_UNSAFE = re.compile(
    r"\\(?:href|url|style|class|cssId|data|html|require|include|[gx]?def|let|(?:re)?new|provide)")
"""LaTeX commands that do more than set a formula: links, styles, definitions for the whole page."""


def as_markdown(text: str, *, partial: bool = False) -> str:
    """Return Markdown in which every front end renders the formulas, and only http(s) links work.

    Formulas get the delimiters that all front ends know, ``$`` and ``$$``. HTML becomes text, and
    pictures become links.

    Args:
        text: the text that the Space sent, in Markdown.
        partial: more text can follow. An unfinished formula, link, fence or code span at the end is
            left out.
    """
    if partial:
        # The next characters decide what a delimiter, a command or half a link means.
        half_link = r"(?<!\\)!?\[[^][\n]{0,200}(\](\([^()\n]{0,2000})?)?"
        text = re.sub(rf"([$`~\\]+|\\[A-Za-z]+|{half_link})\Z", "", text)
    result, end = [], 0
    for match in _TOKEN.finditer(text):
        result.append(_safe_prose(text[end:match.start()]))
        if partial and _is_unfinished(match, text[match.start():]):
            return "".join(result)
        result.append(_safe_token(match))
        end = match.end()
    return "".join([*result, _safe_prose(text[end:])])


def _is_unfinished(match: re.Match[str], rest: str) -> bool:
    """Return whether more text can make ``rest``, which starts with ``match``, code or formula."""
    start = match["start"]
    if match["fence"]:
        return "\n" not in rest
    is_money = start == "$" and re.match(r"\$\d[\d.,]*(?:\s+[A-Za-z]{2,}){2}", rest)
    if not start or is_money or start == r"\end" or len(rest) > MAX_FORMULA:
        return False
    if start == "$" or start[0] == "`":
        return "\n" not in rest
    return start[-1] != "(" or "\n\n" not in rest


def _safe_token(match: re.Match[str]) -> str:
    if match["fence"]:
        return _code_block(match)
    if match["ticks"]:
        code = match["code"]  # in a table, a | ends the cell even inside code
        return _code(code) if _ACTIVE.search(code) or "|" in code else match[0]
    for group in ("display", "bracketed", "inline", "dollars", "boxed", "environment"):
        if match[group]:
            delimiter = "$" if group in ("inline", "dollars", "boxed") else "$$"
            formula = _formula(match[group], delimiter) or _code(match[0])
            # VS Code renders no formula beside a letter or digit. A zero-width space parts them.
            left = "&#8203;" if match.string[match.start() - 1:match.start()].isalnum() else ""
            right = "&#8203;" if match.string[match.end():match.end() + 1].isalnum() else ""
            return left + formula + right
    text = match["escaped"] or match["start"] or "$"
    delimiter = "\\" if text[0] == "\\" else text
    return "".join(map(_literal, delimiter)) + text[len(delimiter):]


def _formula(body: str, delimiter: str) -> str:
    """Return the formula with delimiters, or "" if a front end cannot or must not render it."""
    body = " ".join(re.sub(r"(?<!\\)%[^\n]*|\\label\{[^{}]*\}", "", body).split())
    body = re.sub(r"!(?=\[)|\](?=[(:])", r"\g<0> ", body)  # no picture, link or link definition
    body = re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", body)
    braces = re.findall(r"(?<!\\)[{}]", body)
    depths = [0, *accumulate(1 if brace == "{" else -1 for brace in braces)]
    is_balanced = min(depths) == 0 and depths[-1] == 0
    if not (body and is_balanced) or re.search(r"`|(?<!\\)\$", body) or _UNSAFE.search(body):
        return ""
    end = " {}" if body[-1] == "\\" else ""  # a backslash would escape the delimiter
    return delimiter + body + end + delimiter


def _code_block(match: re.Match[str]) -> str:
    """Return a code block that every front end recognises: closed, indented by three at most."""
    lead = match["lead"].expandtabs(4)
    body = re.sub(rf"(?m)^ {{0,{len(lead)}}}", "", match["block"].expandtabs(4).rstrip("\n"))
    list_marker = lead.rstrip() + "\n" if lead.strip() else ""
    indent = " " * min(len(lead), 3)
    if _ACTIVE.search(body):
        return f"{list_marker}{indent}<pre>{_code(body)}</pre>\n"
    indent = "" if "$" in body else indent  # JupyterLab sets formulas in an indented block
    # JupyterLab would draw a mermaid diagram, which can load pictures.
    language = re.sub(r"[^\w+#.-].*", "", match["info"].strip(), flags=re.S)
    language = "" if "mermaid" in language.lower() else language
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", body))])
    return list_marker + re.sub("(?m)^", indent, f"{fence}{language}\n{body}\n{fence}")


def _code(text: str) -> str:
    return "<code>" + re.sub(r"[^\w ]", lambda match: f"&#{ord(match[0])};", text) + "</code>"


def _literal(character: str) -> str:
    """Return an entity for a character. An element around $ and \\ hides them from MathJax too."""
    entity = f"&#{ord(character)};"
    return f"<span>{entity}</span>" if character in "$\\" else entity


def _safe_prose(text: str) -> str:
    """Return text outside code and formulas without HTML, pictures and links other than http(s)."""
    text = re.sub(r"&(?=#|[A-Za-z]\w*;)", "&amp;", text)
    text = re.sub(r"<(https?://[^\s<>]*)>", r"\1", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(r"!+\[(?=\])", "[picture", text)
    text = re.sub(r"!+\[", "[", text).replace("]:", "]&#58;")
    return re.sub(r"\]\((?!\s*https?://)", "]&#40;", text)
