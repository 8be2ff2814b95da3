"""data: URIs give exactly the bytes that were put in, or are refused."""

import base64

import pytest
from cases import each
from hypothesis import given, settings
from hypothesis.strategies import binary, characters, data, integers, text

from qvq_wrapper import MediaError
from qvq_wrapper.question.datauri import decode_data_uri

BYTES = bytes(range(256)) + b"\xfb\xff\xfe\xff"  # has + and / in base64, and needs padding
BASE64 = base64.b64encode(BYTES).decode()


def test_accepted_forms():
    for case, uri in each([
        f"data:image/png;base64,{BASE64}",
        f"data:;base64,{BASE64}",
        f"DATA:image/png;charset=x;BASE64,{BASE64}",
        f"data:image/png; base64,{BASE64}",
        f"data:image/png;base64,{BASE64.rstrip('=')}",
        f"data:image/png;base64,{base64.encodebytes(BYTES).decode()}",
        "data:;base64," + base64.encodebytes(BYTES).decode().replace("\n", "\r\n").rstrip("=\r\n"),
        f"data:;base64,{base64.urlsafe_b64encode(BYTES).decode()}",
        "data:;base64," + BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3d"),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in BYTES),
        "data:," + "".join(f"%{byte:02X}\r\n" for byte in BYTES),
    ]):
        with case:
            assert decode_data_uri(uri) == BYTES


def test_other_forms_are_refused():
    for case, (uri, message) in each([
        ("data:image/png;base64", "no comma"),
        ("data:;base64," + BASE64.replace("+", " "), "a form may have made of +"),
        (f"data:;base64,{BASE64} ", "invalid base64"),
        (f"data:;base64,{BASE64[:8]}\t{BASE64[8:]}", "invalid base64"),
        (f"data:;base64,{BASE64}#x", "invalid base64"),
        ("data:;base64,QQ==QQ==", "invalid base64"),
        ("data:;base64,QUJDR", "invalid base64"),
        ("data:;base64,QQ%", "invalid base64"),
        ("data:;base64,\xe9", "not ASCII"),
        ("data:image/png,\ud800", "not ASCII"),
        ("data:image/png,%89PNG%zz", "broken %XX"),
        ("data:image/png,%89 PNG", "a character that needs one"),
        ("data:image/png,%89PNG#", "a character that needs one"),
    ]):
        with case:
            with pytest.raises(MediaError, match=message) as caught:
                decode_data_uri(uri)
            assert len(str(caught.value)) < 150


@given(data(), binary(min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_damaged_base64_never_gives_other_bytes(choose, original):
    """Only a character of the alphabet in place of another one cannot be noticed."""
    encoded = base64.b64encode(original).decode()
    place = choose.draw(integers(0, len(encoded)))
    noise = choose.draw(text(characters(exclude_characters="=-_+/", exclude_categories=["L", "N"]),
                             min_size=1, max_size=3))
    try:
        decoded = decode_data_uri(f"data:;base64,{encoded[:place]}{noise}{encoded[place:]}")
    except MediaError:
        return
    assert decoded == original and not noise.strip("\r\n")
