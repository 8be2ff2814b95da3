"""The folder with the pictures of visitors: what lies in it, how much, and for how long."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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


class Uploads:
    """The folder of Gradio's uploads, which is also its cache.

    Gradio deletes only what it has a list of: no upload that broke off, and no folder.

    Args:
        folder: its path, without links.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own: frozenset[Path] = frozenset()

    def keep_present(self) -> None:
        """Never delete what is in the folder now: the page's example."""
        self._own = frozenset(self._files())

    def find(self, path: str) -> Path | None:
        """Return the file of this path if it lies in the folder, links resolved."""
        with suppress(OSError, ValueError, RuntimeError):  # as for a NUL, or links in a circle
            found = Path(path).resolve(strict=True)
            if found.is_relative_to(self.folder) and found.is_file():
                return found
        return None

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes more are still within the bound, and on the disk."""
        used = 0
        for path in self._files():
            with suppress(OSError):  # deleted meanwhile
                used += max(_LEAST, path.lstat().st_size)
        free = shutil.disk_usage(self.folder).free
        return used + size <= MAX_FOLDER and size <= free - _SPARE

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

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.folder):
            yield from (Path(folder, name) for name in names)
