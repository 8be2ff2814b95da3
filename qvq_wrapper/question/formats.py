"""Tells what a file is by its first bytes: a supported picture, or something else with a name."""

from __future__ import annotations

import base64
import codecs
import re

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
    check_base64(head.decode("latin-1"), name)
    kind = _describe(head)
    kind = f"{kind}, not a picture" if kind else "not a picture"
    raise MediaError(
        f"{name or 'the given data'} is {kind}: the data starts with {head[:8]!r}. "
        f"Supported: {_SUPPORTED}")


def check_base64(text: str, name: str = "") -> None:
    """Raise MediaError if ``text``, of a file with this name, is a picture in base64."""
    if found := format_in_base64(text):
        raise MediaError(
            f"{name or 'the given text'} is a {found} in base64: give base64.b64decode(...) of it, "
            f"or put 'data:image/{found.lower()};base64,' in front")


def format_in_base64(text: str) -> str | None:
    """Return the name of the picture format that ``text`` holds in base64, or None."""
    start = re.sub(r"[\r\n]", "", text[:HEAD_BYTES])[:64]
    if len(start) < 24 or not re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", start):
        return None
    whole = start[:len(start) // 4 * 4].translate(str.maketrans("-_", "+/"))
    found = _picture_format(base64.b64decode(whole))
    return found and found[0]


def _picture_format(head: bytes) -> tuple[str, str] | None:
    for name, suffixes, start in _PICTURES:
        if re.match(start, head, re.S):
            return name, suffixes[0]
    return None


def _describe(head: bytes) -> str:
    """Return what ``head`` seems to begin, or an empty string if that is not known."""
    for kind, start in _OTHERS:
        if re.match(start, head, re.S | re.I):
            return kind
    try:  # the incremental decoder allows that the head ends inside a character
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return ""
    return "" if re.search("[\0-\x08\x0e-\x1a]", text) else "text"
