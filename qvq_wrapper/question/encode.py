"""Finds out how to encode a picture that is an object: an image, an array, a figure."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from math import prod
from types import ModuleType
from typing import Any

from ..errors import MediaError
from .pixels import check_layout, check_mask, check_values, encode_array, encode_image

MAX_CHECKED = 2**24  # values of an array that are looked at by the call itself: some 10 ms


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
            check_mask(source)
        return lambda: encode_image(source)
    if figure := _find_figure(source):
        return lambda: _encode_figure(figure)
    if hasattr(source, "_repr_png_") or hasattr(source, "_repr_jpeg_"):
        return lambda: _encode_repr(source)
    if layout := getattr(source, "__array_interface__", None):
        check_layout(layout["shape"], layout["typestr"])
        numpy = sys.modules.get("numpy")  # imported, if there is an array of it
        if numpy and prod(layout["shape"]) <= MAX_CHECKED:
            check_values(numpy.asarray(source))
        return lambda: encode_array(source)
    if hasattr(source, "__array__"):  # a tensor: it may have to come from a GPU
        return lambda: encode_array(source)
    return None


def _find_figure(source: Any) -> Any:
    """Return the figure that ``source`` is, or that an Axes is drawn on."""
    for _ in range(3):  # an Axes can be in a SubFigure, which is in a Figure
        if hasattr(source, "savefig"):
            return source
        source = getattr(source, "figure", None)
    return None


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
