"""What a background response looks like on the wire, and how the endpoint says no.

The object, its events and the error envelope have OpenAI's shapes. Pure; imports the
standard library alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ID = re.compile(r"resp_[0-9a-f]{32}")
OPEN = frozenset({"queued", "in_progress"})
ENDED = frozenset({"completed", "failed", "incomplete", "cancelled"})
STATUSES = OPEN | ENDED
LAST_EVENTS = frozenset(f"response.{status}" for status in ENDED)

_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def dumps(value: object) -> str:
    """Write JSON in ASCII: no line separator, no lone surrogate on the wire."""
    return json.dumps(value, separators=(",", ":"))


def response(
    response_id: str, request: Mapping[str, Any], created_at: float, model: str
) -> Json:
    """Return the Response object of a request that has just been accepted.

    `model` is what it is called where the request names none.
    """
    background = bool(request.get("background"))
    echoed = {
        name: default if request.get(name) is None else request[name]
        for name, default in _ECHOED.items()
    }
    echoed["model"] = request.get("model") or model
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(created_at),
        "status": "queued" if background else "in_progress",
        "background": background,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
        **echoed,
    }


def damaged(response_id: str, created_at: float, *, background: bool) -> Json:
    """Return a failed Response in place of one whose record cannot be read."""
    error = {
        "code": "record_damaged",
        "message": "The stored record of this response cannot be read any more.",
    }
    empty = response(response_id, {"background": background}, created_at, "unknown")
    return {**empty, "status": "failed", "error": error}


def usage(input_tokens: int, output_tokens: int) -> Json:
    """Return the usage of a response that ended by itself."""
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }


def filled_usage(found: Json | None) -> Json | None:
    """Return an engine's usage with every field that a client's types require."""
    if found is None:
        return None
    whole = usage(0, 0)
    for name, value in found.items():
        if isinstance(whole.get(name), dict) and isinstance(value, dict):
            value = {**whole[name], **value}  # noqa: PLW2901 # filled in
        if value is not None:
            whole[name] = value
    return whole


def lifecycle(kind: str, snapshot: Json) -> Json:
    """Return an event that carries the whole response."""
    return {"type": f"response.{kind}", "response": snapshot}


def opening(snapshot: Json) -> list[Json]:
    """Return the events that a response begins with."""
    if not snapshot["background"]:
        return [lifecycle("created", snapshot)]
    return [lifecycle("created", snapshot), lifecycle("queued", snapshot)]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status and what OpenAI's error envelope says with it."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    type: str = "invalid_request_error"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the envelope."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


class RefusalError(Exception):
    """A request is answered with its refusal and nothing else happens."""

    def __init__(self, refusal: Refusal) -> None:
        """Keep the refusal."""
        super().__init__(refusal.message)
        self.refusal = refusal


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """Refuse a request that makes no sense."""
    return Refusal(400, message, param, code)


def wrong_type(param: str, expected: str, value: object) -> Refusal:
    """Refuse a field of the wrong JSON type, in OpenAI's words."""
    message = (
        f"Invalid type for '{param}': expected {expected}, "
        f"but got {_kind(value)} instead."
    )
    return invalid(message, param, "invalid_type")


def not_found(response_id: str) -> Refusal:
    """Refuse an id that this tenant has not, or has no more."""
    return Refusal(404, f"Response with id '{response_id}' not found.")


def no_item(item_id: str) -> Refusal:
    """Refuse a reference to an item that this tenant has not, or has no more."""
    return Refusal(404, f"Item with id '{item_id}' not found.", "input")


def unauthorized() -> Refusal:
    """Refuse a missing or wrong key."""
    return Refusal(401, "Incorrect API key provided.", code="invalid_api_key")


def foreign_page() -> Refusal:
    """Refuse a browser page that is not the endpoint's own."""
    return Refusal(403, "This endpoint answers no web page but its own.")


def too_large(limit: int) -> Refusal:
    """Refuse a body above the limit."""
    return Refusal(413, f"Request body is larger than {limit} bytes.")


def too_slow(seconds: float) -> Refusal:
    """Refuse a body that stopped coming; the connection is of no more use."""
    message = f"The request body made no progress for {seconds:g} seconds."
    return Refusal(408, message, headers={"connection": "close"})


def queue_full(limit: int) -> Refusal:
    """Refuse a job for now: as many wait as may."""
    return Refusal(
        429,
        f"The queue is full: {limit} responses wait.",
        code="rate_limit_exceeded",
        type="rate_limit_error",
        headers={"retry-after": "5"},
    )


def key_reused() -> Refusal:
    """Refuse an idempotency key that stands for another request already."""
    message = "This Idempotency-Key was used with another request body."
    return Refusal(422, message, code="idempotency_key_reused")


def storage_full() -> Refusal:
    """Refuse a job because it could not be kept; nothing was accepted."""
    return Refusal(
        507,
        "There is no room to store another response.",
        code="insufficient_storage",
        type="server_error",
        headers={"retry-after": "30"},
    )


def no_model(name: str) -> Refusal:
    """Refuse the name of a model that the engine does not list."""
    message = f"The model '{name}' does not exist."
    return Refusal(404, message, "model", "model_not_found")


def no_models(reason: str) -> Refusal:
    """Say that the engine's models cannot be listed."""
    return Refusal(502, reason, code="upstream_error", type="server_error")


def stopping() -> Refusal:
    """Refuse a job because the endpoint is about to leave; nothing was accepted."""
    return Refusal(
        503,
        "The local endpoint is stopping.",
        code="server_stopping",
        type="server_error",
        headers={"retry-after": "1", "x-should-retry": "true"},
    )


def broken() -> Refusal:
    """Own up to a fault of the endpoint itself."""
    return Refusal(
        500,
        "The local endpoint failed to process the request.",
        code="server_error",
        type="server_error",
    )


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a decimal number",
        str: "a string",
        list: "an array",
    }
    return names.get(type(value), "an object")
