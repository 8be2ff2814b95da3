"""The file of answers: locked, mended, appended to, and cleared of outdated failures."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from .brake import logger
from .keys import Keys, to_line
from .rows import Row
from .run import Result

if TYPE_CHECKING:
    from filelock import FileLock


@dataclass
class Summary:
    """How far a run is.

    Attributes:
        total: the number of questions, or None if that is not known.
        skipped: questions that earlier runs had answered.
        answered: questions that this run has answered.
        failed: the number of failed questions by the kind of the error.
        asked_again: how often a question was asked once more.
        seconds: since the start.
    """

    total: int | None = None
    skipped: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    asked_again: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.skipped + self.answered + self.failed.total()

    @property
    def a_minute(self) -> float:
        return 60 * self.answered / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.failed.most_common())
        failed = f"{self.failed.total()} failed ({kinds})" if kinds else "0 failed"
        earlier = f" and {self.skipped} earlier" if self.skipped else ""
        return (f"{self.answered} answered{earlier}, {failed}, {self.asked_again} asked again, "
                f"{self.a_minute:.1f} a minute")


class AnswerFile:
    """The answers in a file, locked and open for more.

    Attributes:
        path: the file, without symbolic links.
        summary: what this run has done.
        complete: this run has read all questions.
    """

    def __init__(self, path: Path, keys: Keys, only_failed: bool = False) -> None:
        if path.suffix.lower() in (".csv", ".json", ".parquet", ".xlsx"):
            raise ValueError(f"answers are lines of JSON; give {path.with_suffix('.jsonl').name}")
        if path.exists() and not path.is_file():
            raise ValueError(f"answers must be a file, and {path} is none")
        self.path = path.resolve()
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path.parent}")
        self.summary = Summary()
        self.complete = False
        self._keys = keys
        self._only_failed = only_failed
        self._answered: dict[str, int] = {}  # the number of the line to keep for each key
        self._failed: dict[str, int] = {}
        self._earlier = self._lines = 0

    def __enter__(self) -> AnswerFile:
        self._lock = _lock(self.path)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            oldest = self._earlier if self.complete else 0  # who failed earlier was asked again
            failed = {number for number in self._failed.values() if number >= oldest}
            if self._lines > len(self._answered) + len(failed):
                self._drop_outdated(failed.union(self._answered.values()))
        finally:
            os.close(self._fd)
            self._lock.release()

    def read(self) -> None:
        """Read the answers that are there, and mend a last line that was cut off.

        Raises:
            ValueError: the file holds something else. It has not been changed.
        """
        end, line, lines = 0, b"\n", 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file):
                try:
                    self._note(*self._read_line(line, number), number)
                except (ValueError, LookupError, TypeError) as error:
                    cut_off = line.startswith(b"{") and not line.endswith(b"\n")
                    if not cut_off or not isinstance(error, ValueError):
                        raise ValueError(
                            f"{self.path}, line {number + 1}, is no answer of an earlier run; give "
                            "another file for the answers, or remove that line") from None
                    logger.warning("%s: the cut-off last line was removed", self.path)
                    os.truncate(self.path, end)
                    line = b"\n"
                    break
                lines, end = number + 1, end + len(line)
        self._earlier = self._lines = lines
        if not line.endswith(b"\n"):
            os.write(self._fd, b"\n")

    def _read_line(self, line: bytes, number: int) -> tuple[str, bool]:
        columns = json.loads(line)
        answered = "answer" in columns
        if not answered and "error" not in columns:
            raise LookupError
        if answered:
            self._keys.answered(columns, f"answer {number + 1} in {self.path.name}")
        return str(columns["key"]), answered

    def _note(self, key: str, answered: bool, number: int) -> None:
        """Remember which line to keep: the first answer, or else the last failure."""
        if answered:
            self._answered.setdefault(key, number)
            self._failed.pop(key, None)
        elif key not in self._answered:
            self._failed[key] = number

    def accept(self, row: Row) -> bool:
        """Give the row its key. Return whether this run is to ask it."""
        self._keys.set_key(row)
        if row.key in self._answered:
            self.summary.skipped += 1
            return False
        return bool(row.key) and (row.key in self._failed or not self._only_failed)

    def write(self, key: str, result: Result) -> None:
        line = to_line({**result, "key": key})
        end = os.fstat(self._fd).st_size
        try:
            while line:  # a full disk may take a part
                line = line[os.write(self._fd, line):]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, end)
            reason = f"{error.strerror}; the answers before this one are safe"
            raise OSError(error.errno, reason, str(self.path)) from None
        self._note(key, "answer" in result, self._lines)
        self._lines += 1
        if "answer" in result:
            self.summary.answered += 1
        else:
            self.summary.failed[result["error"]["kind"]] += 1

    def _drop_outdated(self, kept: set[int]) -> None:
        """Remove the failures of questions that have been answered, or asked again, since."""
        try:
            with open(self.path, "rb") as file:
                self._replace(line for number, line in enumerate(file) if number in kept)
        except OSError as error:  # nothing is lost: the file has some lines too many
            logger.warning("%s keeps outdated failures: %s", self.path, error.strerror)

    def _replace(self, lines: Iterable[bytes]) -> None:
        """Replace the file by one with these lines. Its mode stays."""
        # In a new file: others may have put a file or a link where they expect ours.
        with NamedTemporaryFile(
            dir=self.path.parent, prefix=f"{self.path.name}.", suffix=".tmp", delete=False
        ) as copy:
            try:
                copy.writelines(lines)
                copy.flush()
                os.fsync(copy.fileno())
                shutil.copymode(self.path, copy.name)
                os.replace(copy.name, self.path)
            except BaseException:
                os.unlink(copy.name)
                raise


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
