"""Encodes a picture that is an object (an array, a PIL image, a figure) as a PNG or JPEG file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

from ..errors import MediaError


def find_encoder(source: Any) -> Callable[[], bytes] | None:
    """Return a function that encodes ``source`` as a file, or None if ``source`` is not a picture.

    Recognised are arrays (https://numpy.org/doc/stable/reference/arrays.interface.html), objects
    with ``savefig`` as matplotlib's figures have it, and objects that notebooks show as PNG or JPEG
    (https://ipython.readthedocs.io/en/stable/config/integrating.html).

    Raises:
        MediaError: the array is empty, or the object's width or height is 0.
    """
    if hasattr(source, "__array_interface__") and not hasattr(source, "_repr_png_"):
        if 0 in source.__array_interface__["shape"]:
            raise MediaError("the picture is an empty array")
        return lambda: _encode_array(source)
    if 0 in (getattr(source, "width", 1), getattr(source, "height", 1)):
        raise MediaError("the picture has no pixels")
    if hasattr(source, "savefig"):
        return lambda: _encode_figure(source)
    if hasattr(source, "_repr_png_") or hasattr(source, "_repr_jpeg_"):
        return lambda: _encode_repr(source)
    return None


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


def _encode_figure(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _encode_array(array: Any) -> bytes:
    try:
        import numpy
        from PIL import Image
    except ImportError:
        raise MediaError("a picture given as an array needs: pip install pillow numpy") from None
    pixels = numpy.asarray(array)
    if pixels.dtype.kind == "f" and 0 <= pixels.min() and pixels.max() <= 1:
        pixels = (pixels * 255).round()  # matplotlib's floats are from 0 to 1
    elif pixels.dtype.kind == "b":
        pixels = pixels * 255
    if pixels.dtype.kind not in "uifb" or pixels.min() < 0 or pixels.max() > 255:
        raise MediaError("the values of an array must be from 0 to 255, or floats from 0 to 1")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise MediaError(f"the array's shape is {pixels.shape}, not (h, w), (h, w, 3) or (h, w, 4)")
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(buffer, "PNG")
    return buffer.getvalue()
