"""A fold over lines of the journal."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.model import FORGOTTEN, Status
from bgresp.ledger import keys
from bgresp.ledger.journal import MOST, RawLine
from bgresp.ledger.line import BadLineError, Line, decode

TOO_LONG: Final = f"longer than {MOST >> 20} MiB"


def decoded(raw: RawLine) -> Line:
    """Read a line of the journal.

    Raises BadLineError with the reason.
    """
    if not raw.is_whole:
        raise BadLineError(TOO_LONG)
    return decode(raw.raw)


@dataclass(frozen=True, slots=True)
class Entry:
    """The line that holds for a job, and where it stands."""

    line: Line
    offset: int
    rank: int

    def text(self, name: str) -> str | None:
        """Return a field of the record where it is text."""
        value = (self.line.table or {}).get(name)
        return value if isinstance(value, str) else None


@dataclass(slots=True)
class Scan:
    """The last line of each job by rank, what could not be read, how far it went.

    `taken` has the key of each line that was folded in, in their order.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)
    newer: bool = False
    stop: int = 0
    latest: keys.Latest = field(default_factory=keys.Latest)
    taken: list[str] = field(default_factory=list)

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
        key, rank = line.key, Status(line.table["status"]).rank
        old = self.entries.get(key)
        if old is None or rank >= old.rank or FORGOTTEN in line.table:
            self.entries[key] = Entry(line, raw.offset, rank)
            self.latest.take(key)
            self.taken.append(key)
