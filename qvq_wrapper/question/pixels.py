"""Encodes a picture that is an object: an image, an array, a figure.

What arrives is what a viewer or a notebook shows.
"""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from ..errors import MediaError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_CHECKED = 2**24  # values of an array that are looked at by the call itself: some 10 ms

# PNG (https://www.w3.org/TR/png-3/#table111) would also take 16 bits; with_8_bits() has converted
# those.
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}


def find_encoder(source: Any) -> Callable[[], bytes] | None:
    """Return a function that encodes ``source`` as a file, or None if ``source`` is not a picture.

    Recognised are PIL images, objects with ``savefig`` as matplotlib's figures have it, objects
    that notebooks show as PNG or JPEG
    (https://ipython.readthedocs.io/en/stable/config/integrating.html), and arrays
    (https://numpy.org/doc/stable/user/basics.interoperability.html), tensors among them.

    Raises:
        MediaError: the picture has no pixels, or is an array of a shape or with values that
            pictures do not have.
        TypeError: ``source`` is a module, as ``matplotlib.pyplot`` is.
    """
    if isinstance(source, ModuleType):  # pyplot has savefig, and makes an empty figure for it
        raise TypeError("a picture cannot be a module; for pyplot's current figure give plt.gcf()")
    pil = sys.modules.get("PIL.Image")  # imported, if there is an image
    if pil and isinstance(source, pil.Image):
        if 0 in source.size:
            raise MediaError("the picture has no pixels")
        if not hasattr(source, "fp"):  # an image of a file may not be decoded yet
            _check_grey(source)
        return lambda: _encode_image(source)
    if hasattr(source, "savefig"):
        return lambda: _encode_figure(source)
    if hasattr(source, "_repr_png_") or hasattr(source, "_repr_jpeg_"):
        return lambda: _encode_repr(source)
    numpy = sys.modules.get("numpy")  # imported, if there is an array
    if numpy and isinstance(source, numpy.ndarray):
        _check_layout(source)
        if source.size <= MAX_CHECKED:
            _check_values(source)
    if hasattr(source, "__array__") or hasattr(source, "__array_interface__"):
        # Not read yet: a tensor may have to come from a GPU.
        return lambda: _as_png(_image_of(source))
    figure = getattr(source, "figure", None)  # of an Axes; it can be a SubFigure, which has one too
    return None if figure is None or figure is source else find_encoder(figure)


def _encode_figure(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # Notebooks use "tight" too: a legend outside the axes is not cut off
    # (https://ipython.readthedocs.io/en/stable/api/generated/IPython.core.pylabtools.html).
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def _encode_repr(source: Any) -> bytes:
    for method in ("_repr_png_", "_repr_jpeg_"):
        data = getattr(source, method, lambda: None)()
        data = data[0] if isinstance(data, tuple) else data  # some return (data, metadata)
        if isinstance(data, str):  # IPython.display.Image returns base64
            data = base64.b64decode(data)
        if data:
            return bytes(data)
    kind = type(source).__name__
    raise MediaError(f"the {kind} gives neither PNG nor JPEG; convert it first, for example to RGB")


def _encode_image(image: Image) -> bytes:
    """Return a PIL image as PNG, turned as its EXIF orientation says.

    Image.open leaves the pixels as they are stored, and a viewer turns them
    (section 4.6.5 of https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E).
    """
    from PIL import ImageOps

    image = with_8_bits(ImageOps.exif_transpose(image))
    _check_grey(image)
    if image.mode not in _PNG_MODES:  # CMYK, YCbCr, HSV, LAB, PA, RGBX, ...
        image = image.convert("RGBA" if image.mode in ("PA", "RGBa") else "RGB")
        image.info.pop("icc_profile", None)  # describes the colours of the former mode
    return _as_png(image)


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
    _check_grey(image)
    return image.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _check_grey(image: Image) -> None:
    if image.mode in ("L", "I"):
        low, high = cast("tuple[float, float]", image.getextrema())
        _check_integers(low, high, 255 if image.mode == "L" else 65535)


def _check_layout(pixels: Any) -> None:
    """Refuse an array that is empty, or has the shape or the type of something else."""
    shape, kind = pixels.shape, pixels.dtype
    if kind.kind not in "buif":
        raise MediaError(f"an array of type {kind} is not a picture; give integers, floats or bool")
    if 0 in shape:
        raise MediaError("the picture is an empty array")
    if len(shape) == 2 or len(shape) == 3 and shape[2] in (1, 3, 4):
        return
    raise MediaError(
        f"the array's shape is {shape}, not (h, w), (h, w, 1), (h, w, 3) or (h, w, 4). Where the "
        "channels come first, give numpy.moveaxis(array, 0, -1) or tensor.permute(1, 2, 0); of "
        "several pictures, array[0]; of an encoded file, array.tobytes()")


def _check_values(pixels: Any) -> None:
    """Check the smallest and the largest value of an array.

    Floats are from 0 to 1, as matplotlib has them
    (https://matplotlib.org/stable/api/_as_gen/matplotlib.pyplot.imshow.html). Resizing with a cubic
    filter can go past the ends by some 0.1 (https://en.wikipedia.org/wiki/Mach_bands).

    Raises:
        MediaError: it is not certain how bright the values are.
    """
    low, high, kind = pixels.min(), pixels.max(), pixels.dtype.kind
    if kind in "iu":
        _check_integers(low, high, 65535 if pixels.dtype.str[1:] == "u2" else 255)
    elif kind == "f" and not -float("inf") < low <= high < float("inf"):  # False for NaN
        raise MediaError("the picture contains NaN or infinity")
    elif kind == "f" and (low < -0.25 or high > 1.25):
        raise MediaError(
            f"the picture's floats are from {low:g} to {high:g}, and must be from 0 to 1; "
            "divide by 255, or astype('uint8'), or for PIL convert('L')")


def _check_integers(low: float, high: float, largest: int) -> None:
    if low < 0 or high > largest:
        raise MediaError(
            f"the picture's values are from {low} to {high}; integers must be from 0 to 255, or "
            "of type uint16 (in PIL: mode I), from 0 to 65535")
    if high == 1:
        raise MediaError("all values of the picture are 0 or 1 (a mask? multiply by 255)")


def _image_of(array: Any) -> Image:
    """Return an image of an array, which is any object that ``numpy.asarray`` reads.

    Raises:
        MediaError: numpy or Pillow is missing, or this is not an array of a picture.
    """
    try:
        import numpy
        from PIL import Image
    except ImportError:
        raise MediaError("a picture given as an array needs: pip install pillow numpy") from None
    pixels = numpy.asarray(array)
    _check_layout(pixels)
    _check_values(pixels)
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
