"""The open jobs up to a place in the journal: a small derived file.

Where the file is missing, torn or of another journal, the jobs are read from the
journal.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import FORGOTTEN, Job, Status
from bgresp.ledger import files, keys
from bgresp.ledger.index import Scan
from bgresp.ledger.segments import Segment

# A lost job may come back; a file of an older version does not have those.
WANTED: Final = frozenset(
    {*(s for s in Status if s.is_open or s.is_unsettled), Status.LOST}
)

Place = tuple[int, int]


def tombstone(job: Job) -> Job:
    """Return what stays of a forgotten job: its submit key, or row, keeps its id."""
    left = Job(key=job.key, status=job.status, extra={FORGOTTEN: True})
    if job.submit_key is None and job.row is None:
        return left
    return replace(
        left,
        id=job.id,
        submit_key=job.submit_key,
        group=job.group if job.row is not None else None,
        row=job.row,
        request_sha256=job.request_sha256 if job.row is not None else None,
    )


def matters(job: Job) -> bool:
    """Say whether a job is open or lost, or a submission without a known outcome."""
    return job.status in WANTED and not job.is_forgotten


@dataclass(slots=True, eq=False, repr=False)
class Checkpoint:
    """Where the records of open jobs stand: key to (segment, offset)."""

    path: Path
    places: dict[str, Place] = field(default_factory=dict)
    latest: keys.Latest = field(default_factory=keys.Latest)

    def note(self, number: int, scan: Scan) -> None:
        """Take over what a scan of a segment's range found."""
        for key, entry in scan.entries.items():
            table = entry.line.table or {}
            if table["status"] in WANTED and FORGOTTEN not in table:
                self.places[key] = (number, entry.offset)
            else:
                self.places.pop(key, None)
        self.latest.join(scan.latest)

    def load(self, segments: list[Segment], upto: int) -> int:
        """Read the file, and the journal from there to `upto` in the last segment.

        Returns how many bytes of the journal had to be read.
        """
        number, offset = self._read(segments)
        total = 0
        for segment in segments:
            if segment.number < number:
                continue
            start = offset if segment.number == number else 0
            end = upto if segment is segments[-1] else segment.size
            if start < end:
                scan = Scan(stop=start, latest=keys.Latest(self.latest.horizon))
                scan.take(segment.lines(start), upto=end)
                self.note(segment.number, scan)
                total += end - start
        return total

    def save(self, segment: Segment, upto: int) -> None:
        """Write the file; failing to is no failure."""
        value = {
            "at": (segment.number, upto),
            "print": segment.fingerprint(upto),
            "last": self.latest.last,
            "ahead": self.latest.ahead,
            "open": [[key, *place] for key, place in self.places.items()],
        }
        data = json.dumps(value, separators=(",", ":")).encode("ascii")
        with suppress(OSError, LedgerError):
            files.replace(self.path, data)

    def _read(self, segments: list[Segment]) -> Place:
        """Read the file; return the place up to which it holds."""
        horizon = self.latest.horizon
        try:
            said: Any = json.loads(self.path.read_bytes())
            number, offset = said["at"]
            holder = next(s for s in segments if s.number == number)
            is_of_it = holder.size >= offset
            is_of_it = is_of_it and holder.fingerprint(offset) == said["print"]
            latest = keys.Latest(horizon, str(said["last"]), str(said["ahead"]))
            if is_of_it and latest.holds(horizon):
                self.places = {key: (n, at) for key, n, at in said["open"]}
                self.latest = latest
                return number, offset
        except (OSError, ValueError, KeyError, TypeError, StopIteration, LedgerError):
            pass
        self.places, self.latest = {}, keys.Latest(horizon)
        return segments[0].number, 0
