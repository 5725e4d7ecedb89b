"""What endpoints send, read: server-sent events, and payloads as a dialect says.

Events come from bytes as they arrive, as the HTML standard says
(https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
Response objects, events and errors are read leniently: what a server leaves out or
spells oddly is data, never an error.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgresp.core.dialect import (
    EVENT_ID,
    EVENT_NAME,
    Dialect,
    Streaming,
    TextEvents,
    first_at,
    is_name,
    values_at,
)
from bgresp.core.model import ResponseError, Status, Usage
from bgresp.core.output import (
    is_commentary,
    read_answer,
    read_parts,
    status_word,
)
from bgresp.core.signals import Cursor, Event, Reading
from bgresp.core.text import parse_json
from bgresp.core.times import unix

MOST_OF_EVENT: Final = 16 * 1024 * 1024  # bytes of one event
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_RETRY: Final = 15  # digits
_MESSAGES: Final = ("error.message", "error.system_message", "message", "error_message")
_DETAILS: Final = ("detail", "detail[*].msg", "error")
MAX_ID: Final = 4096
WHOLE_ITEM: Final = "response.output_item.done"
ASSEMBLED: Final = "bgresp_assembled"  # in a saved response whose items passed by
MOST_PASSED: Final = 16 * 1024 * 1024  # characters of the events that have them
_ERRORS: Final = frozenset({"error", "response.error"})


class SseError(ValueError):
    """An event is larger than the limit; the stream cannot be trusted from there on."""


class ServerEvent(NamedTuple):
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

    def __init__(self, *, most: int = MOST_OF_EVENT) -> None:
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
            if self._data:
                events.append(self._dispatched())
            self._data, self._size, self._event, self._retry = [], 0, "", None
        self._check(self._size + len(self._rest))
        return events

    def _lines(self, chunk: bytes) -> Iterable[bytes]:
        """Return the lines that a chunk ends; most streams end them by LF alone."""
        if not self._begun or self._after_cr or b"\r" in chunk:
            return self._lines_by_any(chunk)
        *lines, rest = chunk.split(b"\n")
        if lines and self._rest:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        self._searched = len(self._rest)
        return lines

    def _lines_by_any(self, chunk: bytes) -> Iterator[bytes]:
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
            self._check(self._size)
        if line.startswith(b"data: "):
            self._data.append(line[6:].decode("utf-8", "replace"))
            return
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

    def _check(self, size: int) -> None:
        if size > self._most:
            raise SseError(f"an event of the stream is above {self._most} bytes")

    def _dispatched(self) -> ServerEvent:
        text = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
        return ServerEvent(text, self._event or "message", self._id, self._retry)


def read_id(dialect: Dialect, payload: Any) -> str | None:
    """Return a usable response id: text of 1 to 4096 characters.

    It may hold anything, controls too: it is shown by its job's own key then.
    """
    value = first_at(payload, dialect.reads.id)
    return value if isinstance(value, str) and is_id(value) else None


def is_id(text: str) -> bool:
    """Say whether an endpoint's word can be the id of a response."""
    try:
        return 0 < len(text) <= MAX_ID and bool(text.encode("utf-8"))
    except UnicodeEncodeError:  # half surrogates
        return False


def read_response(
    dialect: Dialect, payload: Mapping[str, Any], http_status: int | None = None
) -> Reading | None:
    """Read a response object; None when it has no status.

    `http_status` is that of the reply, for dialects whose states are told by it.
    """
    reads = dialect.reads
    word = status_word(dialect, payload, http_status)
    if word is None:
        return None
    status = dialect.states.get(word)
    reason = first_at(payload, reads.reason)
    if reason is None and status is Status.INCOMPLETE and word != status:
        reason = word
    model = first_at(payload, reads.model)
    key = first_at(payload, reads.key)
    background = payload.get("background")
    answer = read_answer(dialect.items, payload, word=word)
    return Reading(
        status=status or Status.IN_PROGRESS,
        raw_status=word,
        id=read_id(dialect, payload),
        text=answer.text or None,
        model=model if isinstance(model, str) else None,
        usage=_usage(dialect, payload),
        error=read_error(first_at(payload, reads.error)),
        incomplete_reason=str(reason) if reason is not None else None,
        created_at=unix(first_at(payload, reads.created)),
        finished_at=unix(first_at(payload, reads.finished)),
        key=key if isinstance(key, str) else None,
        known=status is not None,
        background=background if isinstance(background, bool) else None,
        answer=answer,
    )


def items_of(dialect: Dialect, payload: Mapping[str, Any]) -> list[Any]:
    """Return the items of a response object's answer."""
    found = (list(values_at(payload, path)) for path in dialect.items.items)
    return next((items for items in found if items), [])


class _Growing:
    """A step of Google's Interactions, which no event ever tells whole."""

    def __init__(self, begun: Mapping[str, Any]) -> None:
        """Take how it began."""
        self.begun = begun
        self.texts: list[str] = []
        self.arguments: list[str] = []
        self.annotations: list[Any] = []
        self.summary: list[Any] = []
        self.media: list[Any] = []
        self.rest: dict[str, Any] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take what one event adds."""
        for name, pieces in (("text", self.texts), ("arguments", self.arguments)):
            if isinstance(said := piece.get(name), str):
                pieces.append(said)
        if isinstance(some := piece.get("annotations"), list):
            self.annotations += some
        if isinstance(asked := piece.get("arguments"), Mapping):
            self.rest["arguments"] = asked
        if piece.get("type") == "thought_summary" and "content" in piece:
            self.summary.append(piece["content"])
        if isinstance(piece.get("data"), str):
            self.media.append(piece)

    def whole(self) -> dict[str, Any]:
        """Return the item as far as it was told."""
        item = {**self.begun, **self.rest}
        if said := "".join(self.arguments):
            try:
                item["arguments"] = parse_json(said)
            except ValueError:
                item["arguments"] = said
        content = list(self.media)
        if self.texts or self.annotations:
            text = {"type": "text", "text": "".join(self.texts)}
            content.insert(0, {**text, "annotations": self.annotations})
        told = {"content": content, "summary": self.summary}
        return {**item, **{name: some for name, some in told.items() if some}}


class PassedItems:
    """The items of an answer that a stream told, one by one.

    Some endpoints leave them out of the response that ends it (WIRE.md 7).
    """

    __slots__ = ("_growing", "_items", "_size")

    def __init__(self) -> None:
        """Know of none yet."""
        self._items: dict[int, Mapping[str, Any]] = {}
        self._growing: dict[int, _Growing] = {}
        self._size = 0

    def add(self, streaming: Streaming, event: Event) -> None:
        """Take an event that may have one, or a piece of it."""
        place, item = event.part[0], event.item
        is_begun = item is not None and event.type in streaming.begun
        is_whole = item is not None and event.type == WHOLE_ITEM
        is_more = event.grown is not None and place in self._growing
        if is_begun or is_whole or is_more:
            self._size += len(event.raw)
        if self._size > MOST_PASSED:
            return
        if is_begun and item is not None:
            self._growing[place] = _Growing(item)
        elif is_more and event.grown is not None:
            self._growing[place].add(event.grown)
        elif is_whole and item is not None:
            known = self._items.get(place)
            if known is not None and known.get("id") != item.get("id"):
                place = len(self._items)  # nobody numbers them
            self._items[place] = item

    def joined(self, dialect: Dialect, event: Event, streamed: str) -> Event:
        """Return an event that ends an answer with its items, if it brought none.

        Its response says so. Not with messages where `streamed`, the text that events
        told, is longer than theirs. Where some items passed by unseen its text is not
        sure: the endpoint is asked first.
        """
        response, reading = event.response, event.reading
        name = _list_of_items(dialect)
        if response is None or reading is None or name is None:
            return event
        if not reading.status.is_terminal or items_of(dialect, response):
            return event
        found: dict[int, Mapping[str, Any]] = {
            place: one.whole() for place, one in self._growing.items()
        }
        found |= self._items
        if not found:
            return event
        has_hole = set(found) != set(range(len(found))) or bool(self._growing)
        has_hole |= self._size > MOST_PASSED
        items = [found[place] for place in sorted(found)]
        how = "from the events of its stream" + ", not all" * has_hole
        whole = {**response, name: items, ASSEMBLED: how}
        if len(read_parts(dialect, whole).text) < len(streamed):
            texts = dialect.items.messages
            items = [i for i in items if first_at(i, dialect.items.type) not in texts]
            whole = {**whole, name: items}
        read = read_response(dialect, whole)
        if read is None:
            return event
        answer = read.answer.hiding(reading.hide)
        text = None if has_hole else read.text
        read = reading._replace(text=text, answer=answer)
        return event._replace(response=whole, reading=read)


def _list_of_items(dialect: Dialect) -> str | None:
    """Return the name of the list that a response object has its items in."""
    path = next(iter(dialect.items.items), "")
    name = path.removesuffix("[*]")
    return name if name != path and not set(name) & set(".[") else None


def _usage(dialect: Dialect, payload: Mapping[str, Any]) -> Usage | None:
    """Read what an answer used; a total that is not told is added up."""
    reads = dialect.reads
    usage = Usage.read(
        {
            "input_tokens": first_at(payload, reads.input_tokens),
            "output_tokens": first_at(payload, reads.output_tokens),
            "total_tokens": first_at(payload, reads.total_tokens),
            "reasoning_tokens": first_at(payload, reads.reasoning_tokens),
            "cached_tokens": first_at(payload, reads.cached_tokens),
            "cost": first_at(payload, reads.cost),
        }
    )
    if usage is None or usage.total_tokens is not None:
        return usage
    if usage.input_tokens is None or usage.output_tokens is None:
        return usage
    return usage._replace(total_tokens=usage.input_tokens + usage.output_tokens)


def read_error(raw: Any) -> ResponseError | None:
    """Read an error however it is spelled: text, or an object with code or message."""
    if raw is None or raw in ("", {}):
        return None
    if not isinstance(raw, Mapping):
        return ResponseError("error", str(raw))
    code = raw.get("code") if raw.get("code") is not None else raw.get("type")
    return ResponseError(str(code or "error"), str(raw.get("message") or code or raw))


def read_refusal(payload: Any, body: str) -> ResponseError:
    """Read the body of an HTTP error: JSON in any of the known shapes, else text.

    The parameter that it is about is said with the message.
    """
    message = first_at(payload, _MESSAGES)
    if message is None:
        strings = [v for v in map(str, _details(payload)) if v]
        message = "; ".join(strings) or " ".join(body.split())
    code = first_at(payload, ("error.code", "error.type", "code"))
    said = f"{str(message)[:500]}{_about(payload, str(message))}"
    return ResponseError(str(code if code is not None else ""), said)


ReadEvent = Callable[[Mapping[str, Any], str, str, str], Event]


def event_reader(dialect: Dialect) -> ReadEvent:
    """Return what reads the events of a stream as `read_event` does.

    It takes an event's JSON, SSE's name of it, the text itself and SSE's id. An event
    that only tells a delta, as nearly all do, is looked at straight where the dialect
    names its fields by single words.
    """

    def read(payload: Mapping[str, Any], name: str, raw: str, id_: str) -> Event:
        return read_event(dialect, payload, name=name, raw=raw, id_=id_)

    streaming = dialect.streaming
    kinds = {*streaming.delta.events} - {*streaming.full.events, *streaming.end}
    kinds -= {*streaming.refusal.events, *streaming.refused.events, *_ERRORS}
    sources = (streaming.event, streaming.cursor, streaming.delta.text)
    names = [*(some[0] for some in sources if some), *streaming.part]
    others = {path.partition(".")[0] for path in (*streaming.response, *streaming.item)}
    if len(names) != 5 or not all(map(is_name, (*names, *others))):
        return read
    event, cursor, text, item, part = names

    def read_delta(payload: Mapping[str, Any], name: str, raw: str, id_: str) -> Event:
        kind, number, delta = payload.get(event), payload.get(cursor), payload.get(text)
        output, content = payload.get(item), payload.get(part)
        if (
            type(kind) is str
            and kind in kinds
            and type(number) is int
            and type(delta) is str
            and type(output) is int
            and type(content) is int
            and others.isdisjoint(payload)
        ):
            return Event(kind, number, raw, (output, content), delta)
        return read(payload, name, raw, id_)

    return read_delta


def read_event(
    dialect: Dialect, payload: Mapping[str, Any], *, name: str, raw: str, id_: str = ""
) -> Event:
    """Read one event's JSON; `name` and `id_` are SSE's own, `raw` the text itself."""
    streaming = dialect.streaming
    kind = _event_type(streaming.event, payload, name)
    holder = first_at(payload, streaming.response)
    response = holder if isinstance(holder, Mapping) else None
    reading = read_response(dialect, response) if response else None
    last = reading is not None and reading.status.is_terminal
    is_error = kind in _ERRORS
    item = first_at(payload, streaming.item)
    nested = payload.get("error") or payload
    return Event(
        type=kind,
        sequence=_cursor(streaming, payload, id_),
        raw=raw,
        part=_part(payload, streaming.part),
        delta=_text_of(streaming.delta, kind, payload),
        full=_text_of(streaming.full, kind, payload),
        refusal=_text_of(streaming.refusal, kind, payload),
        refused=_text_of(streaming.refused, kind, payload),
        reading=reading,
        response=response,
        terminal=last or kind in streaming.end,
        error=read_error(nested) if is_error else None,
        item=item if isinstance(item, Mapping) else None,
        grown=_grown(streaming, kind, payload),
        is_aside=is_commentary(dialect.items, item),
    )


def _grown(
    streaming: Streaming, kind: str, payload: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    piece = payload.get("delta") if kind in streaming.grown else None
    return piece if isinstance(piece, Mapping) else None


def _about(payload: Any, message: str) -> str:
    param = first_at(payload, ("error.param", "param"))
    named = isinstance(param, str) and param and param not in message
    return f" (param {str(param)[:100]})" if named else ""


def _details(payload: Any) -> list[Any]:
    for path in _DETAILS:
        found = [v for v in values_at(payload, path) if isinstance(v, str)]
        if found:
            return found
    return []


def _event_type(sources: tuple[str, ...], payload: Any, name: str) -> str:
    for source in sources:
        value = name if source == EVENT_NAME else first_at(payload, (source,))
        if isinstance(value, str) and value:
            return value
    return ""


def _cursor(streaming: Streaming, payload: Any, id_: str) -> Cursor | None:
    for source in streaming.cursor:
        value = id_ if source == EVENT_ID else first_at(payload, (source,))
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and _can_be_sent(value, streaming.resume):
            return value
    return None


def _can_be_sent(cursor: str, resume: str) -> bool:
    """Say whether a request can say a cursor; a header carries less than a query."""
    if not resume.startswith("header:"):
        return is_id(cursor)
    plain = cursor.isascii() and cursor.isprintable() and cursor == cursor.strip()
    return plain and is_id(cursor)


def _part(payload: Any, sources: tuple[str, ...]) -> tuple[int, int]:
    """Return which part of the output an event tells of: of which item, which part."""
    found = [first_at(payload, (source,)) for source in sources]
    item, part = [n if type(n) is int else 0 for n in (*found, 0, 0)][:2]
    return item, part


def _text_of(events: TextEvents, kind: str, payload: Any) -> str | None:
    """Return the text that an event tells, maybe an empty one; None where none is."""
    if kind not in events.events:
        return None
    values = (value for path in events.text for value in values_at(payload, path))
    return next((value for value in values if isinstance(value, str)), None)
