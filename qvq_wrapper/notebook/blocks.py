"""Splits Markdown into the blocks that a parser finds, and says where each is in the source."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, code, fence
from markdown_it.token import Token

MAX_FORMULA = 2000  # characters; longer text between delimiters is no formula, and no code

CODE_SPAN = rf"(?<!`)(?P<ticks>`+)(?!`)(?P<code>[^\n]{{0,{MAX_FORMULA}}}?[^`\n])(?P=ticks)(?!`)"
_OPENER = re.compile(
    rf"{CODE_SPAN}|\\\$|\$\$\$+|(?P<opener>\$\$|\\\[|\\begin(?P<name>\{{[A-Za-z]+\*?\}}))")


@dataclass
class Block:
    """A part of the source, one or more whole lines.

    Attributes:
        kind: ``text`` (a paragraph), ``row`` (of a table), ``line`` (any other, such as a
            heading), ``fence`` or ``code`` (an indented block).
        begin, end: the positions in the source.
        prefixes: what precedes the content in each line: quote and list markers, and blanks.
        content: the text or the code, without the prefixes.
        info: what follows the opening marks of a fence.
        excess: the columns by which code is indented more deeply than a fence may be.
    """

    kind: str
    begin: int
    end: int
    prefixes: list[str]
    content: str
    info: str = ""
    excess: int = 0


def find_blocks(source: str, masked: str) -> Iterator[Block]:
    """Split ``source`` into blocks. Together they are the whole source.

    Args:
        source: Markdown with ``\\n`` at the end of each line.
        masked: the same with ``\\0`` instead of each ``|`` that does not end a table's cell.
    """
    begins = [0, *accumulate(len(line) + 1 for line in source.split("\n"))]

    def block(kind: str, first: int, starts: list[int]) -> Block:
        lines = range(first, first + len(starts))
        prefixes = [source[begins[line]:start] for line, start in zip(lines, starts)]
        content = [source[start:begins[line + 1] - 1] for line, start in zip(lines, starts)]
        return Block(kind, begins[first], begins[lines.stop] - 1, prefixes, "\n".join(content))

    def single_lines(first: int, end: int) -> Iterator[Block]:
        for line in range(first, end):
            yield block("row" if line in rows else "line", line, [begins[line]])

    tokens: list[Token] = []
    _PARSER.block.parse(masked, _PARSER, {}, tokens)
    rows: set[int] = set()
    next_line = 0
    for token in tokens:
        first, end = token.map or (0, 0)
        if token.type == "table_open":
            rows.update(range(first, end))
        elif "starts" in token.meta:
            yield from single_lines(next_line, first)
            found = block(token.meta["kind"], first, token.meta["starts"])
            if found.kind != "text":
                found.content = token.content.replace("\0", "|")
                found.info, found.excess = token.info, token.meta["excess"]
            yield found
            next_line = end
    yield from single_lines(next_line, len(begins) - 1)


_Rule = Callable[[StateBlock, int, int, bool], bool]


def _located(kind: str, rule: _Rule) -> _Rule:
    """Return the rule, with the start of the text in each line added to its token."""

    def located(state: StateBlock, first: int, end: int, silent: bool) -> bool:
        columns = state.sCount[first] - state.blkIndent
        if not rule(state, first, end, silent):
            return False
        if not silent:
            lines = range(first, state.line)
            starts = [state.bMarks[line] + state.tShift[line] for line in lines]
            excess = columns if kind == "code" else max(0, columns - 3)
            token = state.tokens[-1]
            token.map = [first, state.line]
            token.meta = {"kind": kind, "starts": starts, "excess": excess}
        return True

    return located


def _fence(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Apply markdown-it's rule at any depth: models indent fences by more than three columns."""
    indent = state.blkIndent
    state.blkIndent = max(indent, state.sCount[first] - 3)
    try:
        return fence(state, first, end, silent)
    finally:
        state.blkIndent = indent


def _paragraph(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Apply markdown-it's rule, and keep each display formula in one paragraph.

    In a formula, ``+ b`` does not begin a list, and an empty line does not end the paragraph.
    """
    rules = state.md.block.ruler.getRules("paragraph")
    parent, state.parentType = state.parentType, "paragraph"
    line = _formula_end(state, first)
    while line < state.lineMax and not state.isEmpty(line):
        is_lazy = state.sCount[line] < 0  # a quote's line without >, which its rule has looked at
        if not is_lazy and any(rule(state, line, state.lineMax, True) for rule in rules):
            break
        line = _formula_end(state, line)
    state.line, state.parentType = line, parent
    state.push("paragraph", "p", 0)
    return True


def _formula_end(state: StateBlock, line: int) -> int:
    """Return the line behind this one, or behind the display formulas that begin in it."""
    position = state.bMarks[line] + state.tShift[line]
    while match := _OPENER.search(state.src, position, state.eMarks[line]):
        position = match.end()
        opener = match["opener"]
        if not opener:
            continue
        closer = {"$$": "$$", r"\[": r"\]"}.get(opener) or r"\end" + match["name"]
        end = state.src.find(closer, position, position + MAX_FORMULA)
        closing_line = bisect_left(state.eMarks, end)
        if end > 0 and closing_line < state.lineMax and "`" not in state.src[position:end]:
            line, position = closing_line, end + len(closer)
    return line + 1


_PARSER = MarkdownIt("commonmark").enable("table")
# HTML and definitions of links are shown as text. An underline below a heading may stay as it is.
_PARSER.disable(["html_block", "reference", "lheading", "fence"])
_PARSER.block.ruler.before(
    "code", "deep fence", _located("fence", _fence), {"alt": ["paragraph", "blockquote", "list"]})
_PARSER.block.ruler.at("code", _located("code", code))
_PARSER.block.ruler.at("paragraph", _located("text", _paragraph))
