"""HTTP/1.1 as FakeServer speaks it: requests read well, answers written to the byte.

A Wire is what an answer comes down to: pieces to write and a way to end.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from tests.fakeanswers import End, NoReply, Repeat, Reply, Stream, sse
from tests.fakejobs import HttpRequest
from tests.fakewire import Json


@dataclass(frozen=True, slots=True)
class Wire:
    """Bytes to write, one piece at a time, and what happens then."""

    pieces: Sequence[bytes]
    end: End | Repeat
    chunked: bool = False


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def reply_wire(reply: Reply, headers: Mapping[str, str]) -> Wire:
    """Put a reply on the wire; its own headers win."""
    length = {"Content-Length": str(len(reply.body))}
    head = _head(reply.status, {**headers, **length, **reply.headers})
    return Wire([head + reply.body[: reply.sent]], reply.end)


def chunk(piece: bytes) -> bytes:
    """Wrap one piece in HTTP's chunked encoding: a client reads it as one."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def answer_wire(answer: Reply | NoReply, headers: Mapping[str, str]) -> Wire:
    """Put what needs no job on the wire."""
    if isinstance(answer, NoReply):
        return Wire([], answer.end)
    return reply_wire(answer, headers)


def stream_wire(
    answer: Stream, events: Sequence[Json], headers: Mapping[str, str]
) -> Wire:
    """Put selected events on the wire."""
    framing = answer.framing
    coding = {"Transfer-Encoding": "chunked"} if framing.chunked else {}
    kind = {"Content-Type": framing.content_type, "Cache-Control": "no-store"}
    head = _head(200, {**headers, **kind, **coding})
    body = sse(events, framing)
    if framing.chunked:
        body = [chunk(piece) for piece in body]
    last = [b"0\r\n\r\n"] * (framing.chunked and answer.end is End.EOF)
    return Wire([head, *body, *last], answer.end, framing.chunked)


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """Read one request, None where the client has left instead."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, target, _ = first.split(" ")
    return HttpRequest(method, target, headers, body, time.monotonic())


async def write(
    wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Write an answer and end it as it says; EOF and FIN are the caller's close."""
    for piece in wire.pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # let other connections run between the pieces
    if isinstance(wire.end, Repeat):
        await _repeat(wire.end, writer, chunked=wire.chunked)
    elif wire.end is End.HANG:
        await reader.read()
    elif wire.end is End.RST:
        sock = writer.get_extra_info("socket")
        # No lingering: closing sends RST instead of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _repeat(end: Repeat, writer: asyncio.StreamWriter, *, chunked: bool) -> None:
    piece = chunk(end.payload) if chunked else end.payload
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(end.every)
