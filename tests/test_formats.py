"""A file that is not a picture is named for what it seems to be."""

import base64
import io

import pytest
from cases import each
from conftest import PNG
from PIL import Image

from qvq_wrapper import MediaError
from qvq_wrapper.question.formats import HEAD_BYTES, SUFFIXES, check_head


def test_pictures():
    for case, (name, suffix, extra) in each([
        ("PNG", ".png", {}), ("JPEG", ".jpg", {}), ("GIF", ".gif", {}), ("WebP", ".webp", {}),
        ("BMP", ".bmp", {}), ("TIFF", ".tif", {}), ("TIFF", ".tif", {"big_tiff": False}),
        ("AVIF", ".avif", {}),
    ]):
        with case:
            buffer = io.BytesIO()
            Image.linear_gradient("L").save(buffer, name.upper(), **extra)
            assert check_head(buffer.getvalue()[:HEAD_BYTES]) == (name, suffix)
    for case, (head, found) in each([  # Pillow does not write these
        (b"\0\0\0\x18ftypheic\0\0\0\0", ("HEIC", ".heic")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", ("HEIC", ".heic")),
        (b"\0\0\0\x18ftypavis\0\0\0\0", ("AVIF", ".avif")),
        (b"GIF89a", ("GIF", ".gif")), (b"MM\0*", ("TIFF", ".tif")),
    ]):
        with case:
            assert check_head(head) == found


def test_other_files():
    for case, (head, kind) in each([
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- made by hand -->\n<svg>", "an SVG"),
        (b"<!DOCTYPE html><title>404</title><svg>", "an HTML page"),
        (b"<?xml version='1.0'?><Error>", "XML"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"\0\0\0\x20ftypisom\0\0", "a video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
        (b"\0\0\1\0\1\0", "an icon"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"\x93NUMPY\1\0", r"a numpy file \(give numpy\.load"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer .run git lfs pull"),
        (b"data:image/png;base64,iVBORw0KGgo", "a data: URI as bytes .give it as a str"),
        (b"{\"error\": 1}", "text"),
        ("é".encode() * HEAD_BYTES + b"x" * HEAD_BYTES, "text"),
    ]):
        message = rf"^x\.bin is {kind}.*, not a picture: the data starts"
        with case, pytest.raises(MediaError, match=message):
            check_head(head, "x.bin")


def test_unknown_and_empty_files():
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


def test_a_picture_in_base64():
    for case, encode in each([
        base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes,
        lambda data: base64.b64encode(data).rstrip(b"="),
    ]):
        message = "x.txt is a PNG in base64: give base64.b64decode"
        with case, pytest.raises(MediaError, match=message):
            check_head(encode(PNG), "x.txt")
