"""A model's Markdown, made fit for a notebook: formulas as every front end sets them, and nothing live but links."""

from __future__ import annotations

import re

LONGEST = 2000  # characters of a formula; what goes on for longer is none

_BRACED = r"(?:[^{}\\]|\\.)*"
for _ in range(5):
    _BRACED = rf"(?:[^{{}}\\]|\\.|\{{{_BRACED}\}})*"
_TOKEN = re.compile(rf"""
    ^(?P<lead>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(?P<fence>```+|~~~+)(?P<info>[^`\n]*)(?:\n|\Z)
        (?P<block>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)
    | (?P<ticks>`+)(?P<code>[^\n]*?[^`\n])(?P=ticks)(?!`)
    | \$\$(?P<display>.{{1,{LONGEST}}}?)\$\$
    | \\\\?\[(?P<bracketed>.{{1,{LONGEST}}}?)\\\\?\]
    | \\\\?\((?P<inline>(?:(?!\n\s*\n|\\\().){{1,{LONGEST}}}?)\\\\?\)
    | \$(?P<dollars>(?=[^\s$])(?:[^\n$`\\]|\\.){{0,{LONGEST}}}?[^\s$`\\])\$(?!\d)
    | (?P<boxed>\\boxed\s*\{{{_BRACED}\}})
    | (?P<environment>\\begin\{{(?P<name>(?:align(?:ed|at)?|array|cases|eqnarray|equation|gather(?:ed)?|[bBpvV]?matrix
        |multline|split)\*?)\}}.{{1,{LONGEST}}}?\\end\{{(?P=name)\}})
    | (?P<start>`+|\$\$|\$(?=\S)|\\\\?[(\[]|\\(?:boxed|begin|end)\b)
    | \\(?P<escaped>[!-/:-@\[-`{{-~])
    | \$""", re.X | re.M | re.S)
_LIVE = re.compile(r"<(?=[A-Za-z/!?])|!\[|\]\((?!\s*https?://)|\\(?:begin|end)|\\\\[(\[]")
"""What could be taken for HTML, a picture, a link or a formula, if a front end did not see that it is code."""
_BEYOND = re.compile(r"\\(?:href|url|style|class|cssId|data|html|require|include|[gx]?def|let|(?:re)?new|provide)")
"""Commands that make a formula more than one: links, styles, definitions for the whole page."""


def as_markdown(text: str, *, partial: bool = False) -> str:
    """A model's Markdown such that every front end sets its formulas, and none of it is live but http(s) links.

    Formulas get the delimiters that all know, ``$`` and ``$$``; HTML becomes text, pictures become links.

    Args:
        text: what the Space sent.
        partial: it may go on: an unfinished formula at its end is left out, as is an unfinished code span.
    """
    if partial:
        # What comes next decides what these are; half a link is not shown, nor half a fence.
        text = re.sub(r"(?:[$`~\\]+|\\[A-Za-z]+|(?<!\\)!?\[[^][\n]{0,200}(?:\](?:\([^()\n]{0,2000})?)?)\Z", "", text)
    result, end = [], 0
    for match in _TOKEN.finditer(text):
        result.append(_prose(text[end:match.start()]))
        if partial and _may_go_on(match, text[match.start():]):
            return "".join(result)
        result.append(_token(match))
        end = match.end()
    return "".join([*result, _prose(text[end:])])


def _may_go_on(match: re.Match[str], rest: str) -> bool:
    """Whether ``rest``, which begins with this token, may be the beginning of a formula or a code span."""
    start = match["start"]
    if match["fence"]:
        return "\n" not in rest
    if not start or start == r"\end" or len(rest) > LONGEST:
        return False
    if start == "$" and re.match(r"\$\d[\d.,]*(?:\s+[A-Za-z]{2,}){2}", rest):
        return False  # an amount of money
    return ("\n" if start == "$" or start[0] == "`" else "\n\n" if start[-1] == "(" else "\0") not in rest


def _token(match: re.Match[str]) -> str:
    if match["fence"]:
        return _block(match)
    if match["ticks"]:
        code = match["code"]
        return _code(code) if _LIVE.search(code) or "|" in code else match[0]  # a table's cells end at any |
    for group in ("display", "bracketed", "inline", "dollars", "boxed", "environment"):
        if match[group]:
            delimiter = "$" if group in ("inline", "dollars", "boxed") else "$$"
            formula = _formula(match[group], delimiter) or _code(match[0])
            # VS Code knows no formula that touches a word.
            before, after = match.string[match.start() - 1:match.start()], match.string[match.end():][:1]
            return "&#8203;" * before.isalnum() + formula + "&#8203;" * after.isalnum()
    text = match["escaped"] or match["start"] or "$"
    return "".join(map(_literal, text[:1] if text[0] == "\\" else text)) + (text[1:] if text[0] == "\\" else "")


def _formula(body: str, delimiter: str) -> str:
    """Empty where it is none that a front end can or should set."""
    body = " ".join(re.sub(r"(?<!\\)%[^\n]*|\\label\{[^{}]*\}", "", body).split())
    for live, harmless in (("![", "! ["), ("](", "] ("), ("]:", "] :")):
        body = body.replace(live, harmless)
    body = re.sub(r"<(?=[A-Za-z/!?])", r"\\lt ", body)
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", body):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return ""
    if not body or depth or "`" in body or re.search(r"(?<!\\)\$", body) or _BEYOND.search(body):
        return ""
    return delimiter + body + (" {}" if body[-1] == "\\" else "") + delimiter


def _block(match: re.Match[str]) -> str:
    """A code block, where every front end sees one: no deeper than a paragraph may be, and always closed."""
    lead, lines = match["lead"].expandtabs(4), match["block"].expandtabs(4).rstrip("\n").split("\n")
    indent = len(lead)
    lines = [line[min(indent, len(line) - len(line.lstrip(" "))):] for line in lines]
    marker = lead.rstrip() + "\n" if lead.strip() else ""
    body = "\n".join(lines)
    if _LIVE.search(body):
        return f"{marker}{' ' * min(indent, 3)}<pre>{_code(body)}</pre>\n"
    pad = "" if "$" in body else " " * min(indent, 3)  # JupyterLab sees formulas in a block that is indented
    language = re.sub(r"[^\w+#.-].*|mermaid", "", match["info"].strip(), flags=re.S)  # mermaid loads pictures
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", body))])
    return marker + "\n".join(pad + line for line in [fence + language, *lines, fence])


def _code(text: str) -> str:
    return "<code>" + re.sub(r"[^\w ]", lambda match: f"&#{ord(match[0])};", text) + "</code>"


def _literal(character: str) -> str:
    """A character that means nothing; a dollar or backslash in an element, so that MathJax sees none either."""
    entity = f"&#{ord(character)};"
    return f"<span>{entity}</span>" if character in "$\\" else entity


def _prose(text: str) -> str:
    """What is neither code nor formula: no HTML, no pictures, no reference definitions, links to http(s) alone."""
    text = re.sub(r"&(?=#|[A-Za-z]\w*;)", "&amp;", text)
    text = re.sub(r"<(https?://[^\s<>]*)>", r"\1", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(r"!+\[(?=\])", "[picture", text)
    text = re.sub(r"!+\[", "[", text).replace("]:", "]&#58;")
    return re.sub(r"\]\((?!\s*https?://)", "]&#40;", text)
