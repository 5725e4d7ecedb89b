"""Index runs: what stands where in a range of a segment, as sorted text; derived.

May import core and the other modules of this package. A run is a file of lines
`<kind><text> <key> <offset>`, sorted, with a last line that says for what it holds. It
is never the truth: a missing, torn or stale one is read past and made anew.

Kinds: i id, k key, n name, s submit key, r group and row, g group.
"""

import heapq
import json
import mmap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job
from bgresp.ledger import files
from bgresp.ledger.segments import Segment

MOST: Final = 60
GROWTH: Final = 3
PREFIX: Final = "resp_"
_END: Final = b"~"


@dataclass(frozen=True, slots=True)
class Hit:
    """A line of the journal that an index line points to."""

    key: str
    offset: int


@dataclass(slots=True)
class Run:
    """One index run of [start, stop) of a segment, opened when first asked."""

    segment: Segment
    start: int
    stop: int
    path: Path
    bad: tuple[tuple[int, str], ...] = ()
    newer: bool = False
    _map: mmap.mmap | None = field(default=None, repr=False)
    _end: int = 0

    def open(self) -> bool:
        """Open the file; say whether it holds for the segment as it is."""
        try:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return False
        self._end = self._map.rfind(b"\n", 0, len(self._map) - 1) + 1
        try:
            said = json.loads(self._map[self._end + 1 :])
            fine = self._map[self._end : self._end + 1] == _END
            self.bad = tuple((int(at), str(why)) for at, why in said["bad"])
            self.newer = bool(said["newer"])
            return fine and said["print"] == self.segment.fingerprint(self.stop)
        except (ValueError, KeyError, TypeError, LedgerError):
            return False

    def close(self) -> None:
        """Let the file go."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def starting(self, prefix: bytes) -> Iterator[Hit]:
        """Yield the hits whose index line begins so, in order."""
        at = self._bound(prefix)
        while at < self._end:
            line, at = self._line(at)
            if not line.startswith(prefix):
                return
            yield _hit(line)

    def ending(self, prefix: bytes) -> Iterator[Hit]:
        """Yield the same hits from the last to the first."""
        at = self._bound(prefix + b"\xff")
        while at > 0:
            start = self._mapped().rfind(b"\n", 0, at - 1) + 1
            line = self._mapped()[start : at - 1]
            if not line.startswith(prefix):
                return
            yield _hit(line)
            at = start

    def lines(self) -> Iterator[bytes]:
        """Yield every index line."""
        at = 0
        while at < self._end:
            line, at = self._line(at)
            yield line

    def _bound(self, wanted: bytes) -> int:
        """Return the offset of the first line that is not below `wanted`."""
        low, high = 0, self._end
        while low < high:
            middle = self._mapped().rfind(b"\n", low, (low + high) // 2) + 1
            middle = max(middle, low)
            line, after = self._line(middle)
            if line < wanted:
                low = after
            else:
                high = middle
        return low

    def _line(self, at: int) -> tuple[bytes, int]:
        end = self._mapped().find(b"\n", at)
        return self._mapped()[at:end], end + 1

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            raise LedgerError(f"{self.path} is not open")
        return self._map


def term(kind: str, text: str) -> bytes:
    """Return the beginning of an index line: safe, ASCII, cut to a length."""
    safe = quote(text, safe="", errors="surrogatepass")[:MOST]
    return f"{kind}{safe}".encode("ascii")


def id_term(id_: str) -> bytes:
    """Return the term of an id, without `resp_`: a prefix need not say it."""
    return term("i", id_.removeprefix(PREFIX))


def terms(job: Job) -> list[bytes]:
    """Return what a job can be found by."""
    found = [term("k", job.key)]
    if job.id is not None:
        found.append(id_term(job.id))
    if job.name is not None:
        found.append(term("n", job.name))
    if job.submit_key is not None:
        found.append(term("s", job.submit_key))
    if job.group is not None:
        found.append(term("g", job.group))
        if job.row is not None:
            found.append(row_term(job.group, job.row))
    return found


def row_term(group: str, row: str) -> bytes:
    """Return the term of a batch's row."""
    return term("r", f"{row}\x1f{group}")


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan of a range told: jobs with their last offsets, and oddities."""

    jobs: dict[str, tuple[Job, int]]
    bad: tuple[tuple[int, str], ...] = ()
    newer: bool = False


def write(folder: Path, segment: Segment, upto: tuple[int, int], found: Found) -> None:
    """Write the run of a scanned range; failing to is no failure."""
    lines = sorted(
        b"%b %b %d" % (term_, key.encode("ascii", "replace"), offset)
        for key, (job, offset) in found.jobs.items()
        for term_ in terms(job)
    )
    _save(folder, segment, upto, (lines, list(found.bad), found.newer))


def merge(folder: Path, older: Run, newer: Run) -> None:
    """Join two neighbouring runs into one; of one job's lines the newer holds."""
    span = (older.start, newer.stop)
    bad = [*older.bad, *newer.bad]
    joined = _joined(older.lines(), newer.lines())
    _save(folder, newer.segment, span, (joined, bad, older.newer or newer.newer))
    for run in (older, newer):
        run.close()
        with suppress(OSError):
            run.path.unlink(missing_ok=True)


def cover(folder: Path, segment: Segment) -> tuple[list[Run], int]:
    """Return valid runs that follow each other from the start, and where they end."""
    chosen: list[Run] = []
    at = 0
    spans = _spans(folder, segment)
    while True:
        stops = sorted((stop for start, stop in spans if start == at), reverse=True)
        for stop in stops:
            if at < stop <= segment.size:
                path = folder / _name(segment.number, at, stop)
                run = Run(segment, at, stop, path)
                if run.open():
                    chosen.append(run)
                    break
                run.close()
        else:
            return chosen, at
        at = chosen[-1].stop


def tend(folder: Path, segment: Segment) -> None:
    """Keep the runs of a segment few: join neighbours of like size."""
    runs, _ = cover(folder, segment)
    while len(runs) > 1:
        older, newer = runs[-2], runs[-1]
        if older.stop - older.start > GROWTH * (newer.stop - newer.start):
            break
        merge(folder, older, newer)
        for run in runs:
            run.close()
        runs, _ = cover(folder, segment)
    for run in runs:
        run.close()


def drop(folder: Path, number: int) -> None:
    """Remove everything derived from a segment."""
    for path in folder.glob(f"{number:06}.*"):
        with suppress(OSError):
            path.unlink()


def _joined(older: Iterable[bytes], newer: Iterable[bytes]) -> Iterator[bytes]:
    pending: bytes | None = None
    tagged = heapq.merge(
        ((line.rpartition(b" ")[0], 0, line) for line in older),
        ((line.rpartition(b" ")[0], 1, line) for line in newer),
    )
    for _, _, line in tagged:
        if pending is not None and pending.rpartition(b" ")[0] != _head(line):
            yield pending
        pending = line
    if pending is not None:
        yield pending


def _head(line: bytes) -> bytes:
    return line.rpartition(b" ")[0]


def _save(
    folder: Path,
    segment: Segment,
    upto: tuple[int, int],
    content: tuple[Iterable[bytes], list[tuple[int, str]], bool],
) -> None:
    lines, bad, newer = content
    last = {"print": segment.fingerprint(upto[1]), "bad": bad, "newer": newer}
    data = b"".join(line + b"\n" for line in lines)
    data += _END + json.dumps(last).encode("ascii") + b"\n"
    with suppress(OSError, LedgerError):
        files.make_private(folder)
        path = folder / _name(segment.number, *upto)
        files.replace(path, data, durable=False)


def _name(number: int, start: int, stop: int) -> str:
    return f"{number:06}.{start}-{stop}.idx"


def _spans(folder: Path, segment: Segment) -> list[tuple[int, int]]:
    try:
        names = [path.name for path in folder.glob(f"{segment.number:06}.*-*.idx")]
    except OSError:
        return []
    spans = (name[7:-4].split("-", 1) for name in names)
    return [(int(a), int(b)) for a, b in spans if a.isdecimal() and b.isdecimal()]


def _hit(line: bytes) -> Hit:
    _, key, offset = line.rsplit(b" ", 2)
    return Hit(key.decode("ascii"), int(offset))
