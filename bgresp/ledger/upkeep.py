"""Keep a state folder tidy; the caller holds the lock.

Compact: rewrite the journal's files without what no longer holds. Only records that a
later line replaced, and forgotten jobs, are left out; lines that cannot be read, or
that something newer wrote, stay as they are. Set aside: move lines that cannot be read
into a file of their own. Strays: files that belong to no record of the ledger. Some
were saved for a job that was forgotten meanwhile: they may go. Others are of jobs that
were submitted after everything the ledger knows: then a backup of it was put back, and
what it lacks was paid for. And what was never finished, as its process was killed.
"""

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from bgresp.core.model import Job
from bgresp.ledger import files, index, journal
from bgresp.ledger.index import BadLine, bad_places, decoded, unfinished
from bgresp.ledger.journal import RawLine, Segment
from bgresp.ledger.line import BadLineError, is_key, new_key
from bgresp.ledger.view import View

REMEMBERED: Final = 30 * 86_400.0  # seconds that a forgotten job is known as one
LEFT: Final = 86_400.0  # seconds after which nobody writes on

# A folder, how its names end behind a job's key, and whether the record comes first: a
# request is saved before the intent, so that a kill leaves it ahead of the ledger.
_FOLDERS: Final = (
    ("responses", r"([A-Za-z0-9_-]{1,64})\.(json|txt)", True),
    ("progress", r"([A-Za-z0-9_-]{1,64})\.jsonl", True),
    ("notices", r"([A-Za-z0-9_-]{1,64})(\.[a-z_]+)?", True),
    ("requests", r"([A-Za-z0-9_-]{1,64})\.json", False),
)


class Kept(NamedTuple):
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
    floor = new_key(max(view.now() - REMEMBERED, 0.0), 0, after=None)
    saved = 0
    (view.index / "open").unlink(missing_ok=True)
    for segment in view.segments:
        offsets = array("Q", sorted(last[segment.number]))
        saved += _rewrite(view, segment, Kept(offsets, doubted, floor))
    return saved


def _rewrite(view: View, segment: Segment, what: Kept) -> int:
    if not segment.path.exists():
        return 0
    kept = b"".join(raw + b"\n" for raw in _lines_to_keep(segment, what))
    if len(kept) == segment.size:
        return 0
    index.drop(view.index, segment.number)
    files.replace(segment.path, kept)
    return segment.size - len(kept)


def _lines_to_keep(segment: Segment, kept: Kept) -> Iterator[bytes]:
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


class Stray(NamedTuple):
    """A file and the key of the job it is of; `follows`: a record came before it."""

    path: Path
    key: str
    follows: bool

    @property
    def name(self) -> bytes:
        """Return its name with that of its folder."""
        return name_of(self.path)


def strays(state: Path, known: Container[str]) -> Iterator[Stray]:
    """Yield the files of jobs whose keys are not known; foreign names are left alone.

    Raises LedgerError.
    """
    for name, form, follows in _FOLDERS:
        folder = state / name
        with files.blamed(folder, "read"):
            paths = list(folder.iterdir()) if folder.is_dir() else []
        for path in paths:
            match = re.fullmatch(form, path.name)
            if match is not None and match[1] not in known:
                yield Stray(path, match[1], follows)


def name_of(path: Path) -> bytes:
    """Return the name of a file with that of its folder."""
    return os.fsencode(Path(path.parent.name, path.name))


def is_ahead(stray: Stray, last: str | None) -> bool:
    """Say whether a file tells of a job that is newer than the whole ledger."""
    return stray.follows and is_key(stray.key) and stray.key > (last or "")


def remove_half_written(state: Path, now: float) -> int:
    """Remove files that a killed process never gave a name; return how many.

    They may hold an answer that was forgotten since. One that is younger than a day may
    still be written.
    """
    count = 0
    for name in ("responses", "requests", "index", "probes", "."):
        for path in (state / name).glob(".tmp-*"):
            with suppress(OSError):
                if path.lstat().st_mtime < now - LEFT:
                    path.unlink()
                    count += 1
    return count


class SetAside(NamedTuple):
    """A line that was moved: where it stood as `file:line`, why, and its beginning."""

    place: str
    why: str
    begins: bytes


def set_bad_lines_aside(view: View, path: Path) -> list[SetAside]:
    """Append every line that cannot be read to a file, then take it from the journal.

    A crash between the two leaves it in both. Raises LedgerError.
    """
    moved: list[SetAside] = []
    for segment in view.segments:
        bad = {line.offset: line for line in bad_lines(segment)}
        if not bad:
            continue
        kept, lines = bytearray(), list[tuple[BadLine, bytes]]()
        end = 0
        for raw in segment.lines(0):
            whole = raw.raw if raw.is_whole else segment.read(raw.offset, raw.size)
            if raw.offset in bad:
                lines.append((bad[raw.offset], whole))
            else:
                kept += whole + b"\n"
            end = raw.end
        rest = segment.read(end, segment.size - end)
        if end in bad:
            lines.append((bad[end], rest))
        else:
            kept += rest
        places = bad_places([line for line, _ in lines])
        moved += [
            SetAside(place, line.why, whole[: journal.KEPT])
            for place, (line, whole) in zip(places, lines, strict=True)
        ]
        journal.append(path, b"".join(whole + b"\n" for _, whole in lines))
        (view.index / "open").unlink(missing_ok=True)
        index.drop(view.index, segment.number)
        files.replace(segment.path, bytes(kept))
    return moved


def bad_lines(segment: Segment) -> Iterator[BadLine]:
    """Yield the lines of a file that cannot be read, every line of it looked at."""
    end = 0
    for line in segment.lines(0):
        end = line.end
        if line.raw:
            try:
                decoded(line)
            except BadLineError as error:
                yield BadLine(segment, line.offset, str(error))
    yield from unfinished(segment, end)
