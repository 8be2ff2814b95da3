"""Recognises pictures by their first bytes, and decodes ``data:`` URIs."""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from ..errors import MediaError

# PNG to BMP follow https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern, with BMP's
# reserved zeros added. TIFF follows section 2 of TIFF 6.0. AVIF and HEIC are brands in a file type
# box (ISO/IEC 14496-12).
_PICTURES = (  # name, file suffixes, pattern of the first bytes
    ("PNG", (".png", ".apng"), rb"\x89PNG\r\n\x1a\n"),
    ("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), rb"\xff\xd8\xff"),
    ("GIF", (".gif",), rb"GIF8[79]a"),
    ("WebP", (".webp",), rb"RIFF....WEBP"),
    ("BMP", (".bmp", ".dib"), rb"BM....\0\0\0\0"),
    ("TIFF", (".tif", ".tiff"), rb"II\*\0|MM\0\*"),
    ("AVIF", (".avif", ".avifs"), rb"....ftypavi[fs]"),
    ("HEIC", (".heic", ".heif", ".hif"), rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)"),
)
SUFFIXES = frozenset(suffix for _, suffixes, _ in _PICTURES for suffix in suffixes)
_SUPPORTED = ", ".join(name for name, _, _ in _PICTURES)
HEAD_BYTES = 512  # the patterns above need 16; comments can stand before the <svg> below

# What people give by mistake. The order matters: pages can contain an SVG, and SVG can be XML.
# Most signatures are listed in https://en.wikipedia.org/wiki/List_of_file_signatures.
_OTHERS = (
    ("a data: URI as bytes (give it as a str)", rb"\s*data:[\w/;=+.-]*,"),
    ("a PDF", rb"%PDF-"),
    ("PostScript", rb"%!PS"),
    ("a JPEG XL file", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("a JPEG 2000 file", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("an icon", rb"\0\0[\x01\x02]\0"),
    ("a Photoshop file", rb"8BPS"),
    ("a numpy file (give numpy.load(...))", rb"\x93NUMPY"),
    ("a ZIP archive, or a document stored as one", rb"PK[\x03\x05\x07]"),
    ("a gzip archive", rb"\x1f\x8b\x08"),
    ("a video", rb"....(?:ftyp|moov|mdat)|\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]"),
    ("audio", rb"RIFF....WAVE|ID3|OggS|fLaC"),
    ("an HTML page", rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|!--.*?<html)\b"),
    ("an SVG", rb"(?:\xef\xbb\xbf)?\s*<(?:svg|[?!].*?<svg)\b"),
    ("XML", rb"(?:\xef\xbb\xbf)?\s*<\?xml\b"),
    ("a Git LFS pointer (run git lfs pull)", rb"version https://git-lfs"),
    ("text", rb"[^\0-\x08\x0e-\x1a]*\Z"),
)


def check_head(head: bytes, name: str = "") -> tuple[str, str]:
    """Return the name and the file suffix of the picture format that begins with ``head``.

    Args:
        head: the first bytes of the file: ``HEAD_BYTES``, or all of a shorter file.
        name: the file's name, or an empty string if it has none.

    Raises:
        MediaError: ``head`` is empty or begins something else. The message says what it may be.
    """
    if not head:
        raise MediaError(f"{name or 'the picture'} is empty")
    if found := _picture_format(head):
        return found
    head = head[:HEAD_BYTES]
    if text := picture_in_base64(head):
        raise MediaError(f"{name or 'the given text'} is {text}")
    kind = next((f"{kind}, " for kind, start in _OTHERS if re.match(start, head, re.S | re.I)), "")
    raise MediaError(
        f"{name or 'the given data'} is {kind}not a picture: the data starts with {head[:8]!r}. "
        f"Supported: {_SUPPORTED}")


def picture_in_base64(text: str | bytes) -> str:
    """Return what to do with ``text`` if it is a picture in base64, or else an empty string.

    Less than 24 characters can also be a path, as ``/9j/`` is.
    """
    head = text[:HEAD_BYTES]
    data = head.encode(errors="replace") if isinstance(head, str) else head
    start = data.translate(None, b"\r\n")[:64]
    with suppress(binascii.Error):
        found = _picture_format(_decode_base64(start))
        if found and len(start) >= 24:
            return (
                f"a {found[0]} in base64: give base64.b64decode(...) of it, "
                f"or put 'data:image/{found[0].lower()};base64,' in front")
    return ""


def _picture_format(head: bytes) -> tuple[str, str] | None:
    for name, suffixes, start in _PICTURES:
        if re.match(start, head, re.S):
            return name, suffixes[0]
    return None


def decode_data_uri(uri: str) -> bytes:
    """Return the data of a ``data:`` URI.

    Base64 can have the URL-safe alphabet (section 5 of RFC 4648), line breaks (section 6.8 of
    RFC 2045) and no padding. What a reader would have to guess is refused: two readers could guess
    different bytes.

    Raises:
        MediaError: the URI has no comma, invalid base64, or a character that a URI cannot have.
    """
    header, comma, body = uri.partition(",")
    if not comma:
        raise MediaError("the picture's data: URI has no comma, so it has no data")
    # https://fetch.spec.whatwg.org/#data-url-processor allows blanks before "base64".
    if re.search(r"; *base64\s*$", header, re.I):
        try:
            return _decode_base64(unquote_to_bytes(body.encode("ascii", "replace")))
        except binascii.Error:
            raise MediaError(
                "the picture's data: URI has invalid base64. If it has blanks, a form may have "
                "made them of +") from None
    body = body.replace("\r", "").replace("\n", "")
    if re.search(r"[^!-~]|#|%(?![0-9a-f]{2})", body, re.I):
        raise MediaError("the picture's data: URI has a broken %XX, or a character that needs one")
    return unquote_to_bytes(body)


def _decode_base64(data: bytes) -> bytes:
    digits = data.translate(bytes.maketrans(b"-_", b"+/"), b"\r\n")
    return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
