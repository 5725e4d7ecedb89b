"""A manifest's rows as a stream, each checked and named by its line; their drafts.

Nothing is kept of a row that was read, but that its id was met.
"""

import asyncio
import csv
import io
import shlex
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import PurePath
from typing import Any, BinaryIO, Final

from bgresp.batch.results import DiskSet
from bgresp.core.dialect import Dialect
from bgresp.core.errors import NoSuchJobError, UsageError
from bgresp.core.manifest import Reading, Row, Shard
from bgresp.core.model import Job
from bgresp.core.request import MAX_PROMPT, Draft, Request, check_clashes, drafted
from bgresp.core.text import BYTE_ORDER_MARK, NotUtf8Error, refuse_wide

MOST_BYTES: Final = 4 * MAX_PROMPT
AHEAD: Final = 16
STDIN: Final = "stdin"
WHOLE: Final = Shard()


# By the end of a manifest's name; any other is JSON Lines.
DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}


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
    reading: Reading = field(default_factory=Reading)
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
        asked = replace(
            base,
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
        record = replace(
            self.job,
            row=row.id,
            name=row.name,
            labels={**self.job.labels, **row.labels},
            submitted_at=self.now(),
        )
        draft = drafted(record, asked, self.dialect, stream=self.stream)
        return replace(draft, keep=self.keep)
