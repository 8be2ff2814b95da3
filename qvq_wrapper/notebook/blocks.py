"""Splits Markdown into the blocks that a parser finds, and says where each is in the source."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
        source: its lines.
        prefixes: what precedes the content in each line: quote and list markers, and blanks.
        content: the text or the code, without the prefixes.
        info: what follows the opening marks of a fence.
        excess: the columns by which code is indented more deeply than a fence may be.
    """

    kind: str
    source: str
    prefixes: list[str]
    content: str
    info: str = ""
    excess: int = 0


def find_blocks(masked: str) -> Iterator[Block]:
    """Split Markdown into blocks. Together they are the whole source.

    Args:
        masked: the source with ``\\0`` instead of each ``|`` that does not end a table's cell, and
            with ``\\n`` at the end of each line.
    """
    tokens: list[Token] = []
    found: dict[int, Block] = {}
    _PARSER.block.parse(masked, _PARSER, {"blocks": found}, tokens)
    tables = [token.map for token in tokens if token.type == "table_open" and token.map]
    rows = {line for first, end in tables for line in range(first, end)}
    lines = masked.replace("\0", "|").split("\n")
    line = 0
    while line < len(lines):
        kind = "row" if line in rows else "line"
        block = found.get(line) or Block(kind, lines[line], [""], lines[line])
        yield block
        line += len(block.prefixes)


_Rule = Callable[[StateBlock, int, int, bool], bool]


def _noted(kind: str, rule: _Rule) -> _Rule:
    """Return the rule, which then also notes each block, by its first line."""

    def noted(state: StateBlock, first: int, end: int, silent: bool) -> bool:
        columns = state.sCount[first] - state.blkIndent
        if not rule(state, first, end, silent):
            return False
        if not silent:
            starts = [state.bMarks[line] + state.tShift[line] for line in range(first, state.line)]
            begins = [state.src.rfind("\n", 0, start) + 1 for start in starts]
            ends = state.eMarks[first:state.line]
            prefixes = [state.src[begin:start] for begin, start in zip(begins, starts)]
            content = "\n".join(state.src[start:end] for start, end in zip(starts, ends))
            token = state.tokens[-1]
            state.env["blocks"][first] = Block(
                kind, state.src[begins[0]:ends[-1]].replace("\0", "|"), prefixes,
                (content if kind == "text" else token.content).replace("\0", "|"),
                token.info, columns if kind == "code" else max(0, columns - 3))
        return True

    return noted


def _fence(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """Apply markdown-it's rule at any depth: models indent fences by more than three columns."""
    indent = state.blkIndent
    state.blkIndent = max(indent, state.sCount[first] - 3)
    found = fence(state, first, end, silent)
    state.blkIndent = indent
    return found


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
    "code", "deep fence", _noted("fence", _fence), {"alt": ["paragraph", "blockquote", "list"]})
_PARSER.block.ruler.at("code", _noted("code", code))
_PARSER.block.ruler.at("paragraph", _noted("text", _paragraph))
