"""A proxy on loopback that spoils one reply in a given way at a given place.

Between a client and FakeServer; requests always pass, and every reply after the first.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

_HEAD_END = b"\r\n\r\n"
_EVENT_END = b"\n\n\r\n"  # a blank line, and the end of its HTTP chunk
_COMMENT = b"8\r\n: drip\n\n\r\n"
_WHOLE_EVENTS = 5  # events that pass unharmed before a body is spoiled
_DEEP = 60  # bytes into the event after them
_PAUSE = 0.05
_DRIPS = 60


class Kind(StrEnum):
    """What happens to the reply from the place on."""

    RST = "RST"
    FIN = "FIN"
    DELAY = "delay"
    HALF_OPEN = "half-open"  # forwarded no more, but kept open
    DRIP = "drip"  # slowly byte by byte; between events comments, for ever
    FLIP = "byte flip"
    ONE_BYTE = "one-byte chunks"


class Place(StrEnum):
    """Where; a reply that is no stream has its whole body before `BETWEEN_EVENTS`."""

    BEFORE_HEADERS = "before headers"
    IN_HEADERS = "in headers"
    IN_BODY = "in body"
    BETWEEN_EVENTS = "between events"


def offset(reply: bytes, place: Place) -> int | None:
    """Return where a reply is spoiled; None while more of it must be seen."""
    if place is Place.BEFORE_HEADERS:
        return 0 if reply else None
    head = reply.find(_HEAD_END) + len(_HEAD_END)
    if head < len(_HEAD_END):
        return None
    if place is Place.IN_HEADERS:
        return head // 2
    if b"text/event-stream" in reply[:head]:
        return _in_stream(reply, head, place)
    length = int(reply[:head].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    if len(reply) < head + length:
        return None
    return head + (length if place is Place.BETWEEN_EVENTS else length // 2)


def _in_stream(reply: bytes, at: int, place: Place) -> int | None:
    for _ in range(_WHOLE_EVENTS):
        found = reply.find(_EVENT_END, at)
        if found < 0:
            return None
        at = found + len(_EVENT_END)
    if place is Place.BETWEEN_EVENTS:
        return at
    return at + _DEEP if len(reply) > at + _DEEP else None


@dataclass(slots=True)
class FaultProxy:
    """One fault before `upstream`; an asynchronous context manager."""

    upstream: tuple[str, int]
    kind: Kind
    place: Place
    port: int = 0
    spoiled: int = 0
    _server: asyncio.Server = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that was cancelled before its start, or at its end, has closed nothing.
        await _closed(*self._writers)

    @property
    def base_url(self) -> str:
        """Return the base URL, up to /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._tasks.append(task)
        self._writers.append(writer)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        source, sink = await asyncio.open_connection(*self.upstream)
        self._writers.append(sink)
        requests = asyncio.create_task(_pass(reader, sink))
        try:
            if self.spoiled:
                await _pass(source, writer)
            else:
                self.spoiled += 1
                await self._spoil(source, writer, requests)
        except OSError:
            pass  # the client left, as clients do after a fault
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)
            await _closed(sink, writer)

    async def _spoil(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        requests: "asyncio.Task[None]",
    ) -> None:
        reply = bytearray()
        while (at := offset(bytes(reply), self.place)) is None:
            piece = await source.read(65536)
            if not piece:
                raise AssertionError(f"the reply ended before {self.place}: {reply!r}")
            reply += piece
        if self.kind is Kind.FLIP and at == len(reply):
            at -= 1
        sink.write(reply[:at])
        await sink.drain()
        rest = bytes(reply[at:])
        match self.kind:
            case Kind.RST:
                _reset(sink)
            case Kind.FIN:
                pass  # closed by the caller
            case Kind.HALF_OPEN:
                await requests  # ends when the client leaves
            case Kind.DRIP if self._is_between(bytes(reply)):
                await _comment_for_ever(sink)
            case Kind.DELAY:
                await asyncio.sleep(_PAUSE)
                await _pass(source, sink, rest)
            case Kind.FLIP:
                await _pass(source, sink, bytes([rest[0] ^ 1]) + rest[1:])
            case _:
                pause = 0.001 if self.kind is Kind.DRIP else 0.0
                await _byte_by_byte(source, sink, rest, pause)

    def _is_between(self, reply: bytes) -> bool:
        return self.place is Place.BETWEEN_EVENTS and _EVENT_END in reply


async def _closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    closing = (writer.wait_closed() for writer in writers)
    await asyncio.gather(*closing, return_exceptions=True)


async def _pass(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, first: bytes = b""
) -> None:
    piece = first or await source.read(65536)
    while piece:
        sink.write(piece)
        await sink.drain()
        piece = await source.read(65536)


async def _byte_by_byte(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    rest: bytes,
    pause: float,
) -> None:
    sent, piece = 0, rest or await source.read(65536)
    while piece:
        for byte in piece:
            sink.write(bytes([byte]))
            await sink.drain()
            await asyncio.sleep(pause if sent < _DRIPS else 0)
            sent += 1
        piece = await source.read(65536)


async def _comment_for_ever(sink: asyncio.StreamWriter) -> None:
    while True:
        for byte in _COMMENT:
            sink.write(bytes([byte]))
            await sink.drain()
        await asyncio.sleep(0.01)


def _reset(sink: asyncio.StreamWriter) -> None:
    sock: socket.socket = sink.get_extra_info("socket")
    # No lingering: closing sends RST instead of FIN.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
