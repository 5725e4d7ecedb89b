"""The events of one job: appended once, followed by any number of readers.

The n-th event has sequence_number n. On disk it is one JSON object a line.
"""

import asyncio
import errno
import json
import os
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from bgresp.serve.wire import Json, dumps

QUIET = 15.0  # seconds of silence after which a stream shows that it lives


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is kept and sent."""

    type: str
    data: str

    def frame(self) -> bytes:
        """Return the event as a server-sent event."""
        return f"event: {self.type}\ndata: {self.data}\n\n".encode()


class EventLog:
    """An append-only list of events, in memory and in a file."""

    def __init__(self, path: Path, events: Sequence[Event] = ()) -> None:
        """Begin the file at `path` anew, with the events that are known already."""
        # A pipe in the file's place is an error then, not something to wait for.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_NONBLOCK
        self._file = FileIO(os.open(path, flags, 0o600), "w")
        self._events = list(events)
        self._grown = asyncio.Event()
        self._closed = False
        for event in events:
            self._write(event)

    def append(self, *payloads: Json) -> None:
        """Give each payload its number, write it down, wake the readers."""
        for payload in payloads:
            numbered = {**payload, "sequence_number": len(self._events)}
            event = Event(payload["type"], dumps(numbered))
            self._events.append(event)
            self._write(event)
        self._wake()

    def close(self) -> None:
        """Say that no event will follow."""
        self._closed = True
        self._file.close()
        self._wake()

    async def follow(
        self, after: int, *, quiet: float = QUIET
    ) -> AsyncIterator[Event | None]:
        """Yield the events above `after` as they come; None when it is quiet."""
        number = after + 1
        while True:
            grown = self._grown
            while number < len(self._events):
                yield self._events[number]
                number += 1
            if self._closed:
                return
            try:
                await asyncio.wait_for(grown.wait(), quiet)
            except TimeoutError:
                yield None

    def _write(self, event: Event) -> None:
        self._file.write(event.data.encode() + b"\n")

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


async def replay(events: Sequence[Event], after: int) -> AsyncIterator[Event | None]:
    """Yield the events of a finished job above `after`."""
    for event in events[after + 1 :]:
        yield event


def regular(path: Path) -> bytes:
    """Read a regular file; a pipe or a device would be waited for.

    Raises OSError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return file.read()


def read(path: Path) -> list[Event]:
    """Read a log from disk up to the first line that is not whole."""
    events: list[Event] = []
    try:
        lines = regular(path).split(b"\n")[:-1]
    except OSError:
        return events
    for number, line in enumerate(lines):
        try:
            payload = json.loads(line)
            if payload["sequence_number"] != number:
                break
            events.append(Event(payload["type"], line.decode()))
        except (ValueError, KeyError, TypeError):
            break
    return events
