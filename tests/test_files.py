"""Open files of every kind are read to their end, or refused with what to do."""

import gc
import io
import os
import tempfile
import threading
from contextlib import ExitStack

import anyio
import pytest
import trio
from conftest import PNG
from starlette.datastructures import UploadFile

from qvq_wrapper import MediaError
from qvq_wrapper.question.media import picture_from

AWAIT = r"asynchronously; give its bytes: await file\.read\(\)"


LONG = PNG + bytes(range(256))


class Pieces:
    """Gives a few bytes at a time, as another type."""

    def __init__(self, kind):
        self.rest, self.kind = LONG, kind

    def read(self, size):
        piece, self.rest = self.rest[:7], self.rest[7:]
        return self.kind(piece)


class Buffer:
    """A type that puts all pieces into one place, where the next overwrites the last."""

    def __init__(self):
        self.memory = bytearray()

    def __call__(self, piece):
        self.memory[:] = piece
        return self.memory


class Coroutine:
    async def read(self, size=-1):
        return PNG


class Awaitable:
    def read(self, size=-1):
        return Coroutine().read()


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


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, Buffer()])
def test_a_file_that_gives_pieces(kind):
    assert picture_from(Pieces(kind)).read() == LONG


@pytest.mark.parametrize("wrap", [
    lambda file: UploadFile(file, filename="up.png"), anyio.wrap_file, trio.wrap_file])
def test_the_file_behind_an_asynchronous_one(path, wrap):
    with path.open("rb") as file:
        assert picture_from(wrap(file)).read() == PNG


def test_an_upload_in_memory_stays_there():
    with tempfile.SpooledTemporaryFile(max_size=10_000) as file:
        file.write(PNG)
        file.seek(0)
        assert picture_from(UploadFile(file)).read() == PNG
        assert not file._rolled


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_that_is_written_slowly(buffering):
    """Nothing is read at the call: it would wait for the writer."""
    reader, writer = os.pipe()

    def write():
        with open(writer, "wb", buffering=0) as file:
            for start in range(0, len(PNG), 5):
                file.write(PNG[start:start + 5])

    with open(reader, "rb", buffering=buffering) as file:
        picture = picture_from(file)
        thread = threading.Thread(target=write)
        thread.start()
        assert picture.read() == picture.read() == PNG
        thread.join()


def test_a_pipe_without_an_end_is_refused_by_its_first_bytes():
    reader, writer = os.pipe()
    with open(reader, "rb") as file, open(writer, "wb", buffering=0) as endless:
        endless.write(b"yes\n" * 500)
        with pytest.raises(MediaError, match="text, not a picture"):
            picture_from(file).read()


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_pipe_that_does_not_wait(buffering):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(reader, "rb", buffering=buffering) as file, open(writer, "wb"):
        with pytest.raises(MediaError, match="non-blocking and has no data yet"):
            picture_from(file).read()


@pytest.mark.parametrize("file, message", [
    (Coroutine(), AWAIT),
    (Awaitable(), AWAIT),
    (UploadFile(Coroutine()), AWAIT),
    (Gives(None), "non-blocking"),
    (Gives("text"), "open it with mode 'rb'"),
    (Gives(3), "gives int and not bytes"),
    (Gives(OSError("secret")), "cannot be read: OSError$"),
    (io.StringIO("text"), "open it with mode 'rb'"),
    (io.BytesIO(b""), "is empty$"),
    (io.BytesIO(b"hello"), "text, not a picture"),
])
def test_files_that_cannot_be_used(file, message):
    with pytest.raises(MediaError, match=message):
        picture_from(file)


@pytest.mark.filterwarnings("error")
def test_a_refused_coroutine_gives_no_warning():
    with pytest.raises(MediaError):
        picture_from(Awaitable())
    gc.collect()


def test_a_file_that_is_open_in_another_mode(path):
    with ExitStack() as files:
        for mode in ("r", "a", "ab"):
            with pytest.raises(MediaError, match="use mode 'rb'|open it with mode 'rb'"):
                picture_from(files.enter_context(path.open(mode)))


def test_a_file_that_was_read_before():
    file = io.BytesIO(PNG)
    for position, message in ((len(PNG), "is empty"), (5, "not a picture")):
        file.seek(position)
        with pytest.raises(MediaError, match=rf"{message}.*at byte {position}: call seek\(0\)"):
            picture_from(file)


def test_a_closed_file(path):
    with path.open("rb") as file:
        pass
    with pytest.raises(MediaError, match="it is closed"):
        picture_from(file)


def test_the_name_of_an_open_file(path):
    pdf = path.with_name("x.pdf")
    pdf.write_bytes(b"%PDF-1.7")
    with path.open("rb") as file:
        assert picture_from(file).load(None)[0] == "picture.png"
    with path.open("rb") as file:
        assert picture_from(file, "mine.png").load(None)[0] == "mine.png"
    assert picture_from(UploadFile(io.BytesIO(PNG), filename="up.png")).filename == "up.png"
    with open(os.open(path, os.O_RDONLY), "rb") as file:  # its name is a number
        assert picture_from(file).load(None)[0] == "image.png"
    with pdf.open("rb") as file, pytest.raises(MediaError, match="x.pdf is a PDF"):
        picture_from(file)
