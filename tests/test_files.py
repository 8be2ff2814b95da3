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


class Pieces:
    """Gives a few bytes at a time, as another type."""

    def __init__(self, kind):
        self.rest, self.kind = LONG, kind

    def read(self, size):
        piece, self.rest = self.rest[:7], self.rest[7:]
        return self.kind(piece)


class Coroutine:
    async def read(self):
        return PNG


class Gives:
    def __init__(self, value):
        self.value = value

    def read(self, size):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


def test_a_file_that_gives_pieces():
    for case, kind in each([bytes, bytearray, memoryview]):
        with case:
            assert picture_of(Pieces(kind)).read() == LONG


def test_the_file_behind_an_asynchronous_one(path):
    for case, wrap in each([
        lambda file: UploadFile(file, filename="up.png"), anyio.wrap_file, trio.wrap_file,
    ]):
        with case, path.open("rb") as file:
            assert picture_of(wrap(file)).read() == PNG


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
    for case, (buffering, waits) in each([(0, True), (-1, True), (0, False), (-1, False)]):
        reader, writer = os.pipe()

        def write():
            with open(writer, "wb", buffering=0) as file:
                for start in range(0, len(PNG), 5):
                    file.write(PNG[start:start + 5])

        with case, open(reader, "rb", buffering=buffering) as file:
            if waits:
                thread = threading.Thread(target=write)
                thread.start()
                assert picture_of(file).read() == PNG
                thread.join()
            else:
                os.set_blocking(reader, False)
                with open(writer, "wb"), pytest.raises(MediaError, match="NoneType and not bytes"):
                    picture_of(file)


def test_an_open_file_is_read_up_to_a_bound(monkeypatch):
    set_bounds(monkeypatch, max_file_bytes=100_000)
    with open("/dev/zero", "rb") as endless, pytest.raises(MediaError, match="more than 100,000"):
        picture_of(endless)


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
    assert picture.read() == LONG


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a coroutine that was never awaited
def test_files_that_cannot_be_used(path):
    with path.open("rb") as closed:
        pass
    with ExitStack() as opened:
        for case, (file, message) in each([
            (Coroutine(), r"asynchronously; give its bytes: await file\.read\(\)"),
            (UploadFile(Coroutine()), "asynchronously"),
            (Gives("text"), "gives str and not bytes; open it with mode 'rb'"),
            (Gives(3), "gives int and not bytes"),
            (Gives(OSError("secret")), "cannot be read: OSError. Open"),
            (io.StringIO("text"), "open it with mode 'rb'"),
            (io.BytesIO(b""), r"is empty, or was read before: call seek\(0\) first"),
            (closed, "it is closed"),
            *((opened.enter_context(path.open(mode)), "mode 'rb'") for mode in ("r", "a", "ab")),
        ]):
            with case, pytest.raises(MediaError, match=message):
                picture_of(file)


def test_the_name_of_an_open_file(path):
    pdf = path.with_name("x.pdf")
    pdf.write_bytes(b"%PDF-1.7")
    with path.open("rb") as file:
        assert picture_of(file).load(None)[0] == "picture.png"
    with path.open("rb") as file:
        assert picture_of((file, "mine.png")).load(None)[0] == "mine.png"
    assert picture_of(UploadFile(io.BytesIO(PNG), filename="up.png")).filename == "up.png"
    with open(os.open(path, os.O_RDONLY), "rb") as file:  # its name is a number
        assert picture_of(file).load(None)[0] == "image.png"
    with pdf.open("rb") as file, pytest.raises(MediaError, match="x.pdf is a PDF"):
        picture_of(file)


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
        ("a\u2028b\ud800.png", "a b.png"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ('<>:"|?*.png', "image.png"),
        (" a .png ", "a.png"),
        ("photo. ", "photo"),
        ("..", ""), ("folder/", ""), (None, ""),
    ]):
        with case:
            assert safe_name(given_name) == name
    for case, (name, suffix) in each([
        ("長い名前" * 30 + ".png", ".png"), ("📷" * 100 + ".jpeg", ".jpeg"), ("x" * 300, ""),
        ("a." + "b" * 260, ""),
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
