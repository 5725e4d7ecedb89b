"""Index runs: what stands where in a range of a segment, as sorted text; derived.

A run is a file of lines `<kind><text> <key> <offset>`, sorted, with a last line that
says for what it holds. It is never the truth: a missing, torn or stale one is read past
and made anew.

Kinds: i id, k key, n name, s submit key, r group and row, g group.
"""

import heapq
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bgresp.core.errors import LedgerError
from bgresp.ledger import files
from bgresp.ledger.run import END, Run
from bgresp.ledger.scan import Entry, Scan
from bgresp.ledger.segments import Segment

BUILD_BYTES: Final = 8 * 1024 * 1024
MOST: Final = 60
GROWTH: Final = 3
PREFIX: Final = "resp_"


def term(kind: str, text: str) -> bytes:
    """Return the beginning of an index line: safe, ASCII, cut to a length."""
    safe = quote(text, safe="", errors="surrogatepass")[:MOST]
    return f"{kind}{safe}".encode("ascii")


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
    lines = sorted(
        b"%b %b %d" % (term_, key.encode("ascii"), entry.offset)
        for key, entry in scan.entries.items()
        for term_ in terms(key, entry)
    )
    _save(folder, segment, upto, (lines, scan.bad, scan.newer))


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
    data += END + json.dumps(last).encode("ascii") + b"\n"
    with suppress(OSError, LedgerError):
        files.make_private(folder)
        path = folder / _name(segment.number, *upto)
        files.replace(path, data)


def _name(number: int, start: int, stop: int) -> str:
    return f"{number:06}.{start}-{stop}.idx"


def _spans(folder: Path, segment: Segment) -> list[tuple[int, int]]:
    try:
        names = [path.name for path in folder.glob(f"{segment.number:06}.*-*.idx")]
    except OSError:
        return []
    spans = (name[7:-4].split("-", 1) for name in names)
    return [(int(a), int(b)) for a, b in spans if a.isdecimal() and b.isdecimal()]


def covered(
    index: Path, segment: Segment, upto: int, *, is_growing: bool = False
) -> tuple[list[Run], int]:
    """Return the runs of a segment and where they end; build what is missing.

    Where no run can be written, the rest of a growing segment is left to the tail; of
    a sealed one that raises LedgerError.
    """
    found, at = cover(index, segment)
    while at < upto:
        scan = Scan(stop=at)
        for line in segment.lines(at):
            scan.take([line])
            if scan.stop >= min(at + BUILD_BYTES, upto):
                break
        if scan.stop == at:  # a torn end: nothing complete is left
            break
        write(index, segment, (at, scan.stop), scan)
        tend(index, segment)
        for run in found:
            run.close()
        found, reached = cover(index, segment)
        if reached <= at:
            if not is_growing:
                raise LedgerError(f"cannot write the index in {index}")
            break
        at = reached
    return found, at
