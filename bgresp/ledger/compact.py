"""Rewrite the journal's files without what no longer holds.

The caller holds the lock. Only records that a later line replaced, and forgotten jobs,
are left out; lines that cannot be read, or that something newer wrote, stay as they
are.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bgresp.core.model import Job
from bgresp.ledger import files, index, journal, keys
from bgresp.ledger.index import decoded
from bgresp.ledger.journal import RawLine
from bgresp.ledger.line import BadLineError
from bgresp.ledger.segments import Segment
from bgresp.ledger.view import View

REMEMBERED: Final = 30 * 86_400.0  # seconds that a forgotten job is known as one


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of a file: lines at ascending offsets, and every line of some keys.

    The older lines of the doubted say what is left of a job. The tombstone of a key
    from `floor` on stays: a process may follow the job still, and news of it is not to
    bring it back.
    """

    offsets: "array[int]"
    doubted: frozenset[str]
    floor: str


def compact(view: View) -> int:
    """Compact every segment, the oldest first; return the bytes saved.

    The order matters: a forgotten job's tombstone stands behind its lines, so it goes
    last, and a crash in between never brings the job back.
    """
    last: dict[int, array[int]] = {s.number: array("Q") for s in view.segments}
    for _, number, offset in view.places():
        last[number].append(offset)
    doubted = view.in_doubt()
    floor = keys.make(max(view.now() - REMEMBERED, 0.0), 0, after=None)
    saved = 0
    (view.index / "open").unlink(missing_ok=True)
    for segment in view.segments:
        offsets = array("Q", sorted(last[segment.number]))
        saved += _rewrite(view, segment, Kept(offsets, doubted, floor))
    return saved


def _rewrite(view: View, segment: Segment, what: Kept) -> int:
    if not segment.path.exists():
        return 0
    kept = b"".join(raw + b"\n" for raw in _kept(segment, what))
    if len(kept) == segment.size:
        return 0
    index.drop(view.index, segment.number)
    files.replace(segment.path, kept)
    return segment.size - len(kept)


def _kept(segment: Segment, kept: Kept) -> Iterator[bytes]:
    for line in journal.read(segment.path):
        if not line.raw:
            continue
        try:
            job = decoded(line).job
        except BadLineError:
            yield line.raw if line.is_whole else segment.read(line.offset, line.size)
            continue
        if job is None or job.key in kept.doubted or _holds(line, job, kept):
            yield line.raw


def _holds(line: RawLine, job: Job, kept: Kept) -> bool:
    at = bisect_left(kept.offsets, line.offset)
    if at == len(kept.offsets) or kept.offsets[at] != line.offset:
        return False
    return not job.is_forgotten or job.id is not None or job.key >= kept.floor
