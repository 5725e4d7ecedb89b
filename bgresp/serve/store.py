"""The jobs on disk: for each a record, its request and its events.

`ID.json` is the record (replaced whole), `ID.request.json` the body as it came,
`ID.events.jsonl` the events of a streamable job: appended once, followed by any number
of readers. The n-th event has sequence_number n; on disk it is one JSON object a line.
Memory holds the newest events alone: a reader that lags reads the file, so that neither
its pace nor the length of the answer costs more. Nothing here knows the network.
"""

import asyncio
import contextlib
import errno
import json
import math
import os
import re
import stat
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bgresp.serve.wire import ID, STATUSES, Json, dumps

RECORD: Final = ".json"
_REQUEST: Final = ".request.json"
_EVENTS: Final = ".events.jsonl"
_NOTICE: Final = ".webhook.json"  # owed until it was taken
_SUFFIXES: Final = (RECORD, _REQUEST, _EVENTS, _NOTICE)
_ID_LENGTH: Final = len("resp_") + 32
_NEEDED: Final = frozenset({"id", "status", "background", "model", "output", "error"})
_HEAD: Final = 4096  # an entry stands at the beginning of its record


QUIET: Final = 15.0  # seconds of silence after which a stream shows that it lives
_KEPT: Final = 262_144  # bytes of the newest events that stay in memory
_CHUNK: Final = 65_536
_PIECE: Final = 1_048_576
_TYPE: Final = re.compile(rb'\{"type":"([a-z_.]+)"')


# ---- the events of one job --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is kept and sent."""

    type: str
    data: str

    def frame(self) -> bytes:
        """Return the event as a server-sent event."""
        return f"event: {self.type}\ndata: {self.data}\n\n".encode()


def numbered(payload: Json, number: int) -> Event:
    """Return a payload as the event of that number; its type stands first."""
    kind = str(payload["type"])
    return Event(kind, dumps({"type": kind, **payload, "sequence_number": number}))


class EventLog:
    """An append-only list of events in a file, the newest also in memory."""

    def __init__(self, path: Path) -> None:
        """Open the file; what is in it stays up to the first line that is not whole.

        Raises OSError.
        """
        self._path = path
        # A pipe in the file's place is an error then, not something to wait for.
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o600)
        self._ends = array("Q")
        self._recent: deque[Event] = deque()
        self._recent_size = 0
        self._extra: list[Event] = []
        self._grown = asyncio.Event()
        self._closed = False
        self._followers = 0
        try:
            _check_regular(self._handle, path)
            for end, _ in _lines(self._handle):
                self._ends.append(end)
            os.ftruncate(self._handle, self.size)
        except OSError:
            os.close(self._handle)
            raise

    @property
    def size(self) -> int:
        """Return the bytes of the file."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._ends) + len(self._extra)

    def payloads(self) -> Iterator[Json]:
        """Iterate over the events in the file, as they were appended."""
        return (payload for _, payload in _lines(self._handle))

    def append(self, *payloads: Json) -> None:
        """Give each payload its number, write it down, wake the readers.

        Raises OSError where the disk does not take them; then none of them is there.
        """
        first = len(self._ends)
        events = [numbered(p, first + n) for n, p in enumerate(payloads)]
        lines = [event.data.encode("ascii") + b"\n" for event in events]
        self._write(b"".join(lines))
        for event, line in zip(events, lines, strict=True):
            self._ends.append(self.size + len(line))
            self._recent.append(event)
            self._recent_size += len(line)
        while self._recent_size > _KEPT:
            self._recent_size -= len(self._recent.popleft().data) + 1
        self._wake()

    def append_last(self, payload: Json) -> None:
        """Append the last event; its readers get it even if the disk is full."""
        try:
            self.append(payload)
        except OSError:
            self._extra.append(numbered(payload, len(self._ends)))
            self._wake()
            raise

    def clear(self) -> None:
        """Drop every event: the next one is number 0 again. Raises OSError.

        It is for a job that begins anew, before anyone reads its log.
        """
        os.ftruncate(self._handle, 0)
        self._ends = array("Q")
        self._recent.clear()
        self._recent_size = 0
        self._extra = []

    def close(self) -> None:
        """Say that no event will follow."""
        self._closed = True
        self._let_go()
        self._wake()

    async def follow(
        self, after: int, *, quiet: float = QUIET
    ) -> AsyncIterator[Event | None]:
        """Yield the events above `after` as they come; None when it is quiet."""
        number = after + 1
        self._followers += 1
        try:
            if self._handle < 0:
                self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            while True:
                grown = self._grown
                while number < len(self):
                    for event in self._from(number):
                        yield event
                        number += 1
                if self._closed:
                    return
                try:
                    await asyncio.wait_for(grown.wait(), quiet)
                except TimeoutError:
                    yield None
        finally:
            self._followers -= 1
            self._let_go()

    def _from(self, number: int) -> list[Event]:
        """Return some events from that one on: from memory, or a piece of the file."""
        written = len(self._ends)
        if number >= written:
            return self._extra[number - written :]
        oldest = written - len(self._recent)
        if number >= oldest:
            return [self._recent[number - oldest]]
        start = self._ends[number - 1] if number else 0
        last = number
        while last + 1 < oldest and self._ends[last + 1] - start <= _CHUNK:
            last += 1
        piece = os.pread(self._handle, self._ends[last] - start, start)
        return [_event(line) for line in piece.split(b"\n")[:-1]]

    def _write(self, lines: bytes) -> None:
        start, written = self.size, 0
        try:
            while written < len(lines):
                written += os.pwrite(self._handle, lines[written:], start + written)
        except OSError:
            if written:
                os.ftruncate(self._handle, start)  # nobody may meet half a line
            raise

    def _let_go(self) -> None:
        """Close the file once nobody writes or reads it any more."""
        if self._closed and not self._followers and self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


def replay(path: Path, after: int) -> Iterator[tuple[int, Event]]:
    """Yield the number and event of a finished job's events above `after`.

    It ends before the first line that is not whole, and without a file at once.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _check_regular(handle, path)
        for number, (_, payload) in enumerate(_lines(handle)):
            if number > after:
                yield number, Event(str(payload["type"]), dumps(payload))
    except OSError:
        return
    finally:
        os.close(handle)


def regular(path: Path, limit: int = -1) -> bytes:
    """Read a regular file, or its first bytes; a pipe would be waited for.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _check_regular(handle, path)
        return file.read(limit)


def _check_regular(handle: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))


def _lines(handle: int) -> Iterator[tuple[int, Json]]:
    """Yield where each whole line ends and its payload, a piece of the file at a time.

    A line that a crash cut, or that has another number, ends it.
    """
    rest, position, end, number = b"", 0, 0, 0
    while piece := os.pread(handle, _PIECE, position):
        position += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            end += len(line) + 1
            payload = _payload(line, number)
            if payload is None:
                return
            yield end, payload
            number += 1


def _payload(line: bytes, number: int) -> Json | None:
    try:
        payload = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict) or payload.get("sequence_number") != number:
        return None
    return payload if isinstance(payload.get("type"), str) else None


def _event(line: bytes) -> Event:
    found = _TYPE.match(line)
    kind = found[1].decode() if found else str(json.loads(line)["type"])
    return Event(kind, line.decode("ascii"))


# ---- all jobs ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of a job without reading its response.

    `digest` is that of the request, `created` and `ended` are Unix seconds.
    """

    id: str
    tenant: str
    created: float
    background: bool
    streamable: bool
    stored: bool = True
    idempotency_key: str | None = None
    ended: float | None = None
    digest: str | None = None


class DamagedError(Exception):
    """A file of a job cannot be read as what it is; costs that job alone."""


class Store:
    """A folder of jobs and its index in memory, oldest job first."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; `load` reads it."""
        self._folder = folder
        self._entries: dict[str, Entry] = {}
        self._by_key: dict[tuple[str, str], str] = {}
        self._sizes: dict[str, int] = {}
        self._owed: set[str] = set()

    @property
    def size(self) -> int:
        """Return the bytes that the jobs take, as far as they are measured."""
        return sum(self._sizes.values())

    def load(self) -> None:
        """Create the folder or index what lies in it; skip what is not a record."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        records: set[str] = set()
        others: set[str] = set()
        with os.scandir(self._folder) as found:
            for file in found:
                job_id = file.name[:_ID_LENGTH]
                suffix = file.name[_ID_LENGTH:]
                if not ID.fullmatch(job_id):
                    continue
                if suffix in _SUFFIXES:
                    (records if suffix == RECORD else others).add(job_id)
                    if suffix == _NOTICE:
                        self._owed.add(job_id)
                    with contextlib.suppress(OSError):
                        size = file.stat(follow_symlinks=False).st_size
                        self._sizes[job_id] = self._sizes.get(job_id, 0) + size
                elif suffix.endswith(".tmp"):
                    with contextlib.suppress(OSError):  # a folder is no matter
                        Path(file.path).unlink()
        for job_id in others - records:
            self.discard(job_id)  # accepting it was cut: nobody was told of it
        read = (self._entry(job_id) for job_id in records)
        entries = [entry for entry in read if entry is not None]
        for entry in sorted(entries, key=lambda entry: entry.created):
            self.index(entry)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over a copy of the index, oldest first."""
        return iter(list(self._entries.values()))

    def get(self, job_id: str) -> Entry | None:
        """Return the entry of a job."""
        return self._entries.get(job_id)

    def by_key(self, tenant: str, idempotency_key: str) -> Entry | None:
        """Return the job that a tenant created under an idempotency key."""
        return self._entries.get(self._by_key.get((tenant, idempotency_key), ""))

    def write_new(
        self, entry: Entry, request: Json, response: Json, notice: Json | None = None
    ) -> None:
        """Put a new job on disk, synced, but not yet into the index; any thread may.

        `notice` is who is told of its end. Raises OSError; what was written then is
        left to `discard`.
        """
        if notice is not None:
            _replace(self._path(entry.id, _NOTICE), notice, sync=True)
            self._owed.add(entry.id)
        _replace(self._path(entry.id, _REQUEST), request, sync=entry.background)
        record = {"entry": asdict(entry), "response": response}
        _replace(self._path(entry.id, RECORD), record, sync=entry.background)
        if entry.background:
            self._sync_folder()

    def index(self, entry: Entry) -> None:
        """Take a job into the index."""
        self._entries[entry.id] = entry
        if entry.idempotency_key is not None:
            self._by_key[entry.tenant, entry.idempotency_key] = entry.id

    def put(self, entry: Entry, response: Json) -> None:
        """Replace the record of a job; one that has ended is synced. Raises OSError."""
        record = {"entry": asdict(entry), "response": response}
        ended = entry.ended is not None
        _replace(self._path(entry.id, RECORD), record, sync=ended)
        self.index(entry)
        self.measure(entry.id)

    def measure(self, job_id: str) -> None:
        """Take note of how much a job takes on disk."""
        size = 0
        for suffix in _SUFFIXES:
            with contextlib.suppress(OSError):
                size += self._path(job_id, suffix).stat().st_size
        self._sizes[job_id] = size

    def response(self, job_id: str) -> Json:
        """Read the Response object of a job.

        Raises FileNotFoundError where it is gone, DamagedError where it is no record.
        """
        response = self._read(job_id, RECORD).get("response")
        if isinstance(response, dict) and response.keys() >= _NEEDED:
            status = response["status"]
            if isinstance(status, str) and status in STATUSES:
                return response
        raise DamagedError(job_id)

    def request(self, job_id: str) -> Json:
        """Read the body that created a job.

        Raises FileNotFoundError where it is gone, DamagedError where it is no request.
        """
        request = self._read(job_id, _REQUEST)
        if not isinstance(request.get("input"), str | list):
            raise DamagedError(job_id)
        return request

    def events_path(self, job_id: str) -> Path:
        """Return the file of a job's events."""
        return self._path(job_id, _EVENTS)

    def events(self, job_id: str, after: int) -> Iterator[tuple[int, Event]]:
        """Yield the number and event of a job's events above `after`."""
        return replay(self.events_path(job_id), after)

    def is_owed(self, job_id: str) -> bool:
        """Say whether somebody is to be told of a job's end."""
        return job_id in self._owed

    def notice(self, job_id: str) -> Json | None:
        """Read who is told of a job's end; None where that cannot be known any more."""
        try:
            return self._read(job_id, _NOTICE)
        except (FileNotFoundError, DamagedError):
            return None

    def settle(self, job_id: str) -> None:
        """Drop who is told of a job's end: it was told."""
        self._owed.discard(job_id)
        with contextlib.suppress(OSError):
            self._path(job_id, _NOTICE).unlink()

    def forget(self, job_id: str) -> None:
        """Drop a job from the index and the disk."""
        entry = self._entries.pop(job_id)
        if entry.idempotency_key is not None:
            self._by_key.pop((entry.tenant, entry.idempotency_key), None)
        self.discard(job_id)

    def discard(self, job_id: str) -> None:
        """Drop the files of a job, its record first."""
        self._sizes.pop(job_id, None)
        self._owed.discard(job_id)
        for suffix in _SUFFIXES:
            for name in (suffix, f"{suffix}.tmp"):
                with contextlib.suppress(
                    OSError
                ):  # not there, or a folder in its place
                    self._path(job_id, name).unlink()

    def _read(self, job_id: str, suffix: str) -> Json:
        path = self._path(job_id, suffix)
        try:
            found = json.loads(regular(path))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, RecursionError):
            raise DamagedError(job_id) from None
        if not isinstance(found, dict):
            raise DamagedError(job_id)
        return found

    def _entry(self, job_id: str) -> Entry | None:
        """Read the entry of a record; None where it is none.

        Whatever lies there, of whatever kind and types, costs that job alone.
        """
        path = self._path(job_id, RECORD)
        try:
            fields = _entry_at_head(regular(path, _HEAD))
            if fields is None:
                fields = json.loads(regular(path))["entry"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        if not isinstance(fields, dict):
            return None
        known = {name: fields[name] for name in _FIELDS if name in fields}
        required = known.keys() >= _FIELDS.keys() - _OPTIONAL
        if not required or not all(_FIELDS[name](known[name]) for name in known):
            return None
        entry = Entry(**known)
        return entry if entry.id == job_id else None

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _path(self, job_id: str, suffix: str) -> Path:
        if not ID.fullmatch(job_id):
            raise ValueError(job_id)  # nothing but our own ids becomes a file name
        return self._folder / f"{job_id}{suffix}"


def _entry_at_head(head: bytes) -> Any:
    """Return the entry that a record begins with; None where more must be read."""
    start = b'{"entry":'
    if not head.startswith(start):
        return None
    try:
        text = head.decode("ascii")
        found, _ = json.JSONDecoder().raw_decode(text, len(start))
    except (ValueError, RecursionError):
        return None
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _END_OF_TIME and math.isfinite(value)


_END_OF_TIME: Final = 1 << 40  # in seconds; a later time would break every int()
_FIELDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "id": _is_text,
    "tenant": _is_text,
    "created": _is_time,
    "background": _is_switch,
    "streamable": _is_switch,
    "stored": _is_switch,
    "idempotency_key": _is_text_or_none,
    "ended": lambda value: value is None or _is_time(value),
    "digest": _is_text_or_none,
}
_OPTIONAL: Final = frozenset({"stored", "idempotency_key", "ended", "digest"})


def _replace(path: Path, value: Json, *, sync: bool = False) -> None:
    """Write a file beside its place and rename it there."""
    temporary = path.with_name(f"{path.name}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(dumps(value))
        if sync:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
