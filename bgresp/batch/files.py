"""A batch's files: the manifest that is read, and where the answers are written.

A manifest's rows are a stream, each checked and named by its line; nothing is kept of a
row that was read, but that its id was met. Answers go to a line a row in one file, or a
file a row in a folder: a run that is killed anywhere and run again neither repeats a
line nor loses one, what is missing is written from the ledger. Raises OutputError.
"""

import asyncio
import csv
import hashlib
import io
import json
import os
import re
import shlex
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final, Self

from bgresp.core.dialect import Dialect
from bgresp.core.errors import NoSuchJobError, OutputError, UsageError
from bgresp.core.manifest import Row, RowReading, Shard
from bgresp.core.model import Job
from bgresp.core.request import MAX_PROMPT, Draft, Request, check_clashes, drafted
from bgresp.core.text import BYTE_ORDER_MARK, NotUtf8Error, refuse_wide
from bgresp.ledger import files

MOST_BYTES: Final = 4 * MAX_PROMPT
AHEAD: Final = 16  # rows that are read before they are asked for
STDIN: Final = "stdin"
WHOLE: Final = Shard()


# By the end of a manifest's name; any other is JSON Lines.
DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
_BEGINS: Final = b'{"id": "'
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def delimiter_of(name: str, *, csv: bool = False) -> str | None:
    """Return what stands between the cells of a manifest; None of JSON Lines.

    `csv` says that it is one, whatever its name.
    """
    found = DELIMITERS.get(PurePath(name).suffix.lower())
    return found or ("," if csv else None)


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from; with a `delimiter` it is a CSV.

    One that has no row at all is an error, unless it is `allow_empty`.
    """

    name: str
    open: Callable[[], BinaryIO]
    reading: RowReading = field(default_factory=RowReading)
    delimiter: str | None = None
    shard: Shard = WHOLE
    allow_empty: bool = False

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield the shard's rows with the lines that they stand on.

        Raises UsageError that names the line and the field, also of other shards' rows,
        and where an id was met before; NoSuchJobError where there is no row.
        """
        read = self._json if self.delimiter is None else self._csv
        line = 0
        with self.open() as stream, DiskSet() as seen:
            for line, row in read(stream):
                before = seen.add(line, row.id)
                if before is not None:
                    raise self.bad(line, f"id: {row.id!r} is the row of line {before}")
                if self.shard.has(row.id):
                    yield line, row
        if not line and not self.allow_empty:
            raise NoSuchJobError(
                f"{self.name} has no rows", hint="--allow-empty lets it have none"
            )

    def bad(self, line: int, message: str, *, hint: str = "") -> UsageError:
        """Return the error of a line."""
        return UsageError(f"{self.name}:{line}: {message}", hint=hint)

    @contextmanager
    def naming(self, line: int) -> Iterator[None]:
        """Name the line in what is refused within."""
        try:
            yield
        except UsageError as error:
            raise self.bad(line, error.message, hint=error.hint) from None

    def _json(self, stream: BinaryIO) -> Iterator[tuple[int, Row]]:
        number = count = 0
        while raw := stream.readline(MOST_BYTES + 1):
            number += 1
            if len(raw) > MOST_BYTES:
                raise self.bad(number, f"longer than {MOST_BYTES >> 20} MiB")
            line = self._begun(raw) if number == 1 else raw
            if line.strip():
                count += 1
                with self.naming(number):
                    row = self.reading.from_json(line, count)
                yield number, row

    def _begun(self, raw: bytes) -> bytes:
        """Return the first line without a byte order mark, and refuse UTF-16."""
        try:
            refuse_wide(raw, None if self.name == STDIN else self.name)
        except NotUtf8Error as error:
            raise self.bad(1, str(error), hint=error.hint) from None
        return raw.removeprefix(BYTE_ORDER_MARK)

    def _csv(self, stream: BinaryIO) -> Iterator[tuple[int, Row]]:
        csv.field_size_limit(MOST_BYTES)
        count = 0
        with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            lines = self._lines(text)
            try:
                head = next(lines, "")
            except UnicodeDecodeError as error:
                raise self._misencoded(error, 1) from None
            reader = csv.reader(
                chain([head], lines), strict=True, delimiter=self._separator(head)
            )
            found = self._record(reader)
            if not found:
                return
            columns = [name.strip() for name in found]
            with self.naming(1):
                self.reading.check_columns(columns)
            while True:
                start = reader.line_num + 1
                cells = self._record(reader)
                if cells is None:
                    return
                if cells:
                    count += 1
                    with self.naming(start):
                        row = self.reading.from_record(columns, cells, count)
                    yield start, row

    def _separator(self, head: str) -> str:
        """Return what stands between cells: where commas are decimal it is a `;`."""
        others = [mark for mark in ";\t" if mark in head]
        if self.delimiter == "," and "," not in head and others:
            return others[0]
        return self.delimiter or ","

    def _misencoded(self, error: UnicodeDecodeError, start: int) -> UsageError:
        """Return the error of a chunk that begins within line `start`."""
        if start == 1:
            self._begun(error.object)
        name = "FILE" if self.name == STDIN else shlex.quote(self.name)
        return self.bad(
            start + error.object[: error.start].count(b"\n"),
            "not UTF-8",
            hint=f"if it is of Windows: iconv -f WINDOWS-1252 -t UTF-8 {name} > FIXED",
        )

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        number = 0
        while line := text.readline(MOST_BYTES + 1):
            number += 1
            if len(line) > MOST_BYTES:
                raise self.bad(number, f"longer than {MOST_BYTES >> 20} MiB")
            if number == 1:  # UTF-16 without a mark decodes, as text full of NULs
                self._begun(line.encode("utf-8"))
            yield line

    def _record(self, reader: Any) -> list[str] | None:
        """Return the next record of a CSV; None at the end."""
        start = reader.line_num + 1
        try:
            found: list[str] | None = next(reader, None)
        except UnicodeDecodeError as error:
            raise self._misencoded(error, start) from None
        except csv.Error as error:
            raise self.bad(start, f"not CSV ({error})") from None
        return found


async def from_thread(
    rows: Iterator[tuple[int, Row]],
) -> AsyncGenerator[tuple[int, Row], None]:
    """Yield rows that may be long in coming, and leave the loop free meanwhile.

    The thread is a daemon: one that waits for a pipe must not hold up the end.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[Any] = asyncio.Queue(AHEAD)

    def give(item: Any) -> None:
        asyncio.run_coroutine_threadsafe(ready.put(item), loop).result()

    def pump() -> None:
        with suppress(RuntimeError, asyncio.CancelledError):  # the loop is gone
            try:
                for row in rows:
                    give(row)
            except Exception as error:  # noqa: BLE001  raised again by who reads
                give(error)
            else:
                give(None)

    threading.Thread(target=pump, daemon=True).start()
    while (item := await ready.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item


async def from_disk(
    rows: Iterator[tuple[int, Row]],
) -> AsyncGenerator[tuple[int, Row], None]:
    """Yield rows of a file, letting others work in between."""
    for row in rows:
        yield row
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class RowDrafts:
    """What all rows of a batch share; a row's own fields win over `request` and `job`.

    `text` reads and checks a row's prompt: None where its body says it all.
    """

    job: Job
    request: Request
    dialect: Dialect
    text: Callable[[Row], str | None]
    stream: bool = False
    keep: bool = True
    now: Callable[[], float] = time.time

    def draft(self, row: Row) -> Draft:
        """Return the draft of a row.

        Raises UsageError, RefusedError: nothing may be sent then.
        """
        base = self.request
        body = {**(base.body or {}), **(row.body or {})}
        asked = base._replace(
            text=self.text(row),
            model=row.model or base.model,
            metadata={**base.metadata, **row.metadata},
            body=body or None,
            variables={**base.variables, **row.variables},
        )
        own = Request(
            text=asked.text,
            model=row.model,
            metadata=row.metadata,
            attachments=base.attachments,
            body=asked.body,
            changes=base.changes,
        )
        check_clashes(own, self.dialect)
        record = self.job._replace(
            row=row.id,
            name=row.name,
            labels={**self.job.labels, **row.labels},
            submitted_at=self.now(),
        )
        draft = drafted(record, asked, self.dialect, stream=self.stream)
        return draft._replace(keep=self.keep)


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
                with _blamed(path):
                    os.ftruncate(fd, _read(path, fd, seen))
                yield cls(path, fd, seen)  # what fails within is not this file's
                with _blamed(path):
                    files.sync_data(fd)
            finally:
                os.close(fd)

    def add(self, job: Job, text: str | None) -> None:
        """Write a row's line, unless the file has it. Raises OutputError."""
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
        data = json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n"
        with _blamed(self.path):
            end = os.fstat(self._fd).st_size
            try:
                files.write_all(self._fd, data)
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
        """Write a job's answer whole, or leave the same one; return where it is.

        Raises OutputError.
        """
        target, data = self.path / self.name_of(job), _bytes(text)
        with _blamed(target):
            if self.by_group:
                target.parent.mkdir(exist_ok=True)
            if target.exists() and target not in target.parent.iterdir():
                # A disk that ignores case has another row's answer there.
                target = target.parent / f"{job.key}{self.suffix}"
            if target.is_file() and target.read_bytes() == data:
                return target
            files.write_whole(target, [data], mode=files.PUBLIC_FILE)
        return target

    def name_of(self, job: Job) -> str:
        """Return the name of a job's file: its row's where that is a safe one."""
        group = job.group if self.by_group and is_safe(job.group or "") else None
        # Outside its group's folder a row's id would be another group's too.
        alone = self.by_group and group is None
        stem = job.key if alone or not is_safe(job.row or "") else job.row
        return f"{group}/{stem}{self.suffix}" if group else f"{stem}{self.suffix}"


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


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
