"""Pictures of every kind arrive at the Space unchanged.

Anything else is refused before a request is sent.
"""

import base64
import hashlib
import io
import os
import traceback
from contextlib import suppress
from pathlib import Path

import numpy
import pytest
from cases import each
from conftest import PNG, failure, script
from hypothesis import given, settings
from hypothesis.strategies import binary, sampled_from
from PIL import Image

from qvq_wrapper import MediaError, ResponseError, ask
from qvq_wrapper.question.media import picture_of

pytestmark = [pytest.mark.anyio, pytest.mark.backends("asyncio")]


class Shown:
    """A notebook shows it as a JPEG."""

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
    "bytearray": lambda path: bytearray(PNG),
    "JPEG": lambda path: JPEG,
    "file": lambda path: io.BytesIO(PNG),
    "data": lambda path: "data:image/png;base64," + base64.b64encode(PNG).decode(),
    "file URL": lambda path: path.as_uri(),
    "shown as JPEG": lambda path: Shown(),
    "datasets": lambda path: {"bytes": PNG, "path": "no/such/file.png"},
    "datasets path": lambda path: {"bytes": None, "path": str(path)},
    "named": lambda path: (path, "../../etc/a:b.png"),
}


async def test_a_picture_arrives_unchanged(provider, space, tmp_path, picture_url):
    """A picture by its URL is fetched by the Space. The file name is the user's."""
    path = tmp_path / "मेरी तस्वीर.png"
    path.write_bytes(PNG)
    for case, kind in each(KINDS):
        with case:
            await provider.ask(kind, KINDS[kind](path)).read()
            seen, data = space.seen(kind), JPEG if "JPEG" in kind else PNG
            if space.version >= (5, 50) or data is PNG:  # older ones convert JPEG before the app
                assert seen["sha256"] == hashlib.sha256(data).hexdigest()
            names = {"named": "ab.png", "datasets": "file.png"}
            if space.version >= (6, 0):  # older ones remove marks themselves
                names |= dict.fromkeys(["file URL", "datasets path"], path.name)
            assert seen["image"] == names.get(kind, seen["image"])
    await provider.ask("by url", picture_url).read()
    assert space.seen("by url")["sha256"] == hashlib.sha256(PNG).hexdigest()


async def test_a_picture_in_media_replaces_those_in_messages(provider, space, picture_url):
    messages = [{"role": "user", "content": picture_url}, {"role": "user", "content": "which"}]
    await provider.create_async("", messages)
    assert space.seen("which")["size"] == len(PNG)
    await provider.create_async("", messages, media=[JPEG])
    assert space.seen("which")["size"] == len(JPEG)


def test_ways_to_write_a_path(tmp_path, monkeypatch):
    """The file's name has to be escaped in a URL. It is in the user's home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "ä b#1.png"
    path.write_bytes(PNG)
    for case, source in each([
        path, str(path), path.as_uri(), path.as_uri().replace("file://", "FILE://localhost"),
        f"file:{path}", "~/" + path.name, Path("~", path.name), next(os.scandir(tmp_path)),
        next(os.scandir(os.fsencode(tmp_path))),
    ]):
        with case:
            assert picture_of(source).load(None) == (path.name, PNG)
    assert picture_of("HTTPS://example.com/A.png").url == "https://example.com/A.png"


BASE64 = base64.b64encode(JPEG).decode()
PROMPT = r"Is it the prompt\? ask\(prompt, image\) takes the picture second"


def test_what_is_not_a_picture_is_refused_at_the_call(tmp_path):
    """The error is short. Neither it nor its traceback leads to the picture or to the token."""
    pdf = tmp_path / "x.pdf"
    pdf.write_bytes(b"%PDF-1.7")
    for case, (picture, message) in each([
        (b"", "the picture is empty"),
        (b"GIF is what this is not", "^the given data is text, not a picture: the data starts"),
        (pdf, "^x.pdf is a PDF"),
        ((b"%PDF-1.7", "mine.png"), "^mine.png is a PDF"),
        ("no/such.png", f"'no/such.png' cannot be read: No such file.*for in {os.getcwd()}$"),
        ("/no/such/file.png", "'/no/such/file.png' cannot be read: No such file or directory$"),
        ("no/such.png\n", r"a blank or a line break around it; remove it: \.strip\(\)"),
        (Path("https://a:secret@b/x.png"), "^the picture given as a text of 23 .*taken a slash"),
        ("image/svg+xml;base64,PHN2Zz4=", "^the picture given as a text of 29 characters cannot"),
        ("a\0b", "not a valid path"),
        ("", "'' cannot be read: No such file"), ("data:image/png;base64", "has no comma"),
        ("file://picture.png", "must have the form file:///folder/name.png"),
        ("s3://bucket/x.png", "must be http, https, data or file, not s3://"),
        (" data:image/png;base64," + BASE64, "a blank or a line break around it"),
        ("https://example.com/x.png\n", "a blank or a line break around it"),
        (BASE64, r"a JPEG in base64: give base64\.b64decode.*'data:image/jpeg;base64,' in front"),
        (base64.encodebytes(PNG).decode(), "is a PNG in base64"),
        ("image/jpeg;base64," + BASE64, "is a JPEG in base64"),
        (BASE64[40:4000], "as a text of [0-9,]+ characters cannot be read"),
        ("What is in it? " * 20, f"as a text of 300 characters cannot be read.*{PROMPT}"),
        ("What is in it?", f"No such file or directory. {PROMPT}"),
        ("Look.\nWhat is in it?", f"cannot be read.*{PROMPT}"),
        (Image.new("RGB", (0, 3)), "no pixels"),
        (numpy.ones((2, 2), "uint8"), "a mask"),
    ]):
        with case:
            with pytest.raises(MediaError, match=f"(?s){message}") as caught:
                ask("What is this?", picture, api_key="hf_secret")
            assert len(str(caught.value)) < 250 and BASE64[60:80] not in str(caught.value)
            assert caught.value.__cause__ is None and caught.value.__context__ is None
            frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
            assert not any("hf_secret" in repr(frame.f_locals) for frame in frames[1:])


async def test_a_picture_that_turns_out_to_be_bad_when_it_is_sent(provider, space):
    array = numpy.zeros((2, 2), "uint8")
    stream = provider.ask("bad array", array)
    array[:] = 1
    with pytest.raises(MediaError, match="a mask"):
        await stream.read()
    assert not space.log("asked", prompt="bad array")


async def test_a_picture_that_the_space_cannot_take(start_space, provider):
    """It has a format that the Space cannot read, or too many bytes."""
    heic = b"\0\0\0\x18ftypheic" + bytes(100)
    advice = "a file in the format HEIC, .*Convert it to PNG or JPEG, or give PIL.Image.open"
    with start_space("--hide-errors", "--max-file-size", 500) as space:
        with pytest.raises(ResponseError, match=advice):
            await ask("Hi", heic, url=space.url).read()
        with pytest.raises(MediaError, match=f"{len(PNG):,} bytes; the Space's limit is 500"):
            await ask("too large", PNG, url=space.url).read()
        assert not space.log("asked", prompt="too large")
    unknown = script({"raise": "cannot identify image file"})
    for picture, prompt in ((encoded("TIFF"), script({"raise": "too dark"})), (PNG, unknown)):
        assert "format" not in str(await failure(provider.ask(prompt, picture)))


@given(sampled_from([b"", PNG[:8], JPEG[:3], b"RIFF0000WEBP"]), binary(max_size=100))
@settings(max_examples=100, deadline=None)
def test_anything_is_accepted_or_refused(head, rest):
    text = (head + rest).decode("latin-1")
    percent = "data:," + "".join(f"%{byte:02x}" for byte in head + rest)
    texts = text, "data:" + text, "data:image/png;base64," + text
    for source in (head + rest, io.BytesIO(head + rest), percent, *texts):
        with suppress(MediaError):
            picture = picture_of(source)
            assert source in texts or picture.load(None)[1] == head + rest
