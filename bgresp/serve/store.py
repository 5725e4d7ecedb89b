"""The jobs on disk: for each a record, its request and its events.

`ID.json` is the record (replaced whole), `ID.request.json` the body as it came,
`ID.events.jsonl` the events of a streamable job. Nothing here knows the network.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bgresp.serve.log import Event, read
from bgresp.serve.wire import ID, Json, dumps


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
        """Read the Response object of a job."""
        record: Json = json.loads(self._path(job_id, ".json").read_bytes())
        response: Json = record["response"]
        return response

    def request(self, job_id: str) -> Json:
        """Read the body that created a job."""
        body: Json = json.loads(self._path(job_id, ".request.json").read_bytes())
        return body

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
    """Read the entry of a record; None for any other file."""
    if path.suffix != ".json" or not ID.fullmatch(path.stem):
        return None
    try:
        entry = Entry(**json.loads(path.read_bytes())["entry"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry if entry.id == path.stem else None


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
