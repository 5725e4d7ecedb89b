"""The read side: what the journal says, without folding it whole.

May import core and the other modules of this package. The tail of the active segment,
behind the last index run, is folded in memory; everything before it is found through
runs. A small checkpoint holds the open jobs. All derived: whatever is missing is read
from the journal.
"""

import heapq
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status, merge
from bgresp.ledger import files, journal, runs, segments
from bgresp.ledger.line import BadLineError, decode
from bgresp.ledger.runs import Found, Run
from bgresp.ledger.segments import Segment

BUILD_BYTES: Final = 8 * 1024 * 1024
FORGOTTEN: Final = "forgotten"
_UNSETTLED: Final = frozenset({Status.SUBMITTING, Status.UNKNOWN})

Place = tuple[int, int]


@dataclass(slots=True)
class Scan:
    """A fold over lines: the last state of each job with where it stands."""

    jobs: dict[str, tuple[Job, int]] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)
    newer: bool = False
    stop: int = 0
    last: str = ""

    def take(
        self, lines: Iterable[journal.RawLine], *, upto: int | None = None
    ) -> None:
        """Fold lines in, up to an offset."""
        for line in lines:
            if upto is not None and line.end > upto:
                return
            self.stop = line.end
            if line.raw:
                self._one(line)

    def _one(self, line: journal.RawLine) -> None:
        try:
            read = decode(line.raw)
        except BadLineError as error:
            self.bad.append((line.offset, str(error)))
            return
        self.newer |= read.newer
        if read.job is not None:
            old = self.jobs.get(read.job.key)
            job = merge(old[0], read.job) if old else read.job
            self.jobs[job.key] = (job, line.offset)
            self.last = max(self.last, job.key)


@dataclass(slots=True)
class View:
    """One look at the journal; `refresh` follows what is appended."""

    state: Path
    segments: list[Segment] = field(default_factory=list)
    tail: Scan = field(default_factory=Scan)
    _last: str = ""
    _runs: list[Run] = field(default_factory=list)
    _open: dict[str, Place] = field(default_factory=dict)
    _inode: tuple[int, int] = (0, 0)
    _tail_start: int = 0

    @property
    def active(self) -> Segment:
        """Return the segment that is appended to."""
        return self.segments[-1]

    @property
    def last(self) -> str | None:
        """Return the greatest key that was ever given."""
        return max(self._last, self.tail.last) or None

    @property
    def tail_bytes(self) -> int:
        """Return how much is not indexed yet."""
        return self.tail.stop - self._tail_start

    @property
    def newer(self) -> bool:
        """Say whether a newer bgresp wrote here."""
        return self.tail.newer or any(run.newer for run in self._runs)

    @property
    def bad(self) -> list[tuple[Segment, int, str]]:
        """Return the lines that cannot be read: file, offset, reason."""
        found = [(run.segment, at, why) for run in self._runs for at, why in run.bad]
        return found + [(self.active, at, why) for at, why in self.tail.bad]

    @property
    def index(self) -> Path:
        """Return the folder of derived files."""
        return self.state / "index"

    # ---- looking -----------------------------------------------------------

    def newest(self) -> Iterator[Job]:
        """Yield every job that is not forgotten, newest first, lazily."""
        for key, age, offset in self._latest():
            job = self._at(key, age, offset)
            if job is not None and FORGOTTEN not in job.extra:
                yield job

    def open_jobs(self) -> list[Job]:
        """Return open and unsettled jobs, newest first."""
        by_number = {segment.number: segment for segment in self.segments}
        found = [job for job, _ in self.tail.jobs.values()]
        for key, (number, offset) in self._open.items():
            if key not in self.tail.jobs and number in by_number:
                job = _decoded(by_number[number].line_at(offset))
                if job is not None:
                    found.append(job)
        wanted = [job for job in found if _matters(job)]
        return sorted(wanted, key=lambda job: job.key, reverse=True)

    def by_key(self, key: str) -> Job | None:
        """Return what holds for a key, a forgotten job's tombstone included."""
        if key in self.tail.jobs:
            return self.tail.jobs[key][0]
        wanted = runs.term("k", key) + b" "
        for run in reversed(self._runs):
            for hit in run.starting(wanted):
                if hit.key == key:
                    return _decoded(run.segment.line_at(hit.offset))
        return None

    def matching(self, term: bytes, fits: Callable[[Job], bool]) -> Iterator[Job]:
        """Yield the jobs under a term that fit, lazily, in no order; tombstones too."""
        seen = set(self.tail.jobs)
        yield from (job for job, _ in self.tail.jobs.values() if fits(job))
        for run in reversed(self._runs):
            for hit in run.starting(term):
                if hit.key in seen:
                    continue
                seen.add(hit.key)
                job = self.by_key(hit.key)
                if job is not None and fits(job):
                    yield job

    def latest_matching(self, term: bytes, fits: Callable[[Job], bool]) -> Job | None:
        """Return the newest job under a whole term, reading one entry a run."""
        best = max((k for k, (j, _) in self.tail.jobs.items() if fits(j)), default="")
        for run in reversed(self._runs):
            for hit in run.ending(term + b" "):
                if hit.key <= best:
                    break
                job = self.by_key(hit.key)
                if job is not None and fits(job):
                    best = hit.key
                    break
        return self.by_key(best) if best else None

    def places(self) -> Iterator[tuple[str, int, int]]:
        """Yield (key, segment number, offset) of what holds for each key."""
        for key, age, offset in self._latest():
            in_tail = age == len(self._runs)
            number = self.active.number if in_tail else self._runs[age].segment.number
            yield key, number, offset

    def _latest(self) -> Iterator[tuple[str, int, int]]:
        """Yield (key, age of its run, offset), newest key first; the tail is newest."""
        tail = sorted(self.tail.jobs, reverse=True)
        streams = [((k, len(self._runs), self.tail.jobs[k][1]) for k in tail)]
        streams += [_tagged(run, age) for age, run in enumerate(self._runs)]
        merged = heapq.merge(*streams, reverse=True)
        for _, places in groupby(merged, key=lambda place: place[0]):
            yield next(places)

    def _at(self, key: str, age: int, offset: int) -> Job | None:
        if age == len(self._runs):
            return self.tail.jobs[key][0]
        return _decoded(self._runs[age].segment.line_at(offset))

    # ---- keeping up --------------------------------------------------------

    def refresh(self) -> None:
        """Read what was appended; start over when files were sealed or rewritten."""
        found = segments.listed(self.state)
        inode = _identity(found[-1].path)
        grown = self.segments and found[-1].size >= self.tail.stop
        same = grown and inode == self._inode and len(found) == len(self.segments)
        self.segments = found
        if not same:
            self._load(inode)
        if self.active.size > self.tail.stop:
            self.tail.take(journal.read(self.active.path, self.tail.stop))

    def index_tail(self) -> None:
        """Move the tail into a run of its own, and keep the runs few."""
        found = Found(self.tail.jobs, tuple(self.tail.bad), self.tail.newer)
        span = (self._tail_start, self.tail.stop)
        runs.write(self.index, self.active, span, found)
        self._note_open(self.active.number, self.tail)
        self._save_open((self.active.number, self.tail.stop))
        runs.tend(self.index, self.active)
        self.close()

    def close(self) -> None:
        """Let every file go; the next look starts over."""
        for run in self._runs:
            run.close()
        self._runs, self.segments, self.tail = [], [], Scan()

    def _load(self, inode: tuple[int, int]) -> None:
        current = self.segments
        self.close()
        self.segments, self._inode = current, inode
        for segment in current[:-1]:
            self._runs += self._covered(segment)
        covered, start = runs.cover(self.index, self.active)
        self._runs += covered
        self.tail, self._tail_start = Scan(stop=start), start
        self._load_open(start)

    def _covered(self, segment: Segment) -> list[Run]:
        """Return the runs of a sealed segment; build what is missing."""
        covered, at = runs.cover(self.index, segment)
        while at < segment.size:
            scan = Scan(stop=at)
            upto = min(at + BUILD_BYTES, segment.size)
            for line in journal.read(segment.path, at):
                scan.take([line])
                if scan.stop >= upto:
                    break
            if scan.stop == at:  # a torn end: nothing complete is left
                return covered
            found = Found(scan.jobs, tuple(scan.bad), scan.newer)
            runs.write(self.index, segment, (at, scan.stop), found)
            grown, reached = runs.cover(self.index, segment)
            if reached <= at:
                raise LedgerError(f"cannot write the index in {self.index}")
            covered, at = grown, reached
        return covered

    # ---- the checkpoint of open jobs ---------------------------------------

    def _load_open(self, upto: int) -> None:
        """Fold the open jobs from the checkpoint up to where the tail starts."""
        number, offset = self._read_open()
        for segment in self.segments:
            if segment.number < number:
                continue
            scan = Scan(stop=offset if segment.number == number else 0)
            start = scan.stop
            end = upto if segment is self.active else segment.size
            if start < end:
                scan.take(journal.read(segment.path, start), upto=end)
                self._note_open(segment.number, scan)

    def _note_open(self, number: int, scan: Scan) -> None:
        for key, (job, offset) in scan.jobs.items():
            if _matters(job):
                self._open[key] = (number, offset)
            else:
                self._open.pop(key, None)
        self._last = max(self._last, scan.last)

    def _read_open(self) -> Place:
        """Read the checkpoint; return the place up to which it holds."""
        self._open, self._last = {}, ""
        try:
            said: Any = json.loads((self.index / "open").read_bytes())
            number, offset = said["at"]
            holder = next(s for s in self.segments if s.number == number)
            if holder.size >= offset and holder.fingerprint(offset) == said["print"]:
                self._open = {key: (n, at) for key, n, at in said["open"]}
                self._last = str(said["last"])
                return number, offset
        except (OSError, ValueError, KeyError, TypeError, StopIteration, LedgerError):
            self._open, self._last = {}, ""
        return self.segments[0].number, 0

    def _save_open(self, at: Place) -> None:
        value = {
            "at": at,
            "print": self.active.fingerprint(at[1]),
            "last": self._last,
            "open": [[key, *place] for key, place in self._open.items()],
        }
        data = json.dumps(value, separators=(",", ":")).encode("ascii")
        with suppress(OSError, LedgerError):
            files.replace(self.index / "open", data, durable=False)


def _matters(job: Job) -> bool:
    open_ = job.status.is_open or job.status in _UNSETTLED
    return open_ and FORGOTTEN not in job.extra


def _decoded(raw: bytes) -> Job | None:
    try:
        return decode(raw).job
    except BadLineError:
        return None


def _tagged(run: Run, age: int) -> Generator[tuple[str, int, int]]:
    return ((hit.key, age, hit.offset) for hit in run.ending(b"k"))


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
