"""Encodes PIL images and arrays as PNG, so that what arrives is what a viewer shows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from ..errors import MediaError

if TYPE_CHECKING:
    from PIL.Image import Image

# PNG (https://www.w3.org/TR/png-3/#table111) would also take 16 bits; with_8_bits() has converted
# those.
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
_MASK = "all values of the picture are 0 or 1 (a mask? multiply by 255)"


def encode_image(image: Image) -> bytes:
    """Return a PIL image as PNG, turned as its EXIF orientation says.

    Image.open leaves the pixels as they are stored, and a viewer turns them
    (section 4.6.5 of https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E).

    Raises:
        MediaError: it is not certain how bright the values of the image are.
    """
    from PIL import ImageOps

    image = with_8_bits(ImageOps.exif_transpose(image))
    check_mask(image)
    if image.mode not in _PNG_MODES:  # CMYK, YCbCr, HSV, LAB, PA, RGBX, ...
        image = image.convert("RGBA" if image.mode in ("PA", "RGBa") else "RGB")
        image.info.pop("icc_profile", None)  # describes the colours of the former mode
    return _as_png(image)


def check_mask(image: Image) -> None:
    """Refuse a grey image with no value above 1, which would be black."""
    if image.mode == "L" and image.getextrema()[1] == 1:
        raise MediaError(_MASK)


def with_8_bits(image: Image) -> Image:
    """Return an image of 16 bits (modes I and I;16) or floats (F) in 8 bits, others as they are.

    PIL's own conversion cuts values off at 255, so that most of the picture becomes white
    (https://github.com/python-pillow/Pillow/issues/3011). 65535 divided by 257 is 255.

    Raises:
        MediaError: the image has values outside 0 to 65535, or floats outside 0 to 1.
    """
    if image.mode == "F":
        return _image_of(image)
    if not image.mode.startswith("I"):
        return image
    image = image.convert("I")
    low, high = cast("tuple[float, float]", image.getextrema())
    if low < 0 or high > 65535:
        raise MediaError(
            f"the picture's values are from {low} to {high}; in PIL's mode I they must be from 0 "
            "to 65535")
    return image.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def check_layout(shape: tuple[int, ...], typestr: str) -> None:
    """Check the fields of ``__array_interface__`` with these names.

    Raises:
        MediaError: the array is empty, or has the shape or the type of something else.
    """
    if 0 in shape:
        raise MediaError("the picture is an empty array")
    if typestr[1] not in "buif":
        raise MediaError(
            f"an array of type {typestr!r} is not a picture; give integers, floats or bool")
    if len(shape) == 2 or len(shape) == 3 and shape[2] in (1, 3, 4):
        return
    advice = ""
    if len(shape) == 1:
        advice = "; for an encoded file, as cv2.imencode returns it, give array.tobytes()"
    elif len(shape) == 3 and shape[0] in (1, 3, 4):
        advice = "; give numpy.moveaxis(array, 0, -1), or tensor.permute(1, 2, 0)"
    elif len(shape) == 4:
        advice = "; of several pictures give one, for example array[0]"
    raise MediaError(
        f"the array's shape is {shape}, not (h, w), (h, w, 1), (h, w, 3) or (h, w, 4){advice}")


def check_values(pixels: Any) -> None:
    """Check the smallest and the largest value of an array.

    Floats are from 0 to 1, as matplotlib has them
    (https://matplotlib.org/stable/api/_as_gen/matplotlib.pyplot.imshow.html). Resizing with a cubic
    filter can go past the ends by some 0.1 (https://en.wikipedia.org/wiki/Mach_bands).

    Raises:
        MediaError: it is not certain how bright the values are.
    """
    low, high, kind = pixels.min(), pixels.max(), pixels.dtype.kind
    if kind == "f":
        if not -float("inf") < low <= high < float("inf"):  # False for NaN, which min() returns
            raise MediaError("the picture contains NaN or infinity")
        if low < -0.25 or high > 1.25:
            raise MediaError(
                f"the picture's floats are from {low:g} to {high:g}, and must be from 0 to 1; "
                "divide by 255, or astype('uint8'), or for PIL convert('L')")
    elif kind in "iu":
        if low >= 0 and high == 1:
            raise MediaError(_MASK)
        if low < 0 or high > (65535 if pixels.dtype.str[1:] == "u2" else 255):
            raise MediaError(
                f"the array's values are from {low} to {high}; integers must be from 0 to 255, or "
                "of type uint16, from 0 to 65535")


def encode_array(array: Any) -> bytes:
    """Return an array as PNG. Any object that ``numpy.asarray`` reads is an array.

    Raises:
        MediaError: numpy or Pillow is missing, or ``check_layout`` or ``check_values`` raises it.
    """
    return _as_png(_image_of(array))


def _image_of(array: Any) -> Image:
    try:
        import numpy
        from PIL import Image
    except ImportError:
        raise MediaError("a picture given as an array needs: pip install pillow numpy") from None
    pixels = numpy.asarray(array)
    check_layout(pixels.shape, pixels.dtype.str)
    check_values(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "b":
        pixels = pixels * 255
    elif pixels.dtype.kind == "f":
        pixels = (pixels.clip(0, 1) * 255).round()  # clipped as imshow does it
    elif pixels.dtype.str[1:] == "u2":
        pixels = (pixels.astype("uint32") + 128) // 257
    return Image.fromarray(pixels.astype("uint8"))


def _as_png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # as PIL does for notebooks, for speed
    return buffer.getvalue()
