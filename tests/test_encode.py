"""Images, arrays and figures arrive as a viewer shows them, or are refused with what to write."""

import io

import numpy
import pytest
from cases import each
from conftest import PNG
from IPython.core.pylabtools import print_figure
from PIL import Image

from qvq_wrapper import MediaError
from qvq_wrapper.question.media import picture_of

NAN, INFINITY = float("nan"), float("inf")
RAMP = numpy.arange(65536).reshape(256, 256)


def sent(picture):
    """Return the image that the Space gets."""
    image = Image.open(io.BytesIO(picture_of(picture).load(None)[1]))
    image.load()
    return image


def values(picture):
    return numpy.asarray(sent(picture)).tolist()


def grey(*row, dtype="float32"):
    return numpy.array([row], dtype)


def test_the_values_of_an_array():
    for case, (array, expected) in each([
        (grey(0, 7, 255, dtype="uint8"), [0, 7, 255]),
        (grey(0, 7, 255, dtype=">i2"), [0, 7, 255]),
        (grey(True, False, dtype="bool"), [255, 0]),
        (grey(0, 0.5, 1, dtype=">f8"), [0, 128, 255]),
        (grey(-0.25, 0.2, 1.25), [0, 51, 255]),
        (grey(0.2, 1) * numpy.float32(1.0000002), [51, 255]),
        (grey(0, 400, 65535, dtype="uint16"), [0, 2, 255]),
        (grey(0, 257, 65535, dtype=">u2"), [0, 1, 255]),
    ]):
        with case:
            assert values(array) == [expected]


def test_values_of_uncertain_brightness_are_refused_at_the_call():
    for case, (array, message) in each([
        (grey(0, 1, dtype="uint8"), r"a mask\? multiply by 255"),
        (grey(0.5, NAN), "NaN"),
        (grey(0.5, INFINITY), "infinity"), (grey(-INFINITY, 0.5), "infinity"),
        (grey(0, 1.3), r"floats are from 0 to 1\.3.*divide by 255, or astype\('uint8'\)"),
        (grey(-0.3, 1), "divide by 255"),
        (grey(0, 256, dtype="int32"), "from 0 to 256.*uint16"),
        (grey(-1, 5, dtype="int8"), "from -1 to 5"),
    ]):
        with case, pytest.raises(MediaError, match=message):
            picture_of(array)


def test_what_would_take_long_is_checked_when_it_is_sent():
    buffer = io.BytesIO()
    Image.fromarray(grey(0, 1, dtype="uint8")).save(buffer, "PNG")
    for picture in map(picture_of, [Image.open(buffer), numpy.ones((4097, 4096), "uint8")]):
        with pytest.raises(MediaError, match="a mask"):
            picture.read()


def test_the_shape_of_an_array():
    for case, (shape, mode) in each([
        ((2, 3), "L"), ((2, 3, 1), "L"), ((2, 3, 3), "RGB"), ((2, 3, 4), "RGBA"),
    ]):
        with case:
            image = sent(numpy.full(shape, 9, "uint8"))
            assert image.size == (3, 2) and image.mode == mode
    for case, shape in each([(), (9,), (2, 2, 2), (3, 5, 6), (2, 5, 6, 3)]):
        with case, pytest.raises(MediaError, match=r"shape is \(.*moveaxis.*permute.*array\[0\]"):
            picture_of(numpy.zeros(shape, "uint8"))
    with pytest.raises(MediaError, match="empty array"):
        picture_of(numpy.zeros((0, 3), "uint8"))
    for case, dtype in each(["complex64", "object", "U3", "M8[s]", "V4"]):
        with case, pytest.raises(MediaError, match="give integers, floats or bool"):
            picture_of(numpy.zeros((2, 2), dtype))


class Tensor:
    """Converts itself as PyTorch's tensors do."""

    def __init__(self, convert):
        self.convert = convert

    def __array__(self, dtype=None, copy=None):
        return self.convert()


def test_a_tensor_is_read_once_in_the_calls_thread():
    calls = []
    picture = picture_of(Tensor(lambda: calls.append("read") or grey(0, 1)))
    assert not calls and picture.read() == picture.read() and calls == ["read"]
    assert values(Tensor(lambda: grey(0, 1))) == [[0, 255]]
    for case, (convert, message) in each([
        (lambda: 1 / 0, r"cannot be encoded \(ZeroDivisionError: division by zero\)"),
        (lambda: numpy.zeros((3, 5, 6)), "permute"), (lambda: grey(0.5, NAN), "NaN"),
    ]):
        picture = picture_of(Tensor(convert))
        with case, pytest.raises(MediaError, match=message):
            picture.read()


def test_an_image_arrives_upright_and_without_the_tag():
    exif, buffer, rows = Image.Exif(), io.BytesIO(), numpy.arange(0, 120, 20, "uint8").reshape(2, 3)
    exif[0x112] = 6
    Image.fromarray(rows).save(buffer, "PNG", exif=exif)
    image = Image.open(buffer)
    arrived = sent(image)
    assert numpy.array_equal(arrived, numpy.rot90(rows, -1)) and 0x112 not in arrived.getexif()
    assert image.size == (3, 2), "the caller's own image was changed"


def test_an_image_of_any_mode_has_its_own_colours_and_transparency():
    """A colour profile describes the colours of one mode."""
    for case, mode in each([
        "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV",
    ]):
        with case:
            has_alpha = mode in ("LA", "P", "PA", "RGBA", "RGBa")
            colour = (255, 255, 255) if mode in ("1", "L", "LA") else (255, 0, 0)
            image = Image.new("RGBA", (2, 1))
            image.putpixel((0, 0), (*colour, 255))
            image = image.convert("P" if mode == "PA" else "RGBA" if has_alpha else "RGB")
            image = image.convert(mode)
            image.info["icc_profile"] = b"of this mode"
            arrived = sent(image)
            first, second = numpy.asarray(arrived.convert("RGBA"))[0].tolist()
            assert first == pytest.approx([*colour, 255], abs=2)
            assert second[3] == (0 if has_alpha else 255)
            assert ("icc_profile" in arrived.info) == (arrived.mode == mode)


def test_16_bits_and_floats_become_8():
    for case, image in each([
        Image.fromarray(RAMP.astype("uint16")), Image.fromarray(RAMP.astype("int32")),
        Image.frombytes("I;16B", (256, 256), RAMP.astype(">u2").tobytes()),
    ]):
        with case:
            arrived = sent(image)
            assert arrived.mode == "L" and numpy.array_equal(arrived, (RAMP + 128) // 257)
    assert values(Image.fromarray(grey(0, 0.5, 1.1))) == [[0, 128, 255]]


def test_an_image_that_cannot_be_sent():
    with Image.open(io.BytesIO(PNG)) as closed:
        pass
    for case, (image, message) in each([
        (Image.fromarray(RAMP.astype("int32") + 1), "from 1 to 65536"),
        (Image.fromarray(RAMP.astype("int32") - 1), "from -1 to 65534"),
        (Image.linear_gradient("L").convert("F"), r"convert\('L'\)"),
        (Image.fromarray(grey(0, 1, dtype="uint8")), r"a mask\? multiply by 255"),
        (Image.fromarray(grey(0, 1, dtype="uint16")), r"a mask\? multiply by 255"),
        (closed, "cannot be encoded"),
    ]):
        with case, pytest.raises(MediaError, match=message):
            sent(image)


@pytest.mark.test_all
def test_a_figure_is_saved_as_the_notebook_shows_it():
    """Its Axes stand for it. A module is no picture, and pyplot makes no figure for that."""
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2), dpi=50)
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    axes.plot([1, 2], label="a long name that is beside the axes")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    for drawing in (figure, left, axes, right.subplots(), figure.add_axes((0.4, 0.4, 0.1, 0.1))):
        shown = numpy.asarray(Image.open(io.BytesIO(print_figure(figure))))
        assert numpy.array_equal(sent(drawing), shown) and shown.shape[:2] != (100, 150)
    with pytest.raises(TypeError, match=r"plt\.gcf\(\)"):
        picture_of(pyplot)
    assert not pyplot.get_fignums()
    figure.suptitle("$\\frac{$")
    with pytest.raises(MediaError, match="cannot be encoded"):
        picture_of(figure).read()
