"""How a picture goes to the model: as a data URI, upright, and not too large."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps

from ..errors import MediaError
from ..question.pixels import with_8_bits

# Not all that Pillow knows: for EPS it runs another program, and an icon's header can be wrong.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MAX_DECODED = 50_000_000
"""Pixels of the largest picture that is decoded. A camera's 48 megapixels are less."""
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}  # all that llama.cpp surely reads


@contextmanager
def open_picture(file: str | Path | BinaryIO) -> Iterator[Image.Image]:
    """Open a picture and read its header alone. It is closed at the end of the block.

    Raises:
        MediaError: it is in no common format, or has more than ``MAX_DECODED`` pixels, or reading
            it fails, also within the block. The message holds no path.
    """
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_DECODED:
                raise Image.DecompressionBombError
            yield image
    except Image.DecompressionBombError:
        raise MediaError(
            f"The picture has more than {MAX_DECODED:,} pixels. Send a smaller one.") from None
    except MediaError:
        raise
    except Exception as error:  # Pillow's readers of broken files raise all kinds
        raise MediaError(f"The picture cannot be read ({type(error).__name__}).") from None


def data_uri(path: str, max_pixels: int) -> str:
    """Return a picture file as a data URI (RFC 2397).

    A PNG or JPEG that is upright and has ``max_pixels`` at most is sent as it is. Any other
    picture is sent as a PNG, a JPEG as a JPEG.

    Raises:
        MediaError: as ``open_picture``.
    """
    with open_picture(path) as image:
        kind = image.format or ""
        is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        if kind in _TYPES and is_upright and image.width * image.height <= max_pixels:
            data = Path(path).read_bytes()
        else:
            kind = "JPEG" if kind == "JPEG" else "PNG"
            data = _convert(image, max_pixels, kind)
    return f"data:{_TYPES[kind]};base64,{base64.b64encode(data).decode()}"


def _convert(image: Image.Image, max_pixels: int, kind: str) -> bytes:
    image = with_8_bits(image)
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    scale = math.sqrt(max_pixels / (image.width * image.height))
    if scale < 1:
        image.thumbnail((max(1, int(image.width * scale)), max(1, int(image.height * scale))))
    buffer = io.BytesIO()
    ImageOps.exif_transpose(image).save(buffer, kind, quality=95)
    return buffer.getvalue()
