"""What FakeServer can be told to answer, right or wrong, and in which order.

Pure values; fakehttp.py puts them on the wire.
"""

import gzip
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from tests.fakewire import Change, Events, Json, Resume, resumed, unchanged

BOM = b"\xef\xbb\xbf"
DONE = b"data: [DONE]\n\n"


class End(Enum):
    """What becomes of the connection after the last byte."""

    EOF = auto()  # the end that HTTP asks for
    FIN = auto()  # closed where HTTP promised more
    RST = auto()
    HANG = auto()  # open and silent until the client leaves


@dataclass(frozen=True, slots=True)
class Repeat:
    """End never: these bytes again and again until the client leaves."""

    payload: bytes
    every: float = 0.0


COMMENTS = Repeat(b": keep-alive\n\n", every=0.02)
ENDLESS_LINE = Repeat(b"x" * 65536)
ENDLESS_DATA = Repeat(b"data:\n" * 10000)


@dataclass(frozen=True, slots=True)
class NoReply:
    """Read the request and answer no byte of a reply."""

    end: End = End.RST


RESET = NoReply(End.RST)
CLOSE = NoReply(End.FIN)
HANG = NoReply(End.HANG)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply; `sent` of its body's bytes leave, whatever it promises."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    end: End = End.EOF


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The operation as usual, answered in JSON though SSE may have been asked.

    A status of the six moves the job there; another word is shown and forgotten.
    """

    status: str | None = None
    http: int = 200
    change: Callable[[Reply], Reply] = lambda reply: reply


@dataclass(frozen=True, slots=True)
class Framing:
    """How events become bytes; `piece` is the size of one write, 0 an event each."""

    newline: str = "\n"
    names: bool = True
    ids: bool = False
    head: bytes = b""
    between: bytes = b""
    tail: bytes = b""
    trim: int = 0
    piece: int = 0
    chunked: bool = True
    content_type: str = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Stream:
    """The operation as usual, answered in SSE though JSON may have been asked.

    `events` replaces the job's own history; `until` is the last number sent.
    """

    events: Sequence[Json] | None = None
    resume: Resume = Resume.EXCLUSIVE
    until: int | None = None
    change: Change = unchanged
    framing: Framing = Framing()
    end: End | Repeat = End.EOF

    def select(self, history: Sequence[Json], after: int | None) -> Events:
        """Return the events that leave, given the client's starting_after."""
        events = resumed(history, after, self.resume)
        if self.until is not None:
            last = self.until
            events = [e for e in events if e.get("sequence_number", last) <= last]
        return self.change(events)


@dataclass(frozen=True, slots=True)
class Performed:
    """Do what was asked, then answer this: the reply that got lost."""

    answer: Reply | NoReply = RESET


Answer = Reply | NoReply | Snapshot | Stream | Performed


@dataclass(frozen=True, slots=True)
class Forever:
    """Answer this to every request from now on."""

    answer: Answer
    used: bool = False


@dataclass(slots=True)
class Script:
    """The answers that wait for their requests, by operation and job."""

    queues: dict[tuple[str, str | None], deque[Answer | Forever]] = field(
        default_factory=dict
    )

    def add(self, operation: str, job: str | None, replies: Sequence[Any]) -> None:
        """Queue answers for an operation on one job, or on any."""
        self.queues.setdefault((operation, job), deque()).extend(replies)

    def take(self, operation: str, job: str | None) -> Answer | None:
        """Return the answer whose turn it is, those for the one job first."""
        for key in (job, None):
            queue = self.queues.get((operation, key), deque())
            first = queue[0] if queue else None
            if isinstance(first, Forever):
                queue[0] = replace(first, used=True)
                return first.answer
            if first is not None:
                queue.popleft()
                return first
        return None

    def unused(self) -> list[str]:
        """Describe the answers that nobody asked for."""
        return [
            f"{operation} {job or ''}: {reply}"
            for (operation, job), queue in self.queues.items()
            for reply in queue
            if not (isinstance(reply, Forever) and reply.used)
        ]


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    """Answer a JSON value; retry_after="2" is the header Retry-After."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = json.dumps(value).encode()
    return Reply(status, body, {"Content-Type": "application/json", **named})


def refusal(
    status: int, message: str = "No.", *, code: str | None = None, **headers: str
) -> Reply:
    """Answer an error in OpenAI's shape."""
    error = {"message": message, "type": "invalid_request_error"}
    return as_json({"error": error | {"param": None, "code": code}}, status, **headers)


def html(status: int) -> Reply:
    """Answer as a gateway or a captive portal does."""
    body = f"<html><body><h1>{status}</h1></body></html>".encode()
    return Reply(status, body, {"Content-Type": "text/html"})


def redirect(status: int, location: str) -> Reply:
    """Send the client elsewhere."""
    return Reply(status, headers={"Location": location})


TOO_OLD = refusal(400, "Response can't be streamed: it is more than 5 minutes old.")
NOT_STREAMABLE = refusal(400, "Response was not created with stream=true.")
ENDED_ALREADY = refusal(400, "Cannot cancel a completed response.")


def halved(reply: Reply) -> Reply:
    """Promise the whole body and close after half of it."""
    return replace(reply, sent=len(reply.body) // 2, end=End.FIN)


def gzipped(reply: Reply) -> Reply:
    """Compress the body, whatever Accept-Encoding said."""
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return replace(reply, body=gzip.compress(reply.body), headers=headers)


def sse(events: Sequence[Json], framing: Framing = Framing()) -> list[bytes]:
    """Frame events as pieces of an SSE body."""
    blocks = [_block(event, framing) for event in events]
    if blocks and framing.trim:
        blocks[-1] = blocks[-1][: -framing.trim]
    spaced = [piece for block in blocks for piece in (block, framing.between)][:-1]
    pieces = [piece for piece in (framing.head, *spaced, framing.tail) if piece]
    if not framing.piece:
        return pieces
    body = b"".join(pieces)
    return [body[n : n + framing.piece] for n in range(0, len(body), framing.piece)]


def _block(event: Json, framing: Framing) -> bytes:
    number = event.get("sequence_number")
    name = [f"event: {event['type']}"] * framing.names
    ident = [f"id: {number}"] * (framing.ids and number is not None)
    lines = [*name, *ident, f"data: {json.dumps(event, ensure_ascii=False)}", "", ""]
    # A lone surrogate's backslashreplace is also its JSON escape.
    return framing.newline.join(lines).encode("utf-8", "backslashreplace")
