"""The read side: what the journal says, without folding it whole.

The tail of the active segment is folded in memory; what lies before is found through
index. A small derived file, the checkpoint, holds the open jobs up to a place in the
journal. Whatever is missing, torn or of another journal is read from the journal.
"""

import heapq
import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import FORGOTTEN, Job, Status
from bgresp.core.selection import Selector
from bgresp.ledger import files, index, journal
from bgresp.ledger.index import (
    BadLine,
    Hit,
    Run,
    Salvage,
    Scan,
    TailTerms,
    in_doubt,
    is_in_doubt,
    salvage,
    unfinished,
)
from bgresp.ledger.journal import Segment
from bgresp.ledger.line import (
    BadLineError,
    LatestKeys,
    Line,
    decode,
    is_key,
    is_of_open_job,
    key_horizon,
    new_key,
)

OPEN: Final = frozenset(status for status in Status if status.is_open)
UNSETTLED: Final = frozenset(status for status in Status if status.is_unsettled)
# A lost job may come back; a file of an older version does not have those.
WANTED: Final = OPEN | UNSETTLED | {Status.LOST}

Place = tuple[int, int]
_FORGOTTEN: Final = FORGOTTEN.encode("ascii")
_SEGMENT: Final = 1 << 48  # more bytes than a segment may have
SHORTEST: Final = 8  # characters of an id that is shown short
AT_HAND: Final = 256  # jobs that were read
PATIENCE: Final = 20  # compactions that may interrupt one look


def tombstone(job: Job) -> Job:
    """Return what stays of a forgotten job: its submit key, or row, keeps its id."""
    left = Job(key=job.key, status=job.status, extra={FORGOTTEN: True})
    if job.submit_key is None and job.row is None:
        return left
    return left._replace(
        id=job.id,
        submit_key=job.submit_key,
        group=job.group if job.row is not None else None,
        row=job.row,
        request_sha256=job.request_sha256 if job.row is not None else None,
    )


def matters(job: Job) -> bool:
    """Say whether a job is open or lost, or a submission without a known outcome."""
    return job.status in WANTED and not job.is_forgotten


class Checkpoint:
    """Where the records of open jobs stand: key to (segment, offset).

    There may be very many. What was loaded is kept while this process indexes what it
    writes, and the file written anew only when as much was noted as it has bytes.
    """

    def __init__(self, path: Path) -> None:
        """Take the file's path; it is read when it is loaded."""
        self.path = path
        self.latest = LatestKeys()
        self._places: dict[str, int] = {}  # either number in one: a pair takes more
        self._held: tuple[int, int, str] | None = None
        self._unsaved = 0
        self._file_size = 0

    def places(self) -> Iterator[tuple[str, Place]]:
        """Yield each key and the place of its record."""
        return ((key, divmod(at, _SEGMENT)) for key, at in self._places.items())

    def forget(self) -> None:
        """Let the file and the journal tell anew."""
        self._held = None

    def note(self, number: int, scan: Scan, size: int) -> None:
        """Take over what a scan of so many bytes of a segment found."""
        for key, entry in scan.entries.items():
            table = entry.line.table or {}
            if table["status"] in WANTED and FORGOTTEN not in table:
                self._places[key] = number * _SEGMENT + entry.offset
            else:
                self._places.pop(key, None)
        self.latest.join(scan.latest)
        self._unsaved += size

    def load(self, segments: list[Segment], upto: int) -> int:
        """Read the file, and the journal from there to `upto` in the last segment.

        Returns how many bytes of the journal had to be read.
        """
        number, offset = self._kept(segments) or self._read(segments)
        self._held, total = None, 0
        for segment in segments:
            if segment.number < number:
                continue
            start = offset if segment.number == number else 0
            end = upto if segment is segments[-1] else segment.size
            total += end - start if start < end else 0
            while start < end:
                latest = LatestKeys(self.latest.horizon)
                scan = index.scanned(segment, start, upto=end, latest=latest)
                self.note(segment.number, scan, scan.stop - start)
                if scan.stop == start:  # a torn end
                    break
                start = scan.stop
        self._held = (segments[-1].number, upto, segments[-1].fingerprint(upto))
        return total

    def save(self, segment: Segment, upto: int) -> None:
        """Write the file if that is worth it; failing to is no failure."""
        self._held = (segment.number, upto, segment.fingerprint(upto))
        if self._unsaved < self._file_size:
            return
        with suppress(OSError, LedgerError):
            size = 0
            with files.writing(self.path, prefix=".tmp-") as write:
                for piece in self._pieces(*self._held):
                    write(piece)
                    size += len(piece)
            files.sync_folder(self.path.parent)
            self._unsaved, self._file_size = 0, size

    def _pieces(self, number: int, upto: int, fingerprint: str) -> Iterator[bytes]:
        """Yield the file's JSON, some open jobs at a time."""
        said = {
            "at": (number, upto),
            "print": fingerprint,
            "last": self.latest.last,
            "ahead": self.latest.ahead,
        }
        yield json.dumps(said, separators=(",", ":"))[:-1].encode() + b',"open":['
        left, between = self.places(), ""
        while some := [f'["{key}",{n},{at}]' for key, (n, at) in islice(left, 4096)]:
            yield (between + ",".join(some)).encode("ascii")
            between = ","
        yield b"]}"

    def _kept(self, segments: list[Segment]) -> Place | None:
        """Return the place up to which what was loaded holds; None: it does not."""
        if self._held is None or not self.latest.holds(self.latest.horizon):
            return None
        number, offset, fingerprint = self._held
        holder = next((s for s in segments if s.number == number), None)
        if holder is None or holder.size < offset:
            return None
        same = holder.fingerprint(offset) == fingerprint
        return (number, offset) if same else None

    def _read(self, segments: list[Segment]) -> Place:
        """Read the file; return the place up to which it holds."""
        horizon = self.latest.horizon
        self._unsaved = self._file_size = 0
        self._places = {}  # not held beside what comes in their place
        try:
            data = self.path.read_bytes()
            said: Any = json.loads(data)
            number, offset = said["at"]
            holder = next(s for s in segments if s.number == number)
            is_of_it = holder.size >= offset
            is_of_it = is_of_it and holder.fingerprint(offset) == said["print"]
            latest = LatestKeys(horizon, str(said["last"]), str(said["ahead"]))
            if is_of_it and latest.holds(horizon):
                self._places = {k: n * _SEGMENT + at for k, n, at in said["open"]}
                self.latest, self._file_size = latest, len(data)
                return number, offset
        except (OSError, ValueError, KeyError, TypeError, StopIteration, LedgerError):
            pass
        self.latest = LatestKeys(horizon)
        return segments[0].number, 0


class View:
    """One look at the journal; `refresh` follows what is appended."""

    def __init__(
        self, state: Path, spare_bytes: int, now: Callable[[], float] = time.time
    ) -> None:
        """Look nowhere yet."""
        self.state = state
        self.spare_bytes = spare_bytes
        self.now = now
        self.segments: list[Segment] = []
        self.tail = Scan()
        self.is_sure = False  # no seal came between the listing and the opening
        self.is_indexed = True  # else it was read whole: no index can be written
        self._runs: list[Run] = []
        self._terms = TailTerms()
        self._tail_start = 0
        self._written_at = 0.0  # the active file's own time, before we write
        self._salvage = Salvage({}, [])
        self._torn: set[tuple[int, int]] = set()
        self.index = state / "index"  # the folder of derived files
        self._open = Checkpoint(self.index / "open")
        self._horizon = (-1, "")
        self._jobs: dict[str, tuple[object, Job]] = {}

    @property
    def active(self) -> Segment:
        """Return the segment that is appended to."""
        return self.segments[-1]

    @property
    def last(self) -> str | None:
        """Return the greatest key that was ever given; none that is ahead of time."""
        return max(self._open.latest.last, self.tail.latest.last) or None

    @property
    def horizon(self) -> str:
        """Return the greatest key that is not ahead of time.

        The file's time counts like the clock's, which may have been set back.
        """
        moment = max(self.now(), self._written_at)
        known, horizon = self._horizon
        if known != int(moment * 1000):  # no key tells less
            horizon = key_horizon(moment)
            self._horizon = int(moment * 1000), horizon
        return horizon

    @property
    def tail_bytes(self) -> int:
        """Return how much is not indexed yet."""
        return self.tail.stop - self._tail_start

    @property
    def newer(self) -> bool:
        """Say whether a newer bgresp wrote here."""
        return self.tail.newer or any(run.newer for run in self._runs)

    @property
    def bad(self) -> list[BadLine]:
        """Return the lines that cannot be read, as far as that is known."""
        return [*self._always_bad(), *self._salvage.bad]

    @property
    def doubts(self) -> list[BadLine]:
        """Return the lines that may have been intents, of which nothing else is known.

        One that went bad after it was indexed is none: its job is known to the index.
        """
        found = []
        for line in self._always_bad():
            place = (line.segment.number, line.offset)
            if place in self._torn:
                continue
            if line.is_cut_short:
                self._torn.add(place)
            else:
                found.append(line)
        return found + unfinished(self.active, self.tail.stop)

    def _always_bad(self) -> Iterator[BadLine]:
        for run in self._runs:
            for at, why in run.bad:
                yield BadLine(run.segment, at, why)
        for at, why in self.tail.bad:
            yield BadLine(self.active, at, why)

    # ---- looking -----------------------------------------------------------

    def newest(self) -> Iterator[Job]:
        """Yield every job that is not forgotten, newest first, lazily."""
        for key, age, offset in self._latest():
            job = self._at(key, age, offset)
            if job is not None and not job.is_forgotten:
                yield job

    def since(self, moment: float | None) -> Iterator[Job]:
        """Yield jobs newest first; keys are in the order of time, so it may stop."""
        floor = new_key(max(moment, 0.0), 0, after=None) if moment else ""
        for job in self.newest():
            if job.key < floor and is_key(job.key) and job.submitted_at:
                return
            yield job

    def open_jobs(self, wanted: frozenset[Status] = WANTED) -> list[Job]:
        """Return open, unsettled and lost jobs, or some of them, newest first."""
        found = (job for job in self._open_jobs(wanted) if job and job.status in wanted)
        some = [job for job in found if matters(job)]
        return sorted(some, key=lambda job: job.key, reverse=True)

    def _open_jobs(self, wanted: frozenset[Status]) -> Iterator[Job | None]:
        """Yield the wanted jobs, and some others."""
        by_number = {segment.number: segment for segment in self.segments}
        for key, entry in self.tail.entries.items():
            if entry.text("status") in WANTED:
                yield self.by_key(key)
        for key, (number, offset) in self._open.places():
            if key not in self.tail.entries and number in by_number:
                raw = by_number[number].line_at(offset)
                if wanted.isdisjoint(OPEN) and is_of_open_job(raw, key):
                    continue
                # A compaction may have moved it since the checkpoint was written.
                yield _decoded(key, raw) or self.by_key(key)

    def by_key(self, key: str) -> Job | None:
        """Return what holds for a key, a forgotten job's tombstone included."""
        entry = self.tail.entries.get(key)
        # A line that was read stays what it is, as long as it holds: each record looks
        # at a job's a few times.
        held, known = self._jobs.get(key, (None, None))
        if held is (self._runs if entry is None else entry):
            return known
        if entry is not None:
            return self._remember(key, entry, entry.line.job)
        raw = self._indexed(key)
        if raw is None:
            return None
        return self._remember(key, self._runs, _decoded(key, raw))

    def _indexed(self, key: str) -> bytes | None:
        """Return the line of a key as the runs have it; None where they have none."""
        wanted = index.term("k", key) + b" "
        for run in reversed(self._runs):
            for hit in run.starting(wanted):
                if hit.key == key:
                    return run.segment.line_at(hit.offset)
        return None

    def is_forgotten(self, key: str) -> bool:
        """Say whether a job has a tombstone."""
        entry = self.tail.entries.get(key)
        if entry is not None and entry.line.table is not None:
            return FORGOTTEN in entry.line.table
        if key not in self._jobs and entry is None:
            raw = self._indexed(key)
            if raw is None or _FORGOTTEN not in raw:
                return False  # a line need not be parsed for that
        job = self.by_key(key)
        return job is not None and job.is_forgotten

    def _remember(self, key: str, holder: object, job: Job | None) -> Job:
        """Keep a job at hand, as long as its entry, or the runs, hold."""
        if job is None:
            return self._in_doubt(key)
        if len(self._jobs) >= AT_HAND:
            self._jobs.clear()
        self._jobs[key] = holder, job
        return job

    def in_doubt(self) -> frozenset[str]:
        """Return the keys whose line is not where the index has it: read anew."""
        self._salvage = salvage(self.segments, self._runs, self.tail)
        return frozenset(self._salvage.jobs)

    def _in_doubt(self, key: str) -> Job:
        """Return what is known of a job whose line cannot be read, or is another's."""
        if key not in self._salvage.jobs:
            self._salvage = salvage(self.segments, self._runs, self.tail)
            self._salvage.jobs.setdefault(key, in_doubt(key, None))
        return self._salvage.jobs[key]

    def matching(self, term: bytes, fits: Callable[[Job], bool]) -> Iterator[Job]:
        """Yield the jobs under a term that fit, lazily; tombstones too.

        Those of the tail newest first, others in no order.
        """
        seen = set(self.tail.entries)
        for key in sorted(set(self._terms.starting(self.tail, term)), reverse=True):
            job = self.by_key(key)
            if job is not None and fits(job):
                yield job
        for run in reversed(self._runs):
            for hit in run.starting(term):
                if hit.key in seen:
                    continue
                seen.add(hit.key)
                job = self.by_key(hit.key)
                if job is not None and fits(job):
                    yield job

    def bearing(self, term: bytes) -> Iterator[Job]:
        """Yield the jobs under a whole term, newest first, lazily; tombstones too.

        Those that once bore it, too: the caller compares.
        """
        tail = sorted(self._terms.under(self.tail, term), reverse=True)
        ends = [_keys(run.ending(term + b" ")) for run in self._runs]
        for key, _ in groupby(heapq.merge(tail, *ends, reverse=True)):
            job = self.by_key(key)
            if job is not None:
                yield job

    def places(self) -> Iterator[tuple[str, int, int]]:
        """Yield (key, segment number, offset) of what holds for each key."""
        for key, age, offset in self._latest():
            in_tail = age == len(self._runs)
            number = self.active.number if in_tail else self._runs[age].segment.number
            yield key, number, offset

    def _latest(self) -> Iterator[tuple[str, int, int]]:
        """Yield (key, age of its run, offset), newest key first; the tail is newest."""
        tail = sorted(self.tail.entries, reverse=True)
        streams = [((k, len(self._runs), self.tail.entries[k].offset) for k in tail)]
        streams += [_tagged(run, age) for age, run in enumerate(self._runs)]
        merged = heapq.merge(*streams, reverse=True)
        for _, places in groupby(merged, key=lambda place: place[0]):
            yield next(places)

    def _at(self, key: str, age: int, offset: int) -> Job | None:
        if age == len(self._runs):
            return self.tail.entries[key].line.job or self._in_doubt(key)
        job = _decoded(key, self._runs[age].segment.line_at(offset))
        return job or self._in_doubt(key)

    # ---- keeping up --------------------------------------------------------

    def refresh(self) -> None:
        """Read what was appended; start over when files were sealed or rewritten.

        Also where the clock was set so that a key is ahead of time now, or no more.
        """
        horizon = self.horizon
        if not (self._open.latest.holds(horizon) and self.tail.latest.holds(horizon)):
            self.close()
        if not self._stands():
            for _ in range(PATIENCE):
                found = journal.listed(self.state)
                if self._follows(found):
                    break
                self._load(found)
        if self.active.size > self.tail.stop:
            self.tail.latest.horizon = self.horizon
            self.tail.take(self.active.lines(self.tail.stop, self.active.size))

    def _stands(self) -> bool:
        """Say whether no file came or went, without listing; take over the size.

        Only sealing makes a segment, and it takes the active one's name away.
        """
        if not self.is_sure:
            return False
        *sealed, active = self.segments
        if not all(segment.holds for segment in sealed):
            return False
        try:
            found = os.stat(active.path)  # noqa: PTH116  as `holds`, and the size
        except OSError:
            return False
        if active.pin is None or (found.st_dev, found.st_ino) != active.pin.identity:
            return False
        if found.st_size < self.tail.stop:  # a backup was copied over it
            return False
        if found.st_size != active.size:
            self.segments[-1] = active._replace(size=found.st_size)
        return True

    def _follows(self, found: list[Segment]) -> bool:
        """Say whether the files are those that were loaded; take over their sizes."""
        known = self.segments
        self.is_sure = (
            [s.number for s in known] == [s.number for s in found]
            and all(segment.holds for segment in known)
            and found[-1].size >= self.tail.stop
        )
        if self.is_sure:
            pairs = zip(known, found, strict=True)
            self.segments = [old._replace(size=new.size) for old, new in pairs]
        return self.is_sure

    def index_tail(self) -> None:
        """Move the tail into a run of its own, and keep the runs few."""
        span = (self._tail_start, self.tail.stop)
        index.write(self.index, self.active, span, self.tail)
        self._open.note(self.active.number, self.tail, self.tail_bytes)
        self._open.save(self.active, self.tail.stop)
        index.tend(self.index, self.active)
        self._let_go()

    def close(self) -> None:
        """Let every file go; the next look starts over."""
        self._let_go()
        self._open.forget()

    def _let_go(self) -> None:
        for run in self._runs:
            run.close()
        self._runs, self.segments, self.is_sure = [], [], False
        self.tail, self._terms = Scan(), TailTerms()
        self._salvage, self._torn = Salvage({}, []), set()
        self._jobs = {}

    def _load(self, found: list[Segment]) -> None:
        if self.segments:  # they are others than they were
            self.close()
        self.segments = current = [segment.pinned() for segment in found]
        if self.active.pin is not None:
            self._written_at = os.fstat(self.active.pin.fileno()).st_mtime
        horizon = self.horizon
        self._open.latest.horizon = horizon
        for segment in current[:-1]:
            self._runs += index.covered(self.index, segment, segment.size)[0]
        upto = self.active.size - self.spare_bytes
        covered, start = index.covered(self.index, self.active, upto, is_growing=True)
        self._runs += covered
        self.tail = Scan(stop=start, latest=LatestKeys(horizon))
        self._tail_start = start
        in_memory = any(run.path == index.IN_MEMORY for run in self._runs)
        self.is_indexed = start >= upto and not in_memory
        if self._open.load(current, start) > self.spare_bytes:
            self._open.save(self.active, start)


def select(view: View, selector: Selector) -> Iterator[Job]:
    """Yield the jobs a selector means, newest first, reading no more than it must."""
    noted = WANTED - {Status.LOST}  # of the lost an older version noted none
    if selector.open or (selector.statuses and selector.statuses <= noted):
        jobs = iter(view.open_jobs())
    elif selector.group is not None:
        group = selector.group
        grouped = view.matching(index.term("g", group), lambda j: j.group == group)
        jobs = iter(sorted(grouped, key=lambda job: job.key, reverse=True))
    else:
        jobs = view.since(selector.since)
    return (job for job in jobs if not job.is_forgotten and selector.matches(job))


def by_prefix(view: View, prefix: str, *, limit: int) -> list[Job]:
    """Return jobs whose id begins so, with or without `resp_`; at most `limit`."""
    forms = (prefix, index.PREFIX + prefix)

    def fits(job: Job) -> bool:
        return not job.is_forgotten and job.id is not None and job.id.startswith(forms)

    terms = {index.id_term(prefix), index.term("i", prefix)}
    hits = chain(*(islice(view.matching(term, fits), limit) for term in terms))
    found = {job.key: job for job in hits}
    return sorted(found.values(), key=lambda job: job.key, reverse=True)[:limit]


def shortened(view: View, jobs: Iterable[Job]) -> dict[str, str]:
    """Return by key the shortest beginning of each id that means this job alone.

    Without `resp_`, which a REF need not say. A job that goes by its key has none.
    """
    whole = {job.key: job for job in jobs if job.ref == job.id}
    bare = sorted(
        (job.ref.removeprefix(index.PREFIX), key) for key, job in whole.items()
    )
    found = {}
    for at, (id_, key) in enumerate(bare):
        beside = [bare[n][0] for n in (at - 1, at + 1) if 0 <= n < len(bare)]
        common = max((_common(id_, other) for other in beside), default=0)
        lengths = range(max(SHORTEST, common + 1), len(id_) + 1)
        short = (id_[:length] for length in lengths)
        means = (ref for ref in short if _means(view, ref, whole[key]))
        found[key] = next(means, whole[key].ref)
    return found


def _common(one: str, other: str) -> int:
    """Return with how many same characters two ids begin."""
    pairs = zip(one, other, strict=False)
    differs = (at for at, (a, b) in enumerate(pairs) if a != b)
    return next(differs, min(len(one), len(other)))


def _means(view: View, ref: str, job: Job) -> bool:
    """Say whether a beginning of a job's id means it, and neither a name nor a key."""
    if job._replace(id=ref).ref != ref or view.by_key(ref) is not None:
        return False
    exact = [
        *(other for other in bearers(view, index.id_term(ref), id=ref)),
        *(other for other in bearers(view, index.term("n", ref), name=ref)),
    ]
    if any(not other.is_forgotten and other.key != job.key for other in exact):
        return False
    return [job.key] == [other.key for other in by_prefix(view, ref, limit=2)]


def bearers(view: View, term: bytes, **wanted: str) -> Iterator[Job]:
    """Yield the jobs under a term whose fields are these, newest first.

    Tombstones too; and a job in doubt of which nothing is known but the term.
    """
    for job in view.bearing(term):
        found = {name: getattr(job, name) for name in wanted}
        if found == wanted:
            yield job
        elif is_in_doubt(job) and not any(found.values()):
            yield _named(job, wanted)


def holding(jobs: Iterable[Job]) -> Job | None:
    """Return which of several submissions under one key, row or id holds.

    `jobs` are newest first. One that was accepted, whatever came after it; else one
    whose outcome is not known; else one that was rejected.
    """
    best: Job | None = None
    for job in jobs:
        if job.status.is_accepted:
            return job
        if best is None or (
            best.status is Status.REJECTED and job.status is not Status.REJECTED
        ):
            best = job
    return best


def _named(job: Job, names: Mapping[str, Any]) -> Job:
    return job._replace(**names)


def _decoded(key: str, raw: bytes) -> Job | None:
    """Return the job of a line; None where it cannot be read, or is another's."""
    try:
        line = decode(raw)
    except BadLineError:
        return None
    if line.table is None or line.key != key:
        return None
    return Line({**line.table, "key": key}).job  # of many jobs each key is held once


def _keys(hits: Iterable[Hit]) -> Iterator[str]:
    return (hit.key for hit in hits)


def _tagged(run: Run, age: int) -> Generator[tuple[str, int, int]]:
    return ((hit.key, age, hit.offset) for hit in run.ending(b"k"))
