"""Server-sent events: bytes in as they arrive, events out, as the HTML standard says.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST: Final = 16 * 1024 * 1024  # bytes of one event
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_RETRY: Final = 15  # digits


class SseError(ValueError):
    """An event is larger than the limit; the stream cannot be trusted from there on."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One dispatched event; `id` is the last event id, `retry` is in milliseconds.

    `retry` is that of this event's own block, None where it says none.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None


class SseDecoder:
    """Decodes a stream that is cut into chunks anywhere.

    What the stream does not end with a blank line is no event and is never returned.
    """

    def __init__(self, *, most: int = MOST) -> None:
        """Take events of at most `most` bytes."""
        self._most = most
        self._rest = bytearray()
        self._searched = 0
        self._begun = False
        self._after_cr = False
        self._id = ""
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Take the next bytes and return the events that they complete.

        Raises SseError.
        """
        events: list[ServerEvent] = []
        for line in self._lines(chunk):
            if line:
                self._take(line)
                continue
            event = self._dispatched()
            if event is not None:
                events.append(event)
        return events

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that a chunk ends: by LF, by CR, or by both as one."""
        self._rest += chunk
        if not self._has_begun():
            return
        if self._after_cr and self._rest:
            self._after_cr = False
            if self._rest[0] == 0x0A:
                del self._rest[0]
        start = 0
        while (end := self._end_of_line(max(start, self._searched))) >= 0:
            line = bytes(self._rest[start:end])
            start = end + 1
            if self._rest[end] == 0x0D:
                if start == len(self._rest):
                    self._after_cr = True
                elif self._rest[start] == 0x0A:
                    start += 1
            yield line
        del self._rest[:start]
        self._searched = len(self._rest)
        if self._size + len(self._rest) > self._most:
            raise SseError(f"an event of the stream is above {self._most} bytes")

    def _has_begun(self) -> bool:
        """Skip a byte order mark; False while there may be half of one."""
        if self._begun:
            return True
        if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
            return False
        self._begun = True
        if self._rest.startswith(_BOM):
            del self._rest[: len(_BOM)]
        return True

    def _end_of_line(self, start: int) -> int:
        lf = self._rest.find(b"\n", start)
        cr = self._rest.find(b"\r", start, lf if lf >= 0 else len(self._rest))
        return cr if cr >= 0 else lf

    def _take(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > self._most:
            raise SseError(f"an event of the stream is above {self._most} bytes")
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if "\0" not in value:
                self._id = value
        elif name == b"retry":
            if value.isascii() and value.isdigit():
                self._retry = int(value[:_LONGEST_RETRY])
        else:
            self._size -= len(line)  # a comment, or a field that nobody knows

    def _dispatched(self) -> ServerEvent | None:
        data, kind, retry = self._data, self._event, self._retry
        self._data, self._size, self._event, self._retry = [], 0, "", None
        if not data:
            return None
        return ServerEvent("\n".join(data), kind or "message", self._id, retry)
