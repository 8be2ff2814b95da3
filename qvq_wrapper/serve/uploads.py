"""The folder with the pictures of visitors: what lies in it, how much, and for how long."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from anyio import to_thread

MAX_FILE = 32 * 2**20
"""Bytes of the largest picture."""
MAX_FOLDER = 2 * 2**30
"""Bytes of all pictures together."""
MAX_AGE = 3600.0
"""Seconds after which a picture is deleted. The page can ask again about the one it shows."""
INTERVAL = 600.0
_SPARE = 2**28  # bytes of the disk that are left to others
_LEAST = 4096  # bytes that a file takes on a disk, however small it is
SMALL_FILES = 1000 * _LEAST
"""Bytes that an upload can take beside its own. Gradio 6.31 takes a thousand files at once."""


class Refused(Exception):
    """A visitor cannot have something, and one plain sentence why. ``status`` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Uploads:
    """The folder of Gradio's uploads, which is also its cache.

    Gradio deletes only what it has a list of: no upload that broke off, and no folder.

    Args:
        folder: its path, without links.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own: frozenset[Path] = frozenset()
        self._lent = 0  # bytes for files that are being written

    def keep_present(self) -> None:
        """Never delete what is in the folder now: the page's example."""
        self._own = frozenset(self._files())

    def find(self, path: Any) -> Path | None:
        """Return the file of this path if it lies in the folder, links resolved."""
        # As for another type, a NUL, or links in a circle.
        with suppress(TypeError, OSError, ValueError, RuntimeError):
            found = Path(path).resolve(strict=True)
            if found.is_relative_to(self.folder) and found.is_file():
                return found
        return None

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Lend room for so many bytes. Write them before the block ends.

        Raises:
            Refused: the folder or the disk is full, or will be with what is lent to others.
        """
        self._lent += size
        try:
            if not await to_thread.run_sync(self._has_room, self._lent):
                raise Refused("The Space's folder is full. Try again later.", 507)
            yield
        finally:
            self._lent -= size

    async def keep(self, picture: bytes) -> str:
        """Write a picture into the folder, and return its path. It is there once at most.

        Raises:
            Refused: the folder is full.
        """
        async with self.room(max(_LEAST, len(picture))):
            return await to_thread.run_sync(self._write, picture)

    def delete_old(self) -> None:
        """Delete files that are older than ``MAX_AGE``, and then their folders."""
        latest = time.time() - MAX_AGE
        for folder, _, names in os.walk(self.folder, topdown=False):
            with suppress(OSError):
                for path in (Path(folder, name) for name in names):
                    if path not in self._own and path.lstat().st_mtime < latest:
                        path.unlink()
                if not names and Path(folder) != self.folder:
                    os.rmdir(folder)  # refused if something is in it

    def delete_old_forever(self) -> None:
        """Do so again and again, in a thread of its own."""
        while True:
            time.sleep(INTERVAL)
            self.delete_old()

    def _has_room(self, size: int) -> bool:
        used = 0
        for path in self._files():
            with suppress(OSError):  # deleted meanwhile
                used += max(_LEAST, path.lstat().st_size)
        free = shutil.disk_usage(self.folder).free
        return used + size <= MAX_FOLDER and size <= free - _SPARE

    def _write(self, picture: bytes) -> str:
        file = self.folder / uuid4().hex  # no reader sees half a picture
        file.write_bytes(picture)
        return str(file.replace(self.folder / sha256(picture).hexdigest()))

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.folder):
            yield from (Path(folder, name) for name in names)
