"""What a line that cannot be read leaves in doubt: a job, which is not absent for it.

A line is a job's whole record. Where the one that holds cannot be read any more, older
lines of the same job say what it was, but never that nothing was sent: the last line
may have said that it was accepted.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bgresp.core.model import Job, Status
from bgresp.ledger.index import Run, Scan, decoded
from bgresp.ledger.journal import MOST, Segment
from bgresp.ledger.line import BadLineError, decode, is_cut_short, key_of

DAMAGED: Final = "damaged"


class BadLine(NamedTuple):
    """A line that cannot be read: where it starts, and why."""

    segment: Segment
    offset: int
    why: str

    @property
    def is_cut_short(self) -> bool:
        """Say whether its write was torn: then nothing was sent on its word."""
        raw = self.segment.line_at(self.offset)
        return bool(raw) and is_cut_short(raw)


class Salvage(NamedTuple):
    """What can still be said of jobs whose line is damaged, and those lines."""

    jobs: dict[str, Job]
    bad: list[BadLine]


def salvage(segments: Iterable[Segment], runs: Iterable[Run], tail: Scan) -> Salvage:
    """Read the journal for every job whose line, as the index knows it, is damaged."""
    odd = [key for key, entry in tail.entries.items() if entry.line.job is None]
    keys, bad = set(odd), list[BadLine]()
    for run in runs:
        some, lines = _suspects(run)
        keys |= some
        bad += lines
    scan = Scan()
    for segment in segments:
        scan.take(line for line in segment.lines(0) if key_of(line.raw) in keys)
    known = {key: entry.line.job for key, entry in scan.entries.items()}
    return Salvage({key: in_doubt(key, known.get(key)) for key in keys}, bad)


def in_doubt(key: str, job: Job | None) -> Job:
    """Return a job of which a line cannot be read: at least unknown, or accepted.

    `job` is what its readable lines say.
    """
    known = job or Job(key=key)
    if known.status.is_accepted:
        return known
    said = "a line of its record in the ledger cannot be read"
    extra = {**known.extra, DAMAGED: True}
    return known._replace(status=Status.UNKNOWN, last_error=said, extra=extra)


def is_in_doubt(job: Job) -> bool:
    """Say whether a line of a job cannot be read: what it lacks is not known."""
    return DAMAGED in job.extra


def undoubted(job: Job) -> Job:
    """Return the record to write of a job that was in doubt."""
    extra = {name: value for name, value in job.extra.items() if name != DAMAGED}
    return job._replace(extra=extra) if is_in_doubt(job) else job


def unfinished(segment: Segment, start: int) -> list[BadLine]:
    """Return what stands behind the last newline, unless it is a torn write."""
    rest = segment.read(start, MOST + 1) if segment.size > start else b""
    if not rest or b"\n" in rest or is_cut_short(rest):
        return []
    try:
        decode(rest)
    except BadLineError as error:
        return [BadLine(segment, start, str(error))]
    return []


def _suspects(run: Run) -> tuple[set[str], list[BadLine]]:
    """Return the keys whose line the index does not lead to; lines gone bad since."""
    keys: dict[int, str] = {}
    known, bad = {at for at, _ in run.bad}, []
    for line in run.segment.lines(run.start):
        if line.offset >= run.stop:
            break
        key = key_of(line.raw) if line.is_whole else None
        if key is not None:
            keys[line.offset] = key
        elif line.raw and line.offset not in known:
            try:
                decoded(line)
            except BadLineError as error:
                bad.append(BadLine(run.segment, line.offset, str(error)))
    hits = run.starting(b"k")
    return {hit.key for hit in hits if keys.get(hit.offset) != hit.key}, bad


def places(lines: Sequence[BadLine]) -> list[str]:
    """Return where lines stand, as `file:line`; each file is read once for it."""
    by_path: dict[Path, list[BadLine]] = {}
    for line in lines:
        by_path.setdefault(line.segment.path, []).append(line)
    found: dict[tuple[Path, int], int] = {}
    for path, some in by_path.items():
        offsets = sorted({line.offset for line in some})
        numbers = some[0].segment.numbers(offsets)
        found.update(zip(((path, at) for at in offsets), numbers, strict=True))
    return [f"{x.segment.path}:{found[x.segment.path, x.offset]}" for x in lines]
