"""The journal: append one line durably, read lines from an offset; its files.

Sealed segments and the active one, `ledger.jsonl`, which only grows until a rename
seals it; compaction puts another file in a segment's place. Readers take no lock.
"""

import json
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from bgresp.core.errors import LedgerError
from bgresp.ledger import files
from bgresp.ledger.files import HINT, blamed

CHUNK: Final = 1 << 20
# Bytes of a line that is read: of a longer one only the beginning is kept in memory.
MOST: Final = 16 << 20
KEPT: Final = 1 << 10
SEAL_BYTES: Final = 64 * 1024 * 1024
_BLOCK: Final = 4096
_SAMPLE: Final = 256
WHOLE: Final = "whole"


Identity = tuple[int, int]


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
    """Append one line and sync it, as `Appender` does."""
    Appender(path).append(line)


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


def lines(
    fd: int, path: Path, start: int, upto: int | None = None
) -> Iterator[RawLine]:
    """Yield complete lines of an open file from an offset; each byte is read once."""
    offset, size, begun = start, 0, bytearray()
    while True:
        at = offset + size
        most = CHUNK if upto is None else min(CHUNK, upto - at)
        if most <= 0:
            return
        with blamed(path, "read"):
            chunk = os.pread(fd, most, at)
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


class Pin:
    """An open file, which stays what it is when another takes its name.

    While it is open its inode is not given to another file.
    """

    __slots__ = ("_fd", "identity", "is_regular", "size")

    def __init__(self, fd: int) -> None:
        """Take over a descriptor."""
        self._fd = fd
        found = os.fstat(fd)
        self.identity: Identity = (found.st_dev, found.st_ino)
        self.size = found.st_size
        self.is_regular = stat.S_ISREG(found.st_mode)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def __del__(self) -> None:
        """Let the file go with the last segment that refers to it."""
        os.close(self._fd)


Later = Callable[[Pin], None]  # takes a file whose data is to be synced


class Appender:
    """Appends to the file that has a name, which stays open in between."""

    __slots__ = ("_is_fresh", "_pin", "path")

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.path = path
        self._pin: Pin | None = None
        self._is_fresh = False

    def append(
        self, line: bytes, later: Later | None = None, *, known: Identity | None = None
    ) -> None:
        """Append one line and sync it, or have that done `later`.

        The caller holds the lock, and may know which file has the name. A torn tail is
        sealed with a newline, never truncated: somebody else may have written it. A
        failed sync is never repeated, a second one could lie (RELIABILITY.md 2.2).
        Raises LedgerError; then the line may or may not be there.
        """
        pin = self._pin
        if pin is None or known is None or pin.identity != known:
            self._pin = None
            pin = self._opened()
        with blamed(self.path, "append to"):
            fd = pin.fileno()
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            files.write_all(fd, b"\n" + line if torn else line)
            if later is None:
                files.sync_data(fd)
            if self._is_fresh:
                files.sync_folder(self.path.parent)
            if later is not None:  # of the file that the line is in, sealed or not
                later(pin)
        self._pin, self._is_fresh = pin, False

    def _opened(self) -> Pin:
        with blamed(self.path, "open"):
            self._is_fresh = not self.path.exists()
        return Pin(files.open_append(self.path))


class Segment(NamedTuple):
    """One file of the journal, by its number; the active one has the highest.

    A pinned one is read from the file that was opened, others by name.
    """

    number: int
    path: Path
    size: int
    pin: Pin | None = None

    @property
    def holds(self) -> bool:
        """Say whether the pinned file still has the name; no file is as none was."""
        return identity(self.path) == (self.pin.identity if self.pin else None)

    def pinned(self) -> "Segment":
        """Open the file that has the name now, if there is one."""
        with blamed(self.path, "read"):
            try:
                pin = Pin(
                    os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                )
            except FileNotFoundError:
                return self._replace(size=0, pin=None)
        if not pin.is_regular:
            raise LedgerError(f"{self.path} is not a regular file", hint=HINT)
        return self._replace(size=pin.size, pin=pin)

    def lines(self, start: int, upto: int | None = None) -> Iterator[RawLine]:
        """Yield complete lines from an offset, and look for none beyond another."""
        if self.pin is None:
            return read(self.path, start)
        return lines(self.pin.fileno(), self.path, start, upto)

    def line_at(self, offset: int) -> bytes:
        """Return the line that starts at an offset, without its newline.

        Of one that is longer than is read nothing is returned. Raises LedgerError.
        """
        with self._opened() as fd:
            return _line(fd, offset)

    def numbers(self, offsets: Sequence[int]) -> list[int]:
        """Return the numbers of the lines at offsets, which ascend, counted from 1."""
        with self._opened() as fd:
            return line_numbers(fd, self.path, offsets)

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset; fewer at the end of the file."""
        with self._opened() as fd:
            return os.pread(fd, size, offset)

    def fingerprint(self, upto: int) -> str:
        """Return what tells this file up to an offset from another: its ends.

        A file that was rewritten has another one, so that what was derived from the
        old one is not believed.
        """
        if not upto:  # nor need there be a file
            return f"{0:016x}"
        with self._opened() as fd:
            head = os.pread(fd, min(_SAMPLE, upto), 0)
            start = max(0, upto - _SAMPLE)
            tail = os.pread(fd, upto - start, start)
        return f"{zlib.crc32(head):08x}{zlib.crc32(tail):08x}"

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with blamed(self.path, "read"):
            if self.pin is not None:
                yield self.pin.fileno()
                return
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)


def identity(path: Path) -> Identity | None:
    """Return what tells a file from others that have or had its name."""
    try:
        found = os.stat(path)  # noqa: PTH116  asked of each file at each look
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


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


def missing(state: Path, segments: Sequence[Segment]) -> Path | None:
    """Return the first sealed file that is not there: none ever goes by itself."""
    for number, segment in enumerate(segments, 1):
        if segment.number != number:
            return _sealed_path(state, number)
    return None


def seal(state: Path) -> None:
    """Make the active segment a sealed one; the caller holds the lock.

    Raises LedgerError.
    """
    active = listed(state)[-1]
    folder = state / "sealed"
    files.make_private(folder)
    files.sync_path(active.path)  # of lines that are synced later, none lies beyond
    with blamed(active.path, "seal"):
        active.path.rename(_sealed_path(state, active.number))
        files.sync_folder(folder)
        files.sync_folder(state)


def _sealed_path(state: Path, number: int) -> Path:
    return state / "sealed" / f"{number:06}.jsonl"


def _sealed(state: Path) -> list[Segment]:
    folder = state / "sealed"
    with blamed(folder, "read"):
        try:
            names = os.listdir(folder)  # noqa: PTH208  costs a tenth
        except (FileNotFoundError, NotADirectoryError):
            return []
    stems = sorted(name[:-6] for name in names if name.endswith(".jsonl"))
    paths = [(stem, folder / f"{stem}.jsonl") for stem in stems if stem.isdecimal()]
    return [Segment(int(stem), path, _size(path)) for stem, path in paths]


def _size(path: Path) -> int:
    with blamed(path, "read"):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0


def _line(fd: int, offset: int) -> bytes:
    found = bytearray()
    while len(found) <= MOST:
        block = os.pread(fd, max(_BLOCK, len(found)), offset + len(found))
        end = block.find(b"\n")
        found += block if end < 0 else block[:end]
        if end >= 0 or not block:
            return bytes(found)
    return b""


def is_whole(index: Path, segments: Sequence[Segment]) -> bool:
    """Say whether the journal is what `note_whole` saw, grown or sealed since."""
    try:
        noted = json.loads((index / WHOLE).read_bytes())
        segment = next(s for s in segments if s.number == noted["number"])
        same = segment.pin is not None and [*segment.pin.identity] == noted["file"]
        grown = same and segment.size >= noted["size"]
        return grown and segment.fingerprint(noted["size"]) == noted["print"]
    except (OSError, ValueError, KeyError, TypeError, StopIteration, LedgerError):
        return False


def note_whole(index: Path, active: Segment) -> None:
    """Note a journal beside which nothing is newer; failing to is no failure.

    Folders of a million files are not to be listed for each submit.
    """
    if active.pin is None or not active.size:
        return
    noted = {
        "number": active.number,
        "file": active.pin.identity,
        "size": active.size,
        "print": active.fingerprint(active.size),
    }
    with suppress(OSError, LedgerError):
        # In place: a torn note is none, and then the folders are listed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(index / WHOLE, flags, files.PRIVATE_FILE)
        except FileNotFoundError:
            files.make_private(index)
            fd = os.open(index / WHOLE, flags, files.PRIVATE_FILE)
        try:
            files.write_all(fd, json.dumps(noted).encode("ascii"))
        finally:
            os.close(fd)
