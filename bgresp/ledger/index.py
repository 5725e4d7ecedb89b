"""The index: what stands where in the journal, so that nobody folds it whole; derived.

A range of lines is folded by a scan; what the scan found is written as a run, a file of
lines `<kind><text> <key> <offset>`, sorted, with a last line that says for what it
holds. Runs are searched by halving and never the truth: a missing, torn or stale one is
read past and made anew; one that cannot be written is held in memory. What is not in a
run yet, the tail, is looked up in memory.

Kinds: i id, k key, n name, s submit key, r group and row, g group.

A database of the standard library was measured in its place (100 000 jobs): look-ups
cost the same, its import half of `python -c pass`, and a record 120 us of transaction,
where a run costs a few; and without it a scan would have to answer all the same.

At the end: what a line that cannot be read leaves in doubt. It is a job's whole record:
older lines of the same job say what it was, but never that nothing was sent, as the
last line may have said that it was accepted.
"""

import heapq
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from bgresp.core.errors import LedgerError
from bgresp.core.model import FORGOTTEN, Job, Status
from bgresp.ledger import files
from bgresp.ledger.journal import MOST, RawLine, Segment
from bgresp.ledger.line import (
    BadLineError,
    LatestKeys,
    Line,
    decode,
    is_cut_short,
    key_of,
)

END: Final = b"~"
TOO_LONG: Final = f"longer than {MOST >> 20} MiB"
BUILD_BYTES: Final = 8 * 1024 * 1024
MOST_TERM: Final = 60
GROWTH: Final = 3
_READ_AT_ONCE: Final = 1 << 20  # bytes of a run, whole pages
IN_MEMORY: Final = Path(os.devnull)  # of a run that is no file
_TOGETHER: Final = 4096  # lines of a run that are written at once
PREFIX: Final = "resp_"
DAMAGED: Final = "damaged"
_RANKS: Final = {status.value: status.rank for status in Status}


def decoded(raw: RawLine) -> Line:
    """Read a line of the journal.

    Raises BadLineError with the reason.
    """
    if not raw.is_whole:
        raise BadLineError(TOO_LONG)
    return decode(raw.raw)


class Entry(NamedTuple):
    """The line that holds for a job, and where it stands."""

    line: Line
    offset: int
    rank: int

    def text(self, name: str) -> str | None:
        """Return a field of the record where it is text."""
        value = (self.line.table or {}).get(name)
        return value if isinstance(value, str) else None


class Scan:
    """The last line of each job by rank, what could not be read, how far it went.

    `taken` has the key of each line that was folded in, in their order.
    """

    def __init__(self, *, stop: int = 0, latest: LatestKeys | None = None) -> None:
        """Have found nothing yet; `stop` is where it goes on."""
        self.entries: dict[str, Entry] = {}
        self.bad: list[tuple[int, str]] = []
        self.newer = False
        self.stop = stop
        self.latest = latest or LatestKeys()
        self.taken: list[str] = []

    def take(self, lines: Iterable[RawLine], *, upto: int | None = None) -> None:
        """Fold lines in, up to an offset."""
        for line in lines:
            if upto is not None and line.end > upto:
                return
            self.stop = line.end
            if line.raw:
                self._one(line)

    def _one(self, raw: RawLine) -> None:
        try:
            line = decoded(raw)
        except BadLineError as error:
            self.bad.append((raw.offset, str(error)))
            return
        self.newer |= line.newer
        if line.table is None:
            return
        key, rank = line.key, _RANKS[line.table["status"]]
        old = self.entries.get(key)
        if old is None or rank >= old.rank or FORGOTTEN in line.table:
            self.entries[key] = Entry(line, raw.offset, rank)
            self.latest.take(key)
            self.taken.append(key)


class Hit(NamedTuple):
    """A line of the journal that an index line points to."""

    key: str
    offset: int


Content = tuple[Iterable[bytes], list[tuple[int, str]], bool]  # lines, bad, newer


class Run:
    """One index run of [start, stop) of a segment, opened when first asked."""

    def __init__(self, segment: Segment, start: int, stop: int, path: Path) -> None:
        """Take what a file's name says; what it holds is read when it is opened."""
        self.segment = segment
        self.start = start
        self.stop = stop
        self.path = path
        self.bad: tuple[tuple[int, str], ...] = ()
        self.newer = False
        self._map: mmap.mmap | None = None
        self._end = 0

    def open(self) -> bool:
        """Open the file; say whether it holds for the segment as it is."""
        try:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return False
        return self._holds()

    def _holds(self) -> bool:
        """Read the last line; say whether the run holds for the segment as it is."""
        self._end = self._mapped().rfind(b"\n", 0, len(self._mapped()) - 1) + 1
        try:
            said = json.loads(self._mapped()[self._end + 1 :])
            fine = self._mapped()[self._end : self._end + 1] == END
            self.bad = tuple((int(at), str(why)) for at, why in said["bad"])
            self.newer = bool(said["newer"])
            return fine and said["print"] == self.segment.fingerprint(self.stop)
        except (ValueError, KeyError, TypeError, LedgerError):
            return False

    @classmethod
    def in_memory(cls, segment: Segment, scan: Scan, *, start: int) -> "Run":
        """Return the run of a scanned range that no file can be written for.

        Raises LedgerError where the segment cannot be read.
        """
        data = b"".join(_content(segment, scan.stop, _found(scan)))
        found = cls(segment, start, scan.stop, IN_MEMORY)
        found._map = mmap.mmap(-1, len(data))
        found._map[:] = data
        found._holds()
        return found

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
        """Yield every index line; the memory of those that were taken is let go."""
        at = free = 0
        while at < self._end:
            line, at = self._line(at)
            yield line
            if at - free >= _READ_AT_ONCE:
                self._mapped().madvise(mmap.MADV_DONTNEED, free, _READ_AT_ONCE)
                free += _READ_AT_ONCE

    def _bound(self, wanted: bytes) -> int:
        """Return the offset of the first line that is not below `wanted`."""
        low, high, data = 0, self._end, self._mapped()
        while low < high:
            middle = max(data.rfind(b"\n", low, (low + high) // 2) + 1, low)
            end = data.find(b"\n", middle)
            if data[middle:end] < wanted:
                low = end + 1
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


def _hit(line: bytes) -> Hit:
    _, key, offset = line.rsplit(b" ", 2)
    return Hit(key.decode("ascii"), int(offset))


def term(kind: str, text: str) -> bytes:
    """Return the beginning of an index line: safe, ASCII, cut to a length."""
    # Most need none of it, and each job of the tail has several.
    plain = text.isascii() and text.isalnum()
    safe = text if plain else quote(text, safe="", errors="surrogatepass")
    return f"{kind}{safe[:MOST_TERM]}".encode("ascii")


def id_term(id_: str) -> bytes:
    """Return the term of an id, without `resp_`: a prefix need not say it."""
    return term("i", id_.removeprefix(PREFIX))


def terms(key: str, entry: Entry) -> list[bytes]:
    """Return what a job can be found by."""
    found = [term("k", key)]
    id_, group, row = entry.text("id"), entry.text("group"), entry.text("row")
    if id_ is not None:
        found.append(id_term(id_))
    for kind, name in (("n", "name"), ("s", "submit_key")):
        value = entry.text(name)
        if value is not None:
            found.append(term(kind, value))
    if group is not None:
        found.append(term("g", group))
        if row is not None:
            found.append(row_term(group, row))
    return found


def row_term(group: str, row: str) -> bytes:
    """Return the term of a batch's row."""
    return term("r", f"{row}\x1f{group}")


def write(folder: Path, segment: Segment, upto: tuple[int, int], scan: Scan) -> None:
    """Write the run of a scanned range; failing to is no failure."""
    _save(folder, segment, upto, _found(scan))


def _found(scan: Scan) -> Content:
    """Return what a run has of a scan."""
    lines = sorted(
        b"%b %b %d" % (term_, key.encode("ascii"), entry.offset)
        for key, entry in scan.entries.items()
        for term_ in terms(key, entry)
    )
    return lines, scan.bad, scan.newer


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


def scanned(
    segment: Segment,
    start: int,
    *,
    upto: int | None = None,
    latest: LatestKeys | None = None,
) -> Scan:
    """Fold the lines from an offset, no more of them than may be held at once."""
    scan = Scan(stop=start, latest=latest)
    for line in segment.lines(start):
        scan.take([line], upto=upto)
        if scan.stop < line.end or scan.stop >= start + BUILD_BYTES:
            break
    return scan


def covered(
    index: Path, segment: Segment, upto: int, *, is_growing: bool = False
) -> tuple[list[Run], int]:
    """Return the runs of a segment and where they end; build what is missing.

    Where no run can be written, the rest of a growing segment is left to the tail; of
    a sealed one it is held in memory.
    """
    found, at = cover(index, segment)
    held = list[Run]()
    while at < upto:
        scan = scanned(segment, at)
        if scan.stop == at:  # a torn end: nothing complete is left
            break
        if not held:
            write(index, segment, (at, scan.stop), scan)
            tend(index, segment)
            for run in found:
                run.close()
            found, reached = cover(index, segment)
            if reached > at:
                at = reached
                continue
            if is_growing:
                break
        held.append(Run.in_memory(segment, scan, start=at))
        at = scan.stop
    return [*found, *held], at


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
    content: Content,
) -> None:
    pieces = _content(segment, upto[1], content)
    with suppress(OSError, LedgerError):
        files.make_private(folder)
        path = folder / _name(segment.number, *upto)
        files.write_whole(path, pieces, prefix=".tmp-")
        files.sync_folder(folder)


def _content(segment: Segment, stop: int, content: Content) -> Iterator[bytes]:
    """Return the pieces of a run up to a place, the last line included."""
    lines, bad, newer = content
    last = {"print": segment.fingerprint(stop), "bad": bad, "newer": newer}
    end = END + json.dumps(last).encode("ascii") + b"\n"
    return chain(_pieces(lines), [end])


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines some at a time: those of a large segment are never held at once."""
    left = iter(lines)
    while piece := b"".join([line + b"\n" for line in islice(left, _TOGETHER)]):
        yield piece


def _name(number: int, start: int, stop: int) -> str:
    return f"{number:06}.{start}-{stop}.idx"


def _spans(folder: Path, segment: Segment) -> list[tuple[int, int]]:
    try:
        names = [path.name for path in folder.glob(f"{segment.number:06}.*-*.idx")]
    except OSError:
        return []
    spans = (name[7:-4].split("-", 1) for name in names)
    return [(int(a), int(b)) for a, b in spans if a.isdecimal() and b.isdecimal()]


class TailTerms:
    """Keys of a scan by their terms; a newer record of a job may have lost one."""

    def __init__(self) -> None:
        """Have read nothing of the tail yet."""
        self._keys: dict[bytes, set[str]] = {}
        self._done = 0

    def under(self, scan: Scan, term: bytes) -> set[str]:
        """Return the keys that bear a whole term, or once did."""
        self._follow(scan)
        return self._keys.get(term, set())

    def starting(self, scan: Scan, term: bytes) -> Iterator[str]:
        """Yield the keys under terms that begin so."""
        self._follow(scan)
        for known, bearers in self._keys.items():
            if known.startswith(term):
                yield from bearers

    def _follow(self, scan: Scan) -> None:
        for key in scan.taken[self._done :]:
            for term in terms(key, scan.entries[key]):
                self._keys.setdefault(term, set()).add(key)
        self._done = len(scan.taken)


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


def bad_places(lines: Sequence[BadLine]) -> list[str]:
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
