"""Move lines that cannot be read out of the journal, into a file beside it.

Nothing of them is lost, and they leave no doubt behind: a person has seen them. The
caller holds the lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bgresp.ledger import damage, files, index, journal
from bgresp.ledger.damage import BadLine
from bgresp.ledger.index import decoded
from bgresp.ledger.line import BadLineError
from bgresp.ledger.segments import Segment
from bgresp.ledger.view import View


@dataclass(frozen=True, slots=True)
class Aside:
    """A line that was moved: where it stood as `file:line`, why, and its beginning."""

    place: str
    why: str
    begins: bytes


def set_aside(view: View, path: Path) -> list[Aside]:
    """Append every line that cannot be read to a file, then take it from the journal.

    A crash between the two leaves it in both. Raises LedgerError.
    """
    moved: list[Aside] = []
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
        places = damage.places([line for line, _ in lines])
        moved += [
            Aside(place, line.why, whole[: journal.KEPT])
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
    yield from damage.unfinished(segment, end)
