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
from typing import Any

from bgresp.serve.log import Event, read, regular
from bgresp.serve.wire import ID, STATUSES, Json, dumps


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of a job without reading its response."""

    id: str
    tenant: str
    created: float
    background: bool
    streamable: bool
    stored: bool = True
    idempotency_key: str | None = None
    ended: float | None = None


class DamagedError(Exception):
    """A file of a job cannot be read as what it is; costs that job alone."""


class Store:
    """A folder of jobs and its index in memory, oldest job first."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; `load` reads it."""
        self._folder = folder
        self._entries: dict[str, Entry] = {}
        self._by_key: dict[tuple[str, str], str] = {}

    def load(self) -> None:
        """Create the folder or index what lies in it; skip what is not a record."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for torn in self._folder.glob("*.tmp"):
            with contextlib.suppress(OSError):  # a folder of that name is no matter
                torn.unlink()
        found = [entry for path in self._folder.iterdir() if (entry := _entry(path))]
        for entry in sorted(found, key=lambda entry: entry.created):
            self._index(entry)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over a copy of the index, oldest first."""
        return iter(list(self._entries.values()))

    def get(self, job_id: str) -> Entry | None:
        """Return the entry of a job."""
        return self._entries.get(job_id)

    def by_key(self, tenant: str, idempotency_key: str) -> Entry | None:
        """Return the job that a tenant created under an idempotency key."""
        return self._entries.get(self._by_key.get((tenant, idempotency_key), ""))

    def add(self, entry: Entry, request: Json, response: Json) -> None:
        """Put a new job on disk, then into the index."""
        _replace(self._path(entry.id, ".request.json"), request)
        self.put(entry, response)

    def put(self, entry: Entry, response: Json) -> None:
        """Replace the record of a job; one that has ended is synced."""
        record = {"entry": asdict(entry), "response": response}
        _replace(self._path(entry.id, ".json"), record, sync=entry.ended is not None)
        self._index(entry)

    def response(self, job_id: str) -> Json:
        """Read the Response object of a job.

        Raises FileNotFoundError where it is gone, DamagedError where it is no record.
        """
        response = self._read(job_id, ".json").get("response")
        if isinstance(response, dict):
            status = response.get("status")
            if isinstance(status, str) and status in STATUSES:
                return response
        raise DamagedError(job_id)

    def request(self, job_id: str) -> Json:
        """Read the body that created a job.

        Raises FileNotFoundError where it is gone, DamagedError where it is no request.
        """
        return self._read(job_id, ".request.json")

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

    def events_path(self, job_id: str) -> Path:
        """Return the file of a job's events."""
        return self._path(job_id, ".events.jsonl")

    def events(self, job_id: str) -> list[Event]:
        """Read the events of a job."""
        return read(self.events_path(job_id))

    def forget(self, job_id: str) -> None:
        """Drop a job from the index and the disk, its record first."""
        entry = self._entries.pop(job_id)
        if entry.idempotency_key is not None:
            self._by_key.pop((entry.tenant, entry.idempotency_key), None)
        for suffix in (".json", ".request.json", ".events.jsonl"):
            self._path(job_id, suffix).unlink(missing_ok=True)

    def _index(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        if entry.idempotency_key is not None:
            self._by_key[entry.tenant, entry.idempotency_key] = entry.id

    def _path(self, job_id: str, suffix: str) -> Path:
        if not ID.fullmatch(job_id):
            raise ValueError(job_id)  # nothing but our own ids becomes a file name
        return self._folder / f"{job_id}{suffix}"


def _entry(path: Path) -> Entry | None:
    """Read the entry of a record; None for any other file.

    Whatever lies in the folder, of whatever kind and types, costs that job alone.
    """
    if path.suffix != ".json" or not ID.fullmatch(path.stem):
        return None
    try:
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
    return entry if entry.id == path.stem else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _END_OF_TIME and math.isfinite(value)


_END_OF_TIME = 1 << 40  # in seconds; a later time would break every int() and sum
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "id": _is_text,
    "tenant": _is_text,
    "created": _is_time,
    "background": _is_switch,
    "streamable": _is_switch,
    "stored": _is_switch,
    "idempotency_key": lambda value: value is None or _is_text(value),
    "ended": lambda value: value is None or _is_time(value),
}
_OPTIONAL = frozenset({"stored", "idempotency_key", "ended"})


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
