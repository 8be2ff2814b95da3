"""Pictures of every kind arrive at the Space unchanged.

Anything else is refused before a request is sent.
"""

import base64
import hashlib
import io
import os
import sys
import threading
from pathlib import Path

import numpy
import pytest
from conftest import PNG
from hypothesis import given, settings
from hypothesis.strategies import binary, one_of, sampled_from, tuples
from PIL import Image

from qvq_wrapper import MediaError, ResponseError, ask
from qvq_wrapper.question.media import picture_from

pytestmark = pytest.mark.anyio


class Shown:
    def _repr_png_(self):
        return PNG


class ShownAsJpeg:
    def _repr_png_(self):
        return None

    def _repr_jpeg_(self):
        return base64.b64encode(JPEG).decode(), {"width": 3}


def encoded(kind):
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, kind)
    return buffer.getvalue()


JPEG = encoded("JPEG")
KINDS = {
    "bytes": lambda path: PNG,
    "bytearray": lambda path: bytearray(PNG),
    "file": lambda path: io.BytesIO(PNG),
    "path": lambda path: path,
    "str": lambda path: str(path),
    "data base64": lambda path: "data:image/png;base64," + base64.b64encode(PNG).decode(),
    "data percent": lambda path: "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
    "shown": lambda path: Shown(),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture_arrives_unchanged(provider, space, tmp_path, kind):
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    await provider.ask(kind, KINDS[kind](path)).read()
    seen = space.seen(kind)
    assert seen["size"] == len(PNG) and seen["sha256"] == hashlib.sha256(PNG).hexdigest()


async def test_a_picture_by_url_is_fetched_by_the_space(provider, space, picture_url):
    await provider.ask("by url", picture_url).read()
    assert space.seen("by url")["sha256"] == hashlib.sha256(PNG).hexdigest()


@pytest.mark.parametrize("form", ["JPEG", "GIF", "WEBP", "BMP", "TIFF", "PNG"])
async def test_file_formats(provider, space, form):
    space.require_gradio(5, 50)  # older ones convert the picture before the app sees it
    data = encoded(form)
    await provider.ask(form, data).read()
    assert space.seen(form)["sha256"] == hashlib.sha256(data).hexdigest()


async def test_an_object_with_a_jpeg_representation(provider, space):
    await provider.ask("jpeg", ShownAsJpeg()).read()
    assert space.seen("jpeg")["sha256"] == hashlib.sha256(JPEG).hexdigest()


async def test_the_file_name_is_sent(provider, space):
    messages = [{"role": "user", "content": "named"}]
    await provider.create_async("", messages, media=[(PNG, "my picture.png")])
    assert space.seen("named")["image"] == "my picture.png"
    await provider.create_async("", messages, media=[(PNG, "../../etc/a:b.png")])
    assert space.seen("named")["image"] == "ab.png"


async def test_a_picture_in_a_message(provider, space):
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    parts = [
        {"type": "text", "text": "in a part"}, {"type": "image_url", "image_url": {"url": url}}]
    await provider.create_async("", [{"role": "user", "content": parts}])
    assert space.seen("in a part")["size"] == len(PNG)


def test_addresses_and_data_in_other_forms():
    assert picture_from("HTTPS://example.com/A.png").url == "https://example.com/A.png"
    assert picture_from("data:image/png;base64," + base64.encodebytes(PNG).decode()).read() == PNG


async def test_a_figure_that_cannot_be_drawn(provider):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.suptitle("$\\frac{$")
    with pytest.raises(MediaError, match="cannot be encoded"):
        await provider.ask("a figure", figure).read()


async def test_a_named_pipe(provider, space, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(PNG,), daemon=True).start()
    await provider.ask("piped", str(pipe)).read()
    assert space.seen("piped")["size"] == len(PNG)


async def test_a_picture_in_media_replaces_those_in_messages(provider, space, picture_url):
    messages = [{"role": "user", "content": picture_url}, {"role": "user", "content": "which"}]
    await provider.create_async("", messages, media=[JPEG])
    assert space.seen("which")["size"] == len(JPEG)


@pytest.mark.parametrize("picture, message", [
    (b"", "empty"),
    (b"GIF is what this is not", "not a picture: the data starts with"),
    (io.BytesIO(b""), "empty"),
    (io.StringIO("text"), "mode 'rb'"),
    ("no/such/file.png", "no/such/file.png.*No such file"),
    (Path("/"), "directory"),
    ("a\0b", "not a valid path"),
    ("", "an empty string"),
    (__file__, "not a picture: the data starts with"),
    ("data:image/png;base64", "no comma"),
    ("data:image/png;base64,", "empty"),
    ("data:text/plain,hello", "not a picture: the data starts with"),
    (numpy.zeros((0, 3), "uint8"), "empty array"),
    (Image.new("RGB", (0, 3)), "no pixels"),
])
def test_data_that_is_not_a_picture_is_refused_at_the_call(picture, message):
    with pytest.raises(MediaError, match=message):
        ask("What is this?", picture)


@pytest.mark.parametrize("array", [
    numpy.full((2, 2), 300), numpy.full((2, 2), -0.5), numpy.zeros((2, 2, 5))])
async def test_an_array_that_is_not_a_picture(provider, space, array):
    with pytest.raises(MediaError, match="array"):
        await provider.ask("bad array", array).read()
    assert not space.log("asked", prompt="bad array")


@pytest.mark.parametrize("media, error", [
    ([PNG, PNG], ValueError), (PNG, TypeError), ([3], TypeError), ([(PNG, 3)], TypeError)])
def test_media_of_another_shape_is_refused(provider, media, error):
    with pytest.raises(error):
        provider.create_async_generator("", [{"role": "user", "content": "Hi"}], media=media)


async def test_a_file_that_is_closed_before_it_is_sent(provider):
    file = io.BytesIO(PNG)
    stream = provider.ask("closed", file)
    file.close()
    with pytest.raises(MediaError, match="cannot be read"):
        await stream.read()


async def test_a_picture_larger_than_the_space_accepts(start_space):
    with start_space("--max-file-size", 500) as space:
        for picture in (PNG, io.BytesIO(PNG)):
            with pytest.raises(MediaError, match=f"{len(PNG):,} bytes; the Space's limit is 500"):
                await ask("too large", picture, url=space.url).read()
        assert not space.log()


async def test_no_temporary_file_is_made(provider, space, temp_folder):
    made = []
    folder = str(temp_folder)

    def audit(event, arguments):
        if event == "open" and folder in str(arguments[0]):
            made.append(arguments[0])

    sys.addaudithook(audit)
    await provider.ask("from memory", PNG).read()
    assert space.seen("from memory")["size"] == len(PNG)
    assert not made and not any(temp_folder.iterdir())


heads = sampled_from([b"", PNG[:8], JPEG[:3], b"GIF89a", b"RIFF0000WEBP", b"BM00000000"])


@given(one_of(binary(max_size=100), tuples(heads, binary(max_size=100)).map(b"".join)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_accepted_or_refused(data):
    for source in (data, io.BytesIO(data), "data:," + "".join(f"%{byte:02x}" for byte in data)):
        try:
            assert picture_from(source).load(None)[1] == data
        except MediaError:
            pass


@given(binary(max_size=100).map(lambda data: data.decode("latin-1")))
@settings(max_examples=300, deadline=None)
def test_any_text_is_accepted_or_refused(text):
    for source in (text, "data:" + text, "data:image/png;base64," + text):
        try:
            picture_from(source)
        except MediaError:
            pass


async def test_a_broken_picture_is_answered_or_refused(provider):
    """Its first bytes are those of a picture, so that only the Space can tell."""
    for data in (PNG[:40], PNG[:8] + b"nonsense", JPEG[:100], PNG + bytes(50_000_000)):
        try:
            assert await provider.ask("broken", data).read() == "You asked: broken"
        except ResponseError:
            pass
