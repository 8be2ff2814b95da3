"""What reaches a terminal of a text that others have written."""

import sys
import unicodedata

from qvq_wrapper import ResponseError
from qvq_wrapper.printable import printable


def test_no_character_steers_a_terminal():
    """Each character of Unicode, by its class: what stays in a line can be encoded, too."""
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        steers = (
            unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
            or unicodedata.bidirectional(character) in (
                "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
        assert printable(character) in (["", " ", "?"] if steers else [character])


def test_a_message_has_one_line_and_an_answer_keeps_its_lines():
    for text, line, answer in [
            ("a\r\nb\tc", "a b c", "a\nb\tc"), ("10 %\r20 %", "10 % 20 %", "10 % 20 %"),
            ("\x1b]0;title\x07\x9b1m", "]0;title1m", "]0;title1m"), ("a\u2028b", "a b", "a b"),
            ("\u202egnp.exe\u2069", "gnp.exe", "gnp.exe"), ("\ud83d", "?", "?"),
            ("می\u200cخواهم 👩\u200d🔬 e\u0301", *["می\u200cخواهم 👩\u200d🔬 e\u0301"] * 2)]:
        assert printable(text) == line and printable(text, "\n\t") == answer
    assert str(ResponseError("a\n\x1b[31mb")) == "a [31mb"
