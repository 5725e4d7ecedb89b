"""The journal's files: sealed segments and the active one; lines at offsets.

May import core and ledger.files, ledger.journal. A sealed segment is never written
again; the active one, `ledger.jsonl`, only grows until it is sealed by a rename.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError
from bgresp.ledger import files
from bgresp.ledger.files import blamed

SEAL_BYTES: Final = 64 * 1024 * 1024
_BLOCK: Final = 4096
_SAMPLE: Final = 256


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the journal, by its number; the active one has the highest."""

    number: int
    path: Path
    size: int

    def line_at(self, offset: int) -> bytes:
        """Return the line that starts at an offset, without its newline.

        Raises LedgerError.
        """
        with blamed(self.path, "read"):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _line(fd, offset)
            finally:
                os.close(fd)

    def fingerprint(self, upto: int) -> str:
        """Return what tells this file up to an offset from another: its ends.

        A file that was rewritten has another one, so that what was derived from the
        old one is not believed.
        """
        with blamed(self.path, "read"):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                head = os.pread(fd, min(_SAMPLE, upto), 0)
                start = max(0, upto - _SAMPLE)
                tail = os.pread(fd, upto - start, start)
            finally:
                os.close(fd)
        return f"{zlib.crc32(head):08x}{zlib.crc32(tail):08x}"


def listed(state: Path) -> list[Segment]:
    """Return the segments, oldest first; the active one last, though it be missing.

    Sealing may happen meanwhile: what was listed is checked against a second look.
    """
    while True:
        before = _sealed(state)
        active = state / "ledger.jsonl"
        number = before[-1].number + 1 if before else 1
        found = [*before, Segment(number, active, _size(active))]
        if [s.number for s in _sealed(state)] == [s.number for s in before]:
            return found


def seal(state: Path) -> None:
    """Make the active segment a sealed one; the caller holds the lock.

    Raises LedgerError.
    """
    active = listed(state)[-1]
    folder = state / "sealed"
    files.make_private(folder)
    with blamed(active.path, "seal"):
        active.path.rename(folder / f"{active.number:06}.jsonl")
        files.sync_folder(folder)
        files.sync_folder(state)


def _sealed(state: Path) -> list[Segment]:
    folder = state / "sealed"
    try:
        paths = sorted(folder.glob("[0-9]*.jsonl"))
    except OSError as error:
        raise LedgerError(f"cannot read {folder}: {error.strerror}") from error
    return [Segment(int(p.stem), p, _size(p)) for p in paths if p.stem.isdecimal()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}") from error


def _line(fd: int, offset: int) -> bytes:
    found = b""
    while True:
        block = os.pread(fd, _BLOCK, offset + len(found))
        end = block.find(b"\n")
        if end >= 0:
            return found + block[:end]
        if not block:
            return found
        found += block
