"""A thumbnail shows the picture as a viewer does, and is made only of what fits into memory."""

import io
import struct
import zlib

import numpy
import pytest
from conftest import PNG
from PIL import Image
from test_encode import RAMP

from qvq_wrapper import MediaError
from qvq_wrapper.notebook.thumbnail import thumbnail
from qvq_wrapper.question.media import picture_of


def shown(picture):
    kind, data = thumbnail(picture_of(picture))
    image = Image.open(io.BytesIO(data))
    assert image.format.lower() == kind
    return image


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_thumbnail_of_each_format():
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"):
        image = shown(encoded(Image.linear_gradient("L").resize((960, 960)), kind))
        assert image.size == (240, 240), kind
        assert image.convert("L").getpixel((9, 120)) in range(118, 138), kind
    picture = Image.new("RGBA", (2, 2), (255, 0, 0, 0))  # transparency is kept
    for kind in ("PNG", "GIF", "WEBP"):
        assert shown(encoded(picture, kind)).convert("RGBA").getpixel((1, 1))[3] == 0


def test_a_turned_picture():
    """Pillow turns it, in each of the eight ways."""
    exif, rows = Image.Exif(), numpy.zeros((600, 1000), "uint8")
    rows[:300, :500] = 255  # the corner at the top left is white
    exif[0x112] = 6
    image = shown(encoded(Image.fromarray(rows), "PNG", exif=exif))
    assert image.size == (144, 240)
    whole = Image.fromarray(numpy.ascontiguousarray(numpy.rot90(rows, -1))).resize(image.size)
    difference = numpy.asarray(image.convert("L")).astype(int) - whole
    assert numpy.abs(difference).mean() < 2


def test_16_bits():
    for kind in ("PNG", "TIFF"):
        image = shown(encoded(Image.fromarray(RAMP.astype("uint16")), kind))
        assert 126 < numpy.asarray(image.convert("L")).mean() < 129, kind


def test_a_picture_with_too_many_pixels_is_not_decoded(recwarn):
    """Pillow would warn on the screen, and decode 169 million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 13_000, 13_000, 8, 0, 0, 0, 0)
    large = PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]
    with pytest.raises(MediaError, match="50,000,000 pixels at most"):
        thumbnail(picture_of(large))
    assert not recwarn.list
