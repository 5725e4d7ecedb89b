"""One index run, opened: binary search in sorted lines. Derived, never the truth.

The last line says for what the run holds.
"""

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError
from bgresp.ledger.segments import Segment

END: Final = b"~"


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
            fine = self._map[self._end : self._end + 1] == END
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


def _hit(line: bytes) -> Hit:
    _, key, offset = line.rsplit(b" ", 2)
    return Hit(key.decode("ascii"), int(offset))
