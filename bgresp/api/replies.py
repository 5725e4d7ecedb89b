"""HTTP replies read as signals, within limits: JSON that cannot exhaust us.

Figures: DESIGN.md, Limits of what is parsed.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from bgresp.core import schedule
from bgresp.core.dialect import HTTP_STATUS, Dialect, first_at
from bgresp.core.endpoint import Endpoint
from bgresp.core.model import ResponseError, Status
from bgresp.core.reading import ReadEvent, read_id, read_refusal, read_response
from bgresp.core.signals import Event, Fault, FaultKind, Reading, Snapshot
from bgresp.core.text import TooLargeError, one_line, parse_bounded, without_secrets

# Replies that say nothing about the request itself: worth asking again.
TRANSIENT: Final = frozenset({408, 409, 425, 500, 502, 503, 504})
NOT_PROCESSED: Final = frozenset({425, 429})
UNSURE: Final = frozenset({303, 408})
# With these an endpoint may say that it knows our Idempotency-Key from an earlier POST:
# that of a gateway which repeats requests. It may have made the job.
OF_A_KEY: Final = frozenset({409, 422})
_KEY: Final = re.compile(r"idempoten", re.IGNORECASE)
SHORTEST_SECRET: Final = 8  # what is shorter may be any word
_KINDS: Final = ("error.type", "type", "title")
CANNOT_STREAM: Final = frozenset({400, 404, 405, 406, 409, 410, 415, 422, 501})
FINAL_429: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
SAVED: Final = 64 * 1024 * 1024
# A text whole, or a bracket; possessive, so that a huge text costs no memory.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
_COLON: Final = re.compile(rb"\s*:")
_MOST_TOKENS: Final = 2_000_000


class Reply(NamedTuple):
    """One whole HTTP reply; header names in lower case; `now` is the wall clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    now: float = 0.0

    @property
    def request_id(self) -> str | None:
        """Return the endpoint's own name for this request: what support asks for."""
        return request_id(self.headers)

    @property
    def payload(self) -> Any:
        """Return the body's JSON, or None where it is none."""
        try:
            return parse_bounded(self.body)
        except ValueError:
            return None


def without_webhook_secret(said: str, endpoint: Endpoint) -> str:
    """Take the secret that signs webhooks out of a text that echoes a request.

    By its field, since a later process does not know it; then wherever else it stands.
    """
    known = endpoint.webhook.secret if endpoint.webhook is not None else None
    words = {known} if known else set[str]()
    name = endpoint.dialect.webhook["secret"]
    if name and name in said:
        field = rf'("{re.escape(name)}"\s*+:\s*+)"((?:[^"\\]++|\\.)*+)"'
        found = re.compile(field, re.DOTALL)
        words |= {match[2] for match in found.finditer(said)}
        said = found.sub(r'\1"[secret]"', said)
    longest_first = sorted(words, key=len, reverse=True)
    return without_secrets(
        said, (w for w in longest_first if len(w) >= SHORTEST_SECRET)
    )


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the endpoint's own name for a request."""
    found = headers.get("x-request-id")
    return one_line(found, limit=200) if found else None


def created(dialect: Dialect, reply: Reply) -> Snapshot | Fault:
    """Read the answer to a create: RELIABILITY.md 1.5 is the table."""
    if 200 <= reply.status < 300:
        snapshot = _named(dialect, reply) or _snapshot(dialect, reply)
        if isinstance(snapshot, Fault) or snapshot.reading.id is None:
            what = "not JSON" if reply.payload is None else "no readable id"
            said = f"accepted (HTTP {reply.status}), but {what} in the reply"
            return _fault(FaultKind.AMBIGUOUS, reply, said)
        return snapshot
    error = read_refusal(reply.payload, _text(reply))
    if reply.status in NOT_PROCESSED or _may_retry_503(reply):
        if error.code in FINAL_429:
            return _fault(FaultKind.REFUSED, reply, error.message)
        return _fault(FaultKind.RATE_LIMITED, reply, error.message)
    unsure = reply.status in UNSURE or reply.status >= 500
    if unsure or _is_of_our_key(reply, error):
        return _fault(FaultKind.AMBIGUOUS, reply, _with_status(reply, error.message))
    return _fault(FaultKind.REFUSED, reply, _refusal(reply, error))


def cut_refusal(dialect: Dialect, reply: Reply) -> Fault | None:
    """Read a refusal of a create whose words were cut off; None where it is in doubt.

    `reply` has no body. Only words tell whether an idempotency key was used before, and
    a 429 has to come whole: then it is sent again.
    """
    found = created(dialect, reply)
    if not isinstance(found, Fault) or reply.status in OF_A_KEY:
        return None
    return found if found.kind is FaultKind.REFUSED else None


def salvaged(dialect: Dialect, head: bytes | bytearray) -> Snapshot | None:
    """Look for the id in what could be read of the reply to a create that was taken."""
    try:
        payload: Any = parse_bounded(head)
    except ValueError:
        payload = skim(head)
    id_ = read_id(dialect, payload) if isinstance(payload, Mapping) else None
    if id_ is None:
        return None
    return Snapshot(Reading(Status.IN_PROGRESS, "", id=id_, known=False))


def retrieved(dialect: Dialect, reply: Reply) -> Snapshot | Fault:
    """Read the answer to a retrieve or cancel."""
    if 200 <= reply.status < 300:
        return _snapshot(dialect, reply)
    return unheard(reply)


def listed(reply: Reply) -> Mapping[str, Any] | Fault:
    """Read the answer to a list: the page as it is."""
    if not 200 <= reply.status < 300:
        return unheard(reply)
    payload = reply.payload
    if isinstance(payload, Mapping) and isinstance(payload.get("data"), list):
        return payload
    return _fault(FaultKind.UNREADABLE, reply, "the reply is not a list")


def unheard(reply: Reply) -> Fault:
    """Read a refusal where asking again is free: it says nothing of a job."""
    error = read_refusal(reply.payload, _text(reply))
    if reply.status in {404, 410}:
        return _fault(FaultKind.GONE, reply, error.message)
    if reply.status == 429:
        return _fault(FaultKind.RATE_LIMITED, reply, error.message)
    if reply.status in TRANSIENT or reply.status >= 500:
        return _fault(FaultKind.UNREACHABLE, reply, error.message)
    return _fault(FaultKind.REFUSED, reply, _refusal(reply, error))


def instead_of_stream(dialect: Dialect, reply: Reply) -> Snapshot | Fault:
    """Read what came where an event stream was asked for."""
    if reply.status in CANNOT_STREAM:
        error = read_refusal(reply.payload, _text(reply))
        return _fault(FaultKind.NOT_STREAMABLE, reply, error.message)
    return retrieved(dialect, reply)


def event(read: ReadEvent, name: str, data: str, id_: str = "") -> Event | None:
    """Read one event's data; None when it is `[DONE]` or no JSON object."""
    try:
        payload = parse_bounded(data)
    except ValueError:
        return None
    return read(payload, name, data, id_) if isinstance(payload, dict) else None


def _snapshot(dialect: Dialect, reply: Reply) -> Snapshot | Fault:
    unread = None
    try:
        payload = parse_bounded(reply.body)
    except TooLargeError as error:
        payload, unread = skim(reply.body), str(error)
    except ValueError as error:
        if reply.body.strip() or HTTP_STATUS not in dialect.reads.status:
            said = f"the reply cannot be read: {one_line(str(error), limit=120)}"
            return _fault(FaultKind.UNREADABLE, reply, said)
        payload = {}  # the HTTP status says it all: 202 Accepted
    reading = None
    if isinstance(payload, Mapping):
        reading = read_response(dialect, payload, reply.status)
    if reading is None:
        return _fault(FaultKind.UNREADABLE, reply, "the reply has no status")
    pause = schedule.spent(reply.headers, now=reply.now)
    return Snapshot(reading, reply.body, reply.request_id, unread, pause)


def _named(dialect: Dialect, reply: Reply) -> Snapshot | None:
    """Take a reply that has an id and no status: the job exists, and can be asked."""
    payload = reply.payload
    if not isinstance(payload, Mapping) or read_response(dialect, payload):
        return None
    reading = Reading(Status.IN_PROGRESS, "", id=read_id(dialect, payload), known=False)
    pause = schedule.spent(reply.headers, now=reply.now)
    return Snapshot(reading, reply.body, reply.request_id, retry_after=pause)


def _fault(kind: FaultKind, reply: Reply, message: str) -> Fault:
    error: ResponseError | None = None
    if reply.status >= 400:
        error = read_refusal(reply.payload, _text(reply))
    return Fault(
        kind,
        one_line(message) or f"HTTP {reply.status}",
        http_status=reply.status,
        retry_after=schedule.requested_wait(reply.headers, now=reply.now),
        request_id=reply.request_id,
        error=error,
    )


def _refusal(reply: Reply, error: ResponseError) -> str:
    if 300 <= reply.status < 400:
        where = one_line(reply.headers.get("location", ""), limit=200)
        return f"redirected to {where or 'elsewhere'}, which is never followed"
    return error.message


def _with_status(reply: Reply, message: str) -> str:
    """Keep the HTTP status in words of an endpoint that may say little more."""
    status = f"HTTP {reply.status}"
    if not message or message.startswith(status):
        return message or status
    return f"{status}: {message}"


def _is_of_our_key(reply: Reply, error: ResponseError) -> bool:
    """Say whether a refusal is of the Idempotency-Key; what it quotes says nothing."""
    if reply.status not in OF_A_KEY:
        return False
    payload = reply.payload
    said = [error.code, error.message]
    said += [str(first_at(payload, [path]) or "") for path in _KINDS]
    if payload is None:
        said.append(reply.body[:4096].decode("utf-8", "replace"))
    return any(map(_KEY.search, said))


def _may_retry_503(reply: Reply) -> bool:
    return reply.status == 503 and reply.headers.get("x-should-retry") == "true"


def _text(reply: Reply) -> str:
    """Return an error body for a message; markup of a gateway says nothing."""
    kind = reply.headers.get("content-type", "").lower()
    if "html" in kind or reply.body[:256].lstrip().startswith(b"<"):
        return f"HTTP {reply.status} with an HTML page"
    return reply.body[:4096].decode("utf-8", "replace")


def skim(raw: bytes | bytearray) -> dict[str, str]:
    """Return the texts at the top level of an object too large to parse.

    Looks at no more than two million tokens; what it does not find is left out.
    """
    found: dict[str, str] = {}
    depth, key = 0, None
    for token in islice(_TOKEN.finditer(raw), _MOST_TOKENS):
        mark = raw[token.start() : token.start() + 1]
        if mark in b"{[":
            depth, key = depth + 1, None
        elif mark in b"}]":
            depth -= 1
        elif depth == 1 and _COLON.match(raw, token.end()):
            key = _short(raw, token)
        elif depth == 1 and key is not None:
            found.setdefault(key, _short(raw, token))
            key = None
    return found


def _short(raw: bytes | bytearray, token: re.Match[bytes]) -> str:
    """Return the beginning of a text; the text may be nearly all there is."""
    start, end = token.start() + 1, token.end() - 1
    return raw[start : min(end, start + 4096)].decode("utf-8", "replace")
