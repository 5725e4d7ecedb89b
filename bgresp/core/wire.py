"""Between a dialect and the machine: requests out, payloads in.

May import core.dialect, core.model, core.paths, core.signals and core.times. Reading
is lenient: what a server leaves out or spells oddly is data, never an error.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from bgresp.core import paths
from bgresp.core.dialect import (
    EVENT_ID,
    EVENT_NAME,
    HOLE,
    HTTP_STATUS,
    Dialect,
    Op,
    Told,
)
from bgresp.core.model import ResponseError, Status, Usage
from bgresp.core.signals import Cursor, Event, Reading
from bgresp.core.times import unix

_MESSAGES: Final = ("error.message", "error.system_message", "message", "error_message")
_DETAILS: Final = ("detail", "detail[*].msg", "error")
MAX_ID: Final = 4096
_UNSAFE_IN_ID: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill `{name}` holes in a tree.

    An entry with an unset hole is left out, and a table or list of which nothing is
    left; an item of a list with an unset hole goes whole: a message without its content
    says nothing. A text that is one hole and nothing else keeps the JSON type of its
    value.
    """
    if isinstance(template, Mapping):
        filled = {key: fill(value, values) for key, value in template.items()}
        return {k: v for k, v in filled.items() if _says(v, template[k])}
    if isinstance(template, list):
        return [fill(item, values) for item in template if _is_set(item, values)]
    if not isinstance(template, str):
        return template
    whole = HOLE.fullmatch(template)
    if whole:
        return values.get(whole[1])
    if any(values.get(name) is None for name in HOLE.findall(template)):
        return None
    return HOLE.sub(lambda hole: str(values[hole[1]]), template)


def _says(filled: Any, template: Any) -> bool:
    """Say whether something is left of an entry; what was empty may stay so."""
    if filled is None or filled == "":
        return False
    emptied = isinstance(template, Mapping | list) and template and not filled
    return not emptied


def _is_set(item: Any, values: Mapping[str, Any]) -> bool:
    """Say whether an item of a list has a value in each of its holes."""
    if isinstance(item, Mapping):
        return all(_is_set(value, values) for value in item.values())
    filled = fill(item, values)
    return filled == "" or _says(filled, item)


def target(op: Op, values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the path and query of an operation; every value is percent-encoded.

    Dots are encoded too where they alone make up a value: `..` must stay an id.
    """
    path, _, query = op.path.partition("?")
    encoded = {name: encode(str(v)) for name, v in values.items() if v is not None}
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    wanted = {name: fill(value, values) for name, _, value in pairs}
    filled = HOLE.sub(lambda hole: encoded.get(hole[1], ""), path)
    return filled, {name: str(v) for name, v in wanted.items() if v is not None}


def encode(value: str) -> str:
    """Percent-encode one path segment, dot segments too."""
    quoted = quote(value, safe="", errors="surrogatepass")
    return quoted.replace(".", "%2E") if set(value) <= {"."} else quoted


def read_id(dialect: Dialect, payload: Any) -> str | None:
    """Return a usable response id: text of 1 to 4096 characters, no controls."""
    value = paths.first(payload, dialect.reads.id)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        return None
    return None if _UNSAFE_IN_ID.search(value) else value


def read_response(
    dialect: Dialect, payload: Mapping[str, Any], http_status: int | None = None
) -> Reading | None:
    """Read a response object; None when it has no status.

    `http_status` is that of the reply, for dialects whose states are told by it.
    """
    reads = dialect.reads
    word = _status_word(dialect, payload, http_status)
    if word is None:
        return None
    status = dialect.states.get(word)
    reason = paths.first(payload, reads.reason)
    if reason is None and status is Status.INCOMPLETE and word != status:
        reason = word
    model = paths.first(payload, reads.model)
    key = paths.first(payload, reads.key)
    background = payload.get("background")
    return Reading(
        status=status or Status.IN_PROGRESS,
        raw_status=word,
        id=read_id(dialect, payload),
        text=read_text(dialect, payload),
        model=model if isinstance(model, str) else None,
        usage=_usage(dialect, payload),
        error=read_error(paths.first(payload, reads.error)),
        incomplete_reason=str(reason) if reason is not None else None,
        created_at=unix(paths.first(payload, reads.created)),
        finished_at=unix(paths.first(payload, reads.finished)),
        key=key if isinstance(key, str) else None,
        known=status is not None,
        background=background if isinstance(background, bool) else None,
    )


def read_text(dialect: Dialect, payload: Mapping[str, Any]) -> str | None:
    """Return the text of a response object; None where it has none."""
    return paths.text(payload, dialect.reads.text)


def _status_word(
    dialect: Dialect, payload: Mapping[str, Any], http_status: int | None
) -> str | None:
    """Return the first word that the dialect knows, else the first there is."""
    words = []
    for path in dialect.reads.status:
        found: Any = http_status
        if path != HTTP_STATUS:
            found = paths.first(payload, (path,))
        elif found is not None:
            found = str(found)
        if isinstance(found, str):
            words.append(found)
    known = (word for word in words if word in dialect.states)
    return next(known, words[0] if words else None)


def _usage(dialect: Dialect, payload: Mapping[str, Any]) -> Usage | None:
    reads = dialect.reads
    return Usage.read(
        {
            "input_tokens": paths.first(payload, reads.input_tokens),
            "output_tokens": paths.first(payload, reads.output_tokens),
            "total_tokens": paths.first(payload, reads.total_tokens),
        }
    )


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
    message = paths.first(payload, _MESSAGES)
    if message is None:
        strings = [v for v in map(str, _details(payload)) if v]
        message = "; ".join(strings) or " ".join(body.split())
    code = paths.first(payload, ("error.code", "error.type", "code"))
    said = f"{str(message)[:500]}{_about(payload, str(message))}"
    return ResponseError(str(code if code is not None else ""), said)


def read_event(
    dialect: Dialect, payload: Mapping[str, Any], *, name: str, raw: str, id_: str = ""
) -> Event:
    """Read one event's JSON; `name` and `id_` are SSE's own, `raw` the text itself."""
    streaming = dialect.streaming
    kind = _event_type(streaming.event, payload, name)
    holder = paths.first(payload, streaming.response)
    response = holder if isinstance(holder, Mapping) else None
    reading = read_response(dialect, response) if response else None
    last = reading is not None and reading.status.is_terminal
    is_error = kind in {"error", "response.error"}
    nested = payload.get("error") or payload
    return Event(
        type=kind,
        sequence=_cursor(streaming.cursor, payload, id_),
        raw=raw,
        part=_part(payload, streaming.part),
        delta=_told(streaming.delta, kind, payload),
        full=_told(streaming.full, kind, payload),
        reading=reading,
        response=response,
        terminal=last or kind in streaming.end,
        error=read_error(nested) if is_error else None,
    )


def _about(payload: Any, message: str) -> str:
    param = paths.first(payload, ("error.param", "param"))
    named = isinstance(param, str) and param and param not in message
    return f" (param {str(param)[:100]})" if named else ""


def _details(payload: Any) -> list[Any]:
    for path in _DETAILS:
        found = [v for v in paths.walk(payload, path) if isinstance(v, str)]
        if found:
            return found
    return []


def _event_type(sources: tuple[str, ...], payload: Any, name: str) -> str:
    for source in sources:
        value = name if source == EVENT_NAME else paths.first(payload, (source,))
        if isinstance(value, str) and value:
            return value
    return ""


def _cursor(sources: tuple[str, ...], payload: Any, id_: str) -> Cursor | None:
    for source in sources:
        value = id_ if source == EVENT_ID else paths.first(payload, (source,))
        if isinstance(value, int | str) and not isinstance(value, bool) and value != "":
            return value
    return None


def _part(payload: Any, sources: tuple[str, ...]) -> tuple[int, int]:
    """Return which part of the output an event tells of: of which item, which part."""
    found = [paths.first(payload, (source,)) for source in sources]
    item, part = [n if type(n) is int else 0 for n in (*found, 0, 0)][:2]
    return item, part


def _told(told: Told, kind: str, payload: Any) -> str | None:
    """Return the text that an event tells, maybe an empty one; None where none is."""
    if kind not in told.events:
        return None
    values = (value for path in told.text for value in paths.walk(payload, path))
    return next((value for value in values if isinstance(value, str)), None)
