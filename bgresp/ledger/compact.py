"""Rewrite the journal's files without what no longer holds.

The caller holds the lock. Only records that a later line replaced, and forgotten jobs,
are left out; lines that cannot be read, or that something newer wrote, stay as they
are.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from bgresp.core.model import FORGOTTEN
from bgresp.ledger import files, journal, runs
from bgresp.ledger.line import BadLineError
from bgresp.ledger.scan import decoded
from bgresp.ledger.segments import Segment
from bgresp.ledger.view import View


def compact(view: View) -> int:
    """Compact every segment, the oldest first; return the bytes saved.

    The order matters: a forgotten job's tombstone stands behind its lines, so it goes
    last, and a crash in between never brings the job back.
    """
    last: dict[int, array[int]] = {s.number: array("Q") for s in view.segments}
    for _, number, offset in view.places():
        last[number].append(offset)
    doubted = view.in_doubt()  # their older lines say what is left
    saved = 0
    (view.index / "open").unlink(missing_ok=True)
    for segment in view.segments:
        offsets = array("Q", sorted(last[segment.number]))
        saved += _rewrite(view, segment, (offsets, doubted))
    return saved


def _rewrite(view: View, segment: Segment, holds: "_Holds") -> int:
    if not segment.path.exists():
        return 0
    kept = b"".join(raw + b"\n" for raw in _kept(segment, holds))
    if len(kept) == segment.size:
        return 0
    runs.drop(view.index, segment.number)
    files.replace(segment.path, kept)
    return segment.size - len(kept)


def _kept(segment: Segment, holds: "_Holds") -> Iterator[bytes]:
    offsets, doubted = holds
    for line in journal.read(segment.path):
        if not line.raw:
            continue
        try:
            job = decoded(line).job
        except BadLineError:
            yield line.raw if line.is_whole else segment.read(line.offset, line.size)
            continue
        if (
            job is None
            or job.key in doubted
            or (_is_last(offsets, line.offset) and not _is_dropped(job.extra, job.id))
        ):
            yield line.raw


def _is_last(offsets: "array[int]", offset: int) -> bool:
    at = bisect_left(offsets, offset)
    return at < len(offsets) and offsets[at] == offset


def _is_dropped(extra: object, id_: str | None) -> bool:
    return isinstance(extra, dict) and FORGOTTEN in extra and id_ is None


# Where the lines that hold begin, and of which keys every line is kept.
_Holds = tuple["array[int]", frozenset[str]]
