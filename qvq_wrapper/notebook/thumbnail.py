"""Makes the small copy of a picture that a notebook displays beside the answer."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from ..errors import MediaError
from ..question.formats import check_head
from ..question.media import Picture
from ..question.pixels import with_8_bits

MAX_PIXELS = 50_000_000  # a phone's largest pictures; a PNG of that size takes 400 MB for a second


def thumbnail(picture: Picture) -> tuple[str, bytes]:
    """Return the format and the bytes of a thumbnail.

    It has at most 480 by 240 pixels, twice the displayed size, for screens with a high density.

    Raises:
        MediaError: the picture has more than ``MAX_PIXELS`` pixels, or cannot be read.
        Exception: Pillow cannot decode it.
    """
    data = picture.read()
    name, _ = check_head(data)
    Image.init()
    # Image.open would print a DecompressionBombWarning for a large picture. Filters for warnings
    # are shared by all threads, so that this thread must not change them.
    open_format = Image.OPEN[name.upper()][0]
    image = open_format(io.BytesIO(data), "")
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(f"a thumbnail is made of {MAX_PIXELS:,} pixels at most")
    image.draft("RGB", (480, 480))  # decodes a large JPEG at a reduced size
    small = with_8_bits(image)
    small.thumbnail((480, 480))  # before the next steps, which copy every pixel
    small = ImageOps.exif_transpose(small)
    small.thumbnail((480, 240))
    kind, mode = ("png", "RGBA") if small.has_transparency_data else ("jpeg", "RGB")
    buffer = io.BytesIO()
    small.convert(mode).save(buffer, kind)
    return kind, buffer.getvalue()
