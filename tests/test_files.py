"""Paths and open files are read to their end, or refused with what to do. Names can be written."""

import io
import os
import socket
import threading
from contextlib import ExitStack

import anyio
import pytest
import trio
from cases import each
from conftest import PNG
from hypothesis import given, settings
from hypothesis.strategies import text
from inside import set_bounds
from starlette.datastructures import UploadFile

from qvq_wrapper import MediaError
from qvq_wrapper.question.files import safe_name
from qvq_wrapper.question.media import picture_of

LONG = PNG + bytes(range(256))


class Gives:
    """A file that gives these values one after the other."""

    def __init__(self, *values):
        self.values = iter(values)

    def read(self, size):
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        return value


class Coroutine:
    async def read(self):
        return PNG


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


def test_a_file_that_gives_pieces():
    pieces = LONG[:7], bytearray(LONG[7:20]), memoryview(LONG[20:])
    assert picture_of(Gives(*pieces, b"")).read() == LONG


def test_the_file_behind_an_asynchronous_one(path):
    for wrap in (UploadFile, anyio.wrap_file, trio.wrap_file):
        with path.open("rb") as file:
            assert picture_of(wrap(file)).read() == PNG, wrap


def test_an_open_file_is_read_at_the_call_and_belongs_to_the_caller():
    """It stays open at its end, and the caller may close it before the picture is sent."""
    file = io.BytesIO(PNG + PNG)
    file.seek(len(PNG))
    picture = picture_of(file)
    assert file.tell() == 2 * len(PNG)
    file.close()
    assert picture.read() == picture.read() == PNG


def test_a_pipe():
    """One that is written slowly is read to its end. One that does not wait is refused."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as file, open(writer, "wb", buffering=0) as other_end:

        def write():
            for start in range(0, len(PNG), 5):
                other_end.write(PNG[start:start + 5])
            other_end.close()

        os.set_blocking(reader, False)
        with pytest.raises(MediaError, match="non-blocking and has no data"):
            picture_of(file)
        os.set_blocking(reader, True)
        thread = threading.Thread(target=write)
        thread.start()
        assert picture_of(file).read() == PNG
        thread.join()


def test_an_open_file_is_read_up_to_a_bound(monkeypatch):
    set_bounds(monkeypatch, max_file_bytes=100_000)
    with pytest.raises(MediaError, match="more than 100,000"):
        picture_of(Gives(bytes(60_000), bytes(60_000)))  # there is no third piece


def test_a_path_where_a_read_can_wait_for_ever_is_refused(tmp_path):
    """It is not opened: that waits too."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path, tmp_path / "pipe", tmp_path / "socket", "/dev/zero", "/dev/null"):
            with pytest.raises(MediaError, match=f"'{path}' is a folder, a pipe or a device"):
                picture_of(path)


def test_a_path_is_closed_again_and_read_when_it_is_sent(path):
    before = set(os.listdir("/proc/self/fd"))
    picture = picture_of(path)
    assert set(os.listdir("/proc/self/fd")) == before
    path.write_bytes(LONG)
    assert picture.load(None) == ("picture.png", LONG)
    path.write_text("no picture")
    with pytest.raises(MediaError, match="^picture.png is text"):
        picture.load(None)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a coroutine that was never awaited
def test_files_that_cannot_be_used(path):
    with path.open("rb") as closed:
        pass
    with ExitStack() as opened:
        for case, (file, message) in each([
            (Coroutine(), r"asynchronously; give its bytes: await file\.read\(\)"),
            (UploadFile(Coroutine()), "asynchronously"),
            (Gives(Coroutine().read()), "asynchronously"),
            (Gives("text"), "gives str and not bytes; open it with mode 'rb'"),
            (Gives(OSError("secret")), "cannot be read: OSError. Open"),
            (io.BytesIO(b""), r"is empty, or was read before: call seek\(0\) first"),
            (closed, "it is closed"),
            *((opened.enter_context(path.open(mode)), "mode 'rb'") for mode in ("r", "a", "ab")),
        ]):
            with case, pytest.raises(MediaError, match=message):
                picture_of(file)


def test_the_name_of_an_open_file(path):
    with path.open("rb") as file:
        assert picture_of(file).filename == "picture.png"
    with path.open("rb") as file:
        assert picture_of((file, "mine.png")).filename == "mine.png"
    assert picture_of(UploadFile(io.BytesIO(PNG), filename="up.png")).filename == "up.png"
    with open(os.open(path, os.O_RDONLY), "rb") as file:  # its name is a number
        assert picture_of(file).load(None)[0] == "image.png"


def test_the_name_that_a_space_gets():
    """It is the user's, without folders and without what file systems refuse."""
    for case, name in each([
        "my picture (2).jpeg", "📷.png", "👨‍👩‍👧.jpg", "मेरी तस्वीर.png", "می‌خواهم.png",
        "e\u0301te\u0301.png", "ＣＭ　１.png", "x.pdf", "photo", "a.b.tar.gz", "a'b,c;d=e&f+g.png",
    ]):
        with case:
            assert safe_name(name) == name
    for case, (given_name, name) in each([
        ("../../etc/a:b.png", "ab.png"),
        (r"C:\fakepath\x.png", "x.png"),
        ("a\0b\n\x1b[31m.png", "ab [31m.png"),
        ("a\u2028b\ud800\u202ec.png", "a bc.png"),
        ('<>:"|?*.png', "image.png"),
        (" a .png ", "a.png"),
        ("photo. ", "photo"), ("..", ""), ("folder/", ""), (None, ""),
    ]):
        with case:
            assert safe_name(given_name) == name
    for case, (name, suffix) in each([
        ("長い名前" * 30 + ".png", ".png"), ("x" * 300, ""), ("a." + "b" * 260, ""),
    ]):
        with case:
            short = safe_name(name)
            assert 250 < len(short.encode()) <= 255
            assert short.endswith(suffix) and name.startswith(short.removesuffix(suffix))


@given(text())
@settings(max_examples=100, deadline=None)
def test_any_text_gives_a_name_that_can_be_written(name):
    safe = safe_name(name)
    assert len(safe.encode()) <= 255 and not set(safe) & set('/\\\0\n:"')
    assert safe_name(safe) == safe
