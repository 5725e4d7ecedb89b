"""The jobs on disk: for each a record, its request and its events.

`ID.json` is the record (replaced whole), `ID.request.json` the body as it came,
`ID.events.jsonl` the events of a streamable job. Nothing here knows the network.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bgresp.serve.log import Event, regular, replay
from bgresp.serve.wire import ID, STATUSES, Json, dumps

RECORD: Final = ".json"
_REQUEST: Final = ".request.json"
_EVENTS: Final = ".events.jsonl"
_NOTICE: Final = ".webhook.json"  # owed until it was taken
_SUFFIXES: Final = (RECORD, _REQUEST, _EVENTS, _NOTICE)
_ID_LENGTH: Final = len("resp_") + 32
_NEEDED: Final = frozenset({"id", "status", "background", "model", "output", "error"})
_HEAD: Final = 4096  # an entry stands at the beginning of its record


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
