"""Errors as people and scripts read them: one line on stderr, no traceback."""

from typing import Any, Final

from bgresp.core.errors import BgrespError
from bgresp.core.printable import one_line
from bgresp.render.streams import Streams
from bgresp.render.streams import as_json as encode

SCHEMA: Final = "bgresp.error/1"


def show(streams: Streams, error: BgrespError, *, as_json: bool) -> None:
    """Write an error to stderr: what happened, and the next command to type."""
    if as_json:
        streams.say(encode(record(error)))
        return
    rid = f" [request {error.request_id}]" if error.request_id else ""
    streams.say(
        "bgresp: " + one_line(f"{error.message}{rid} ({error.advice})", limit=2000)
    )


def record(error: BgrespError) -> dict[str, Any]:
    """Return the error's JSON form: CONTRACT.md, Machine output."""
    return {
        "schema": SCHEMA,
        "code": int(error.code),
        "kind": error.kind,
        "message": one_line(error.message, limit=2000),
        "hint": error.advice,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }
