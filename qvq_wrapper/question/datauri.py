"""Decodes ``data:`` URIs (https://www.rfc-editor.org/rfc/rfc2397)."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from ..errors import MediaError

_URL_SAFE = bytes.maketrans(b"-_", b"+/")


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
    if not body.isascii():
        raise MediaError("the picture's data: URI has a character that is not ASCII")
    # https://fetch.spec.whatwg.org/#data-url-processor allows blanks before "base64".
    if re.search(r"; *base64\s*$", header, re.I):
        return _decode_base64(unquote_to_bytes(body))
    body = body.replace("\r", "").replace("\n", "")
    if re.search(r"[\0- #\x7f]|%(?![0-9a-f]{2})", body, re.I):
        raise MediaError("the picture's data: URI has a broken %XX, or a character that needs one")
    return unquote_to_bytes(body)


def _decode_base64(data: bytes) -> bytes:
    digits = data.translate(_URL_SAFE, b"\r\n")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except binascii.Error:
        hint = "; it has blanks, which a form may have made of +" if b" " in data else ""
        raise MediaError(f"the picture's data: URI has invalid base64{hint}") from None
