"""The journal file: append one line durably, read lines from an offset.

Readers take no lock.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bgresp.core.errors import LedgerError
from bgresp.ledger import files
from bgresp.ledger.files import HINT, blamed

CHUNK: Final = 1 << 20
# Bytes of a line that is read: of a longer one only the beginning is kept in memory.
MOST: Final = 16 << 20
KEPT: Final = 1 << 10


class RawLine(NamedTuple):
    """A complete line without its newline, where it starts, and its length in bytes.

    Of a line that is longer than is read `raw` holds the beginning.
    """

    offset: int
    raw: bytes
    size: int

    @property
    def end(self) -> int:
        """Return the offset of the next line."""
        return self.offset + self.size + 1

    @property
    def is_whole(self) -> bool:
        """Say whether `raw` is all of it."""
        return len(self.raw) == self.size


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


def line_numbers(fd: int, path: Path, offsets: Sequence[int]) -> list[int]:
    """Return the numbers of the lines that start at offsets, which ascend; from 1.

    The file is read once, as far as the last of them.
    """
    found: list[int] = []
    at, count = 0, 1
    for offset in offsets:
        while at < offset:
            with blamed(path, "read"):
                chunk = os.pread(fd, min(CHUNK, offset - at), at)
            if not chunk:
                break
            at, count = at + len(chunk), count + chunk.count(b"\n")
        found.append(count)
    return found


def lines(fd: int, path: Path, start: int) -> Iterator[RawLine]:
    """Yield complete lines of an open file from an offset; each byte is read once."""
    offset, size, begun = start, 0, bytearray()
    while True:
        with blamed(path, "read"):
            chunk = os.pread(fd, CHUNK, offset + size)
        if not chunk:
            return
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            size += len(end)
            fits = size <= MOST
            yield RawLine(offset, bytes(begun) + end if fits else _cut(begun), size)
            offset, size, begun = offset + size + 1, 0, bytearray()
        size += len(rest)
        if size <= MOST:
            begun += rest
        else:
            del begun[KEPT:]


def _cut(begun: bytearray) -> bytes:
    return bytes(begun[:KEPT])


def _is_regular(fd: int) -> bool:
    import stat

    return stat.S_ISREG(os.fstat(fd).st_mode)
