"""A file that this process alone appends to, and that notices it when others change it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger("qvq_wrapper")


class OwnFile:
    """A file, locked while a ``with`` block is active.

    Args:
        path: the file. Symbolic links are followed. It is made if it does not exist.

    Attributes:
        path: the same, without symbolic links.
        size: what we know to be in it, in bytes. Whoever reads it first has to set this.

    Raises:
        BlockingIOError: another run has locked it.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.size = 0

    def __enter__(self) -> OwnFile:
        self._lock = _lock(self.path)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            self._opened = os.fstat(self._fd)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)
        self._lock.release()

    def append(self, data: bytes) -> None:
        """Write all of the data at the end, or nothing.

        Raises:
            OSError: it cannot be written, or someone else has changed the file.
        """
        self.check()
        left = data
        try:
            while left:  # a full disk may take a part
                left = left[os.write(self._fd, left):]
        except OSError as error:
            with suppress(OSError):
                self.cut()
            reason = f"{error.strerror}; the answers before this one are safe"
            raise OSError(error.errno, reason, str(self.path)) from None
        self.size += len(data)

    def cut(self) -> None:
        """Remove what is beyond the size that we know."""
        os.ftruncate(self._fd, self.size)

    def check(self) -> None:
        """Raise OSError if someone else has changed the file since we last wrote to it."""
        if self.is_changed():
            raise OSError(
                f"{self.path} was changed by someone else during the run. Only the answers that "
                "the file still has are safe; the others will be asked again")

    def is_changed(self) -> bool:
        try:
            now = os.stat(self.path)
        except OSError:  # it was removed
            return True
        return not os.path.samestat(now, self._opened) or now.st_size != self.size

    def replace(self, lines: Iterable[bytes]) -> None:
        """Replace the file by one with these lines. Its mode stays."""
        try:
            # In a new folder: others may have put a file or a link where they expect ours.
            with TemporaryDirectory(dir=self.path.parent, prefix=f"{self.path.name}.") as folder:
                copy = Path(folder, self.path.name)
                with copy.open("wb") as file:
                    file.writelines(lines)
                    file.flush()
                    os.fsync(file.fileno())
                shutil.copymode(self.path, copy)
                os.replace(copy, self.path)
        except OSError as error:  # nothing is lost: the file has some lines too many
            logger.warning("%s keeps outdated failures: %s", self.path, error.strerror)


def _lock(path: Path) -> FileLock:
    """Lock the file for this process, not for those that it forks or starts."""
    try:
        from filelock import FileLock, Timeout
    except ImportError:
        raise ImportError('answer_file needs: pip install "qvq_wrapper[batch]"') from None
    lock = FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(f"another run writes its answers to {path}") from None
    return lock
