"""Where the answers of a batch go: a line a row in one file, a file a row in a folder.

A run that is killed anywhere and run again neither repeats a line nor loses one: what
is missing is written from the ledger. Raises OutputError.
"""

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from bgresp.core.errors import OutputError, UsageError
from bgresp.core.model import Job
from bgresp.ledger import files

_BEGINS: Final = b'{"id": "'
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(slots=True)
class DiskSet:
    """A set of texts with a number each, as a context manager."""

    _db: sqlite3.Connection = field(init=False, repr=False)

    def __enter__(self) -> Self:
        """Open it, empty; it may be used in another thread than it was made in."""
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in (
            "synchronous=OFF",
            "journal_mode=OFF",
            "locking_mode=EXCLUSIVE",
        ):
            self._db.execute(f"PRAGMA {setting}").close()
        columns = "digest BLOB PRIMARY KEY, number INTEGER"
        self._db.execute(f"CREATE TABLE seen ({columns}) WITHOUT ROWID").close()
        return self

    def __exit__(self, *_: object) -> None:
        """Drop it."""
        self._db.close()

    def add(self, number: int, *parts: str) -> int | None:
        """Add a thing; return the number that it was met with before, None if never."""
        key = _digest(parts)
        with closing(
            self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, number))
        ) as added:
            if added.rowcount:
                return None
        query = "SELECT number FROM seen WHERE digest = ?"
        with closing(self._db.execute(query, (key,))) as found:
            return int(found.fetchone()[0])


def _digest(parts: tuple[str, ...]) -> bytes:
    """Return 128 bits: two of a million texts share them once in 10^26 batches."""
    text = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()[:16]


@dataclass(slots=True)
class Results:
    """The file of `--results`, opened to append; the caller has it for itself."""

    path: Path
    _fd: int
    _seen: DiskSet

    @classmethod
    @contextmanager
    def at(cls, path: Path) -> Iterator[Self]:
        """Open the file, and learn what it has; a torn last line of ours is cut off.

        Raises UsageError where it is something else, which is left as it is.
        """
        with DiskSet() as seen:
            fd = _opened(path)
            try:
                end = _read(path, fd, seen)
                os.ftruncate(fd, end)
                yield cls(path, fd, seen)
                files.sync_data(fd)
            except OSError as error:
                raise OutputError(f"cannot write {path}: {error.strerror}") from error
            finally:
                os.close(fd)

    def add(self, job: Job, text: str | None) -> None:
        """Write a row's line, unless the file has it."""
        if self._seen.add(0, *_what(job.row, job.id, job.status.value)) is not None:
            return
        line = {
            "id": job.row,
            "job": job.id,
            "status": job.status.value,
            "text": text,
            "usage": job.usage.to_dict() if job.usage else None,
            "error": _error(job),
            "ended_with": job.ended_with,
        }
        data = memoryview(json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n")
        end = os.fstat(self._fd).st_size
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, end)
            raise


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of `--out-dir`, where each answer is a file named as its row.

    With `by_group` each group has a folder in it, where its name is a safe one.
    """

    path: Path
    suffix: str = ".txt"
    by_group: bool = False

    @classmethod
    def made(cls, name: str, *, suffix: str = ".txt", by_group: bool = False) -> Self:
        """Make the folder.

        Raises UsageError.
        """
        path = Path(name)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out-dir {name}: {error.strerror}") from None
        return cls(path, suffix, by_group)

    def add(self, job: Job, text: str | bytes) -> Path:
        """Write a job's answer whole, or leave the same one; return where it is."""
        target, data = self.path / self.name_of(job), _bytes(text)
        try:
            if self.by_group:
                target.parent.mkdir(exist_ok=True)
            if target.exists() and target not in target.parent.iterdir():
                # A disk that ignores case has another row's answer there.
                target = target.parent / f"{job.key}{self.suffix}"
            if target.is_file() and target.read_bytes() == data:
                return target
            files.write_whole(target, [data], mode=files.PUBLIC_FILE)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}") from error
        return target

    def name_of(self, job: Job) -> str:
        """Return the name of a job's file: its row's where that is a safe one."""
        group = job.group if self.by_group and is_safe(job.group or "") else None
        # Outside its group's folder a row's id would be another group's too.
        alone = self.by_group and group is None
        stem = job.key if alone or not is_safe(job.row or "") else job.row
        return f"{group}/{stem}{self.suffix}" if group else f"{stem}{self.suffix}"


def is_safe(name: str) -> bool:
    """Say whether a name is a file's on every system, and neither hidden nor an option.

    Letters that are not ASCII have two spellings, which a Mac takes for one.
    """
    return _SAFE.fullmatch(name) is not None


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"--results {path}: {error.strerror}") from None


def _read(path: Path, fd: int, seen: DiskSet) -> int:
    """Note the lines of a file; return where the last whole one ends."""
    end = 0
    with open(fd, "rb", closefd=False) as file:
        for number, line in enumerate(file, 1):
            what = _line(line)
            if not line.endswith(b"\n") and (what or _is_torn(line)):
                break
            if what is None:
                raise UsageError(
                    f"--results {path}:{number}: not a line of a batch's results",
                    hint="name another file: it is written whole from the ledger",
                )
            seen.add(0, *what)
            end += len(line)
    return end


def _is_torn(line: bytes) -> bool:
    return line.startswith(_BEGINS) or _BEGINS.startswith(line)


def _line(line: bytes) -> tuple[str, ...] | None:
    try:
        found: Any = json.loads(line)
        return _what(found["id"], found["job"], found["status"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _what(row: Any, id_: Any, status: Any) -> tuple[str, ...]:
    """Return what one line says that no other does."""
    return str(row), "" if id_ is None else f"={id_}", str(status)


def _error(job: Job) -> dict[str, str] | None:
    """Return why there is no answer: the endpoint's words, else our own."""
    if job.error is not None:
        return job.error.to_dict()
    reason = job.incomplete_reason or job.last_error
    if reason is None or job.status.exit_code == 0:
        return None
    return {"code": job.status.value, "message": reason}


def _bytes(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    return data if data.endswith(b"\n") or not data else data + b"\n"
