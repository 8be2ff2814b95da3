"""How a picture goes to the model: as a data URI, upright, and not too large."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from ..question.pixels import with_8_bits

_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg"}  # all that llama.cpp surely reads


def data_uri(path: str, max_pixels: int) -> str:
    """Return a picture file as a data URI (RFC 2397).

    A PNG or JPEG that is upright and has ``max_pixels`` at most is sent as it is. Any other
    picture is sent as a PNG, a JPEG as a JPEG.

    Raises:
        OSError: the file is not a picture, or the picture is damaged. Pillow can also raise others.
    """
    with Image.open(path) as image:
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
