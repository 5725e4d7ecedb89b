"""The events of one job: appended once, followed by any number of readers.

The n-th event has sequence_number n; on disk it is one JSON object a line. Memory holds
the newest events alone: a reader that lags reads the file, so that neither its pace nor
the length of the answer costs more.
"""

import asyncio
import errno
import json
import os
import re
import stat
from array import array
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgresp.serve.wire import Json, dumps

QUIET: Final = 15.0  # seconds of silence after which a stream shows that it lives
_KEPT: Final = 262_144  # bytes of the newest events that stay in memory
_CHUNK: Final = 65_536
_PIECE: Final = 1_048_576
_TYPE: Final = re.compile(rb'\{"type":"([a-z_.]+)"')


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is kept and sent."""

    type: str
    data: str

    def frame(self) -> bytes:
        """Return the event as a server-sent event."""
        return f"event: {self.type}\ndata: {self.data}\n\n".encode()


def numbered(payload: Json, number: int) -> Event:
    """Return a payload as the event of that number; its type stands first."""
    kind = str(payload["type"])
    return Event(kind, dumps({"type": kind, **payload, "sequence_number": number}))


class EventLog:
    """An append-only list of events in a file, the newest also in memory."""

    def __init__(self, path: Path) -> None:
        """Open the file; what is in it stays up to the first line that is not whole.

        Raises OSError.
        """
        self._path = path
        # A pipe in the file's place is an error then, not something to wait for.
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o600)
        self._ends = array("Q")
        self._recent: deque[Event] = deque()
        self._recent_size = 0
        self._extra: list[Event] = []
        self._grown = asyncio.Event()
        self._closed = False
        self._followers = 0
        try:
            _check_regular(self._handle, path)
            for end, _ in _lines(self._handle):
                self._ends.append(end)
            os.ftruncate(self._handle, self.size)
        except OSError:
            os.close(self._handle)
            raise

    @property
    def size(self) -> int:
        """Return the bytes of the file."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._ends) + len(self._extra)

    def payloads(self) -> Iterator[Json]:
        """Iterate over the events in the file, as they were appended."""
        return (payload for _, payload in _lines(self._handle))

    def append(self, *payloads: Json) -> None:
        """Give each payload its number, write it down, wake the readers.

        Raises OSError where the disk does not take them; then none of them is there.
        """
        first = len(self._ends)
        events = [numbered(p, first + n) for n, p in enumerate(payloads)]
        lines = [event.data.encode("ascii") + b"\n" for event in events]
        self._write(b"".join(lines))
        for event, line in zip(events, lines, strict=True):
            self._ends.append(self.size + len(line))
            self._recent.append(event)
            self._recent_size += len(line)
        while self._recent_size > _KEPT:
            self._recent_size -= len(self._recent.popleft().data) + 1
        self._wake()

    def append_last(self, payload: Json) -> None:
        """Append the last event; its readers get it even if the disk is full."""
        try:
            self.append(payload)
        except OSError:
            self._extra.append(numbered(payload, len(self._ends)))
            self._wake()
            raise

    def clear(self) -> None:
        """Drop every event: the next one is number 0 again. Raises OSError.

        It is for a job that begins anew, before anyone reads its log.
        """
        os.ftruncate(self._handle, 0)
        self._ends = array("Q")
        self._recent.clear()
        self._recent_size = 0
        self._extra = []

    def close(self) -> None:
        """Say that no event will follow."""
        self._closed = True
        self._let_go()
        self._wake()

    async def follow(
        self, after: int, *, quiet: float = QUIET
    ) -> AsyncIterator[Event | None]:
        """Yield the events above `after` as they come; None when it is quiet."""
        number = after + 1
        self._followers += 1
        try:
            if self._handle < 0:
                self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            while True:
                grown = self._grown
                while number < len(self):
                    for event in self._from(number):
                        yield event
                        number += 1
                if self._closed:
                    return
                try:
                    await asyncio.wait_for(grown.wait(), quiet)
                except TimeoutError:
                    yield None
        finally:
            self._followers -= 1
            self._let_go()

    def _from(self, number: int) -> list[Event]:
        """Return some events from that one on: from memory, or a piece of the file."""
        written = len(self._ends)
        if number >= written:
            return self._extra[number - written :]
        oldest = written - len(self._recent)
        if number >= oldest:
            return [self._recent[number - oldest]]
        start = self._ends[number - 1] if number else 0
        last = number
        while last + 1 < oldest and self._ends[last + 1] - start <= _CHUNK:
            last += 1
        piece = os.pread(self._handle, self._ends[last] - start, start)
        return [_event(line) for line in piece.split(b"\n")[:-1]]

    def _write(self, lines: bytes) -> None:
        start, written = self.size, 0
        try:
            while written < len(lines):
                written += os.pwrite(self._handle, lines[written:], start + written)
        except OSError:
            if written:
                os.ftruncate(self._handle, start)  # nobody may meet half a line
            raise

    def _let_go(self) -> None:
        """Close the file once nobody writes or reads it any more."""
        if self._closed and not self._followers and self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


def replay(path: Path, after: int) -> Iterator[tuple[int, Event]]:
    """Yield the number and event of a finished job's events above `after`.

    It ends before the first line that is not whole, and without a file at once.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _check_regular(handle, path)
        for number, (_, payload) in enumerate(_lines(handle)):
            if number > after:
                yield number, Event(str(payload["type"]), dumps(payload))
    except OSError:
        return
    finally:
        os.close(handle)


def regular(path: Path, limit: int = -1) -> bytes:
    """Read a regular file, or its first bytes; a pipe would be waited for.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _check_regular(handle, path)
        return file.read(limit)


def _check_regular(handle: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))


def _lines(handle: int) -> Iterator[tuple[int, Json]]:
    """Yield where each whole line ends and its payload, a piece of the file at a time.

    A line that a crash cut, or that has another number, ends it.
    """
    rest, position, end, number = b"", 0, 0, 0
    while piece := os.pread(handle, _PIECE, position):
        position += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            end += len(line) + 1
            payload = _payload(line, number)
            if payload is None:
                return
            yield end, payload
            number += 1


def _payload(line: bytes, number: int) -> Json | None:
    try:
        payload = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict) or payload.get("sequence_number") != number:
        return None
    return payload if isinstance(payload.get("type"), str) else None


def _event(line: bytes) -> Event:
    found = _TYPE.match(line)
    kind = found[1].decode() if found else str(json.loads(line)["type"])
    return Event(kind, line.decode("ascii"))
