"""Data that is not a picture is named for what it seems to be, and base64 is never guessed."""

import base64
import io

import pytest
from cases import each
from conftest import PNG
from hypothesis import given, settings
from hypothesis.strategies import binary, characters, data, integers, text
from PIL import Image

from qvq_wrapper import MediaError
from qvq_wrapper.question.formats import HEAD_BYTES, SUFFIXES, check_head, decode_data_uri


def test_pictures():
    for case, (name, suffix) in each({
        "PNG": ".png", "JPEG": ".jpg", "GIF": ".gif", "WebP": ".webp", "BMP": ".bmp",
        "TIFF": ".tif", "AVIF": ".avif",
    }.items()):
        with case:
            buffer = io.BytesIO()
            Image.linear_gradient("L").save(buffer, name.upper())
            assert check_head(buffer.getvalue()[:HEAD_BYTES]) == (name, suffix)
    for case, (head, name) in each([  # Pillow does not write these
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"), (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavis\0\0\0\0", "AVIF"), (b"GIF89a", "GIF"), (b"MM\0*", "TIFF"),
    ]):
        with case:
            assert check_head(head)[0] == name


def test_other_files():
    for case, (head, kind) in each([
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"), (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- made by hand -->\n<svg>", "an SVG"),
        (b"<!DOCTYPE html><title>404</title><svg>", "an HTML page"),
        (b"<?xml version='1.0'?><Error>", "XML"), (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"), (b"8BPS\0\1", "a Photoshop file"),
        (b"\0\0\0\x20ftypisom\0\0", "a video"), (b"RIFF\0\0\0\0WAVEfmt ", "audio"),
        (b"\x93NUMPY\1\0", r"a numpy file \(give numpy\.load"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer .run git lfs pull"),
        (b"data:image/png;base64,iVBORw0KGgo", "a data: URI as bytes .give it as a str"),
        ("{\"error\": \"é\"}".encode(), "text"),
    ]):
        message = rf"^x\.bin is {kind}.*, not a picture: the data starts"
        with case, pytest.raises(MediaError, match=message):
            check_head(head, "x.bin")
    for case, head in each([b"\0\1\2\3", b"\xff\xfe<\0h\0", b"BM12345678"[:6] + b"\1\2\3\4"]):
        message = "^the given data is not a picture: the data starts with"
        with case, pytest.raises(MediaError, match=message):
            check_head(head)
    with pytest.raises(MediaError, match="^x.png is empty$"):
        check_head(b"", "x.png")


def test_every_suffix_that_pillow_writes_is_known():
    supported = {"PNG", "JPEG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF"}
    written = {suffix for suffix, name in Image.registered_extensions().items()
               if name in supported}
    assert written <= SUFFIXES and {".heic", ".heif", ".hif"} <= SUFFIXES


BYTES = bytes(range(256)) + b"\xfb\xff\xfe\xff"  # has + and / in base64, and needs padding
BASE64 = base64.b64encode(BYTES).decode()
LINES = base64.encodebytes(BYTES).decode()


def test_a_picture_in_base64():
    encoded = base64.b64encode(PNG)
    for form in (encoded.rstrip(b"="), base64.urlsafe_b64encode(PNG), base64.encodebytes(PNG)):
        with pytest.raises(MediaError, match="x.txt is a PNG in base64: give base64.b64decode"):
            check_head(form, "x.txt")
    with pytest.raises(MediaError, match="x.txt is text"):
        check_head(encoded[:20], "x.txt")


def test_a_data_uri():
    for case, uri in each([
        f"DATA:image/png;charset=x;BASE64,{BASE64}",
        f"data:image/png; base64,{BASE64.rstrip('=')}",
        f"data:image/png;base64,{LINES}",
        "data:;base64," + LINES.replace("\n", "\r\n").rstrip("=\r\n"),
        f"data:;base64,{base64.urlsafe_b64encode(BYTES).decode()}",
        "data:;base64," + BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3d"),
        "data:image/png," + "".join(f"%{byte:02x}" for byte in BYTES),
        "data:," + "".join(f"%{byte:02X}\r\n" for byte in BYTES),
    ]):
        with case:
            assert decode_data_uri(uri) == BYTES


def test_what_a_reader_of_a_data_uri_would_have_to_guess_is_refused():
    for case, (uri, message) in each([
        ("data:;base64," + BASE64.replace("+", " "), "invalid base64.*a form may have made them"),
        (f"data:;base64,{BASE64} ", "invalid base64"),
        (f"data:;base64,{BASE64}#x", "invalid base64"),
        ("data:;base64,QQ==QQ==", "invalid base64"),
        ("data:;base64,QUJDR", "invalid base64"), ("data:;base64,\xe9", "invalid base64"),
        ("data:image/png,%89PNG%zz", "broken %XX"),
        ("data:image/png,%89 PNG", "a character that needs one"),
        ("data:image/png,%89PNG#", "a character that needs one"),
        ("data:image/png,\ud800", "a character that needs one"),
    ]):
        with case, pytest.raises(MediaError, match=message):
            decode_data_uri(uri)


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
