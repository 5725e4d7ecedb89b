"""The journal file: append one line durably, read lines from an offset.

Readers take no lock.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError
from bgresp.ledger import files
from bgresp.ledger.files import HINT, blamed

CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RawLine:
    """A complete line without its newline, and the byte offset where it starts."""

    offset: int
    raw: bytes

    @property
    def end(self) -> int:
        """Return the offset of the next line."""
        return self.offset + len(self.raw) + 1


def append(path: Path, line: bytes) -> None:
    """Append one line and sync it; the caller holds the lock.

    A torn tail is sealed with a newline, never truncated: somebody else may have
    written it. A failed sync is never repeated, a second one could lie (RELIABILITY.md
    2.2). Raises LedgerError; then the line may or may not be there.
    """
    with blamed(path, "open"):
        fresh = not path.exists()
    fd = files.open_append(path)
    try:
        with blamed(path, "append to"):
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            files.write_all(fd, b"\n" + line if torn else line)
            files.sync_data(fd)
            if fresh:
                files.sync_folder(path.parent)
    finally:
        os.close(fd)


def read(path: Path, start: int = 0) -> Iterator[RawLine]:
    """Yield complete lines from an offset; what has no newline is not written yet."""
    with blamed(path, "read"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return
    try:
        if not _is_regular(fd):
            raise LedgerError(f"{path} is not a regular file", hint=HINT)
        yield from lines(fd, path, start)
    finally:
        os.close(fd)


def line_number(path: Path, offset: int) -> int:
    """Return the number of the line that starts at an offset, counted from 1."""
    return 1 + sum(1 for line in read(path) if line.offset < offset)


def lines(fd: int, path: Path, start: int) -> Iterator[RawLine]:
    """Yield complete lines of an open file from an offset."""
    offset, rest = start, b""
    while True:
        with blamed(path, "read"):
            chunk = os.pread(fd, CHUNK, offset + len(rest))
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        for raw in whole:
            yield RawLine(offset, raw)
            offset += len(raw) + 1


def _is_regular(fd: int) -> bool:
    import stat

    return stat.S_ISREG(os.fstat(fd).st_mode)
