"""How a picture that is an object becomes the bytes of a file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

from ..errors import MediaError


def find_encoder(source: Any) -> Callable[[], bytes] | None:
    """Return a function that makes a picture file of an object, or None if the object is not a picture."""
    if hasattr(source, "__array_interface__") and not hasattr(source, "_repr_png_"):
        if 0 in source.__array_interface__["shape"]:
            raise MediaError("the picture is an empty array")
        return lambda: _encode_array(source)
    if 0 in (getattr(source, "width", 1), getattr(source, "height", 1)):
        raise MediaError("the picture has no pixels")
    if hasattr(source, "savefig"):
        return lambda: _encode_figure(source)
    if hasattr(source, "_repr_png_") or hasattr(source, "_repr_jpeg_"):
        return lambda: _encode_shown(source)
    return None


def _encode_shown(source: Any) -> bytes:
    for name in ("_repr_png_", "_repr_jpeg_"):
        shown = getattr(source, name, lambda: None)()
        shown = shown[0] if isinstance(shown, tuple) else shown  # data, or data and its metadata
        if isinstance(shown, str):  # IPython.display.Image: base64
            shown = base64.b64decode(shown)
        if shown:
            return bytes(shown)
    raise MediaError(
        f"the {type(source).__name__} shows itself neither as PNG nor as JPEG; convert it, to RGB for instance")


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
        pixels = (pixels * 255).round()  # floats of 0 to 1, as matplotlib has them
    elif pixels.dtype.kind == "b":
        pixels = pixels * 255
    if pixels.dtype.kind not in "uifb" or pixels.min() < 0 or pixels.max() > 255:
        raise MediaError("an array's values must be 0 to 255, or floats of 0 to 1")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] not in (3, 4)):
        raise MediaError(f"an array of shape {pixels.shape} is no picture; (h, w), (h, w, 3), (h, w, 4) are")
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(buffer, "PNG")
    return buffer.getvalue()
