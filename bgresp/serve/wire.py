"""What a background response looks like on the wire, both ways, and how we say no.

A create call's body is read and checked, its input becomes items. The object, its
events and the error envelope have OpenAI's shapes. Pure.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

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
_TYPES: Mapping[str, tuple[type, str]] = {
    "background": (bool, "a boolean"),
    "store": (bool, "a boolean"),
    "stream": (bool, "a boolean"),
    "model": (str, "a string"),
    "previous_response_id": (str, "a string"),
    "max_output_tokens": (int, "an integer"),
    "metadata": (dict, "an object"),
    "tools": (list, "an array"),
    "include": (list, "an array"),
    "instructions": (str, "a string"),
    "reasoning": (dict, "an object"),
    "text": (dict, "an object"),
}
# What OpenAI takes as `include`; what an engine does not have stays out, as there.
INCLUDABLE = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
_PAIRS, _KEY, _VALUE = 16, 64, 512  # OpenAI's limits of metadata


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


def read(body: bytes) -> Json:
    """Parse the body of a create call; raise what OpenAI would answer."""
    try:
        request = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        message = "We could not parse the JSON body of your request."
        raise RefusalError(invalid(message)) from None
    if not isinstance(request, dict):
        raise RefusalError(invalid("The request body must be a JSON object."))
    refusal = next(_faults(request), None)
    if refusal is not None:
        raise RefusalError(refusal)
    return request


def items(response_id: str, request: Mapping[str, Any]) -> list[Json]:
    """Return the input as a list of items, each with a type and an id."""
    given = request["input"]
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return [_item(item, f"{response_id}:{n}") for n, item in enumerate(given)]


def prompt(request: Mapping[str, Any]) -> str:
    """Return the text of the input, its parts joined by newlines."""
    return items_text(items("", request))


def items_text(found: Iterable[Json]) -> str:
    """Return the text of some items, their parts joined by newlines."""
    return "\n".join(
        part["text"]
        for item in found
        for part in _parts(item)
        if isinstance(part.get("text"), str)
    )


def conversation(found: Sequence[Json]) -> str:
    """Return items as text for a program: the prompt, or all turns with their roles."""
    if all(item.get("role", "user") == "user" for item in found):
        return items_text(found)
    turns = []
    for item in found:
        text = items_text([item])
        if not text and isinstance(item.get("output"), str):
            text = item["output"]
        who = str(item.get("role") or item.get("type") or "user")
        if text:
            turns.append(f"{who.capitalize()}: {text}")
    return "\n\n".join(turns)


def _faults(request: Json) -> Iterator[Refusal]:
    if request.get("input") is None:
        message = "Missing required parameter: 'input'."
        yield invalid(message, "input", "missing_required_parameter")
    if not _is_input(request.get("input")):
        yield wrong_type("input", "a string or an array of objects", request["input"])
    for name, (kind, expected) in _TYPES.items():
        value = request.get(name)
        if value is not None and type(value) is not kind:
            yield wrong_type(name, expected, value)
    yield from _limits(request)


def _limits(request: Json) -> Iterator[Refusal]:
    tokens = request.get("max_output_tokens")
    if tokens is not None and tokens < 1:
        message = (
            "Invalid 'max_output_tokens': integer below minimum value. "
            f"Expected a value >= 1, but got {tokens} instead."
        )
        yield invalid(message, "max_output_tokens", "integer_below_min_value")
    if not _is_metadata(request.get("metadata") or {}):
        message = (
            f"Invalid 'metadata': at most {_PAIRS} pairs of strings, "
            f"keys up to {_KEY} and values up to {_VALUE} characters."
        )
        yield invalid(message, "metadata", "invalid_value")
    include = request.get("include") or []
    if not all(isinstance(name, str) for name in include):
        yield wrong_type("include", "an array of strings", include)
    yield from includes(include)


def includes(names: Iterable[str]) -> Iterator[Refusal]:
    """Refuse names of `include` that nobody knows."""
    for name in names:
        if name not in INCLUDABLE:
            known = ", ".join(f"'{one}'" for one in INCLUDABLE)
            message = f"Invalid value: '{name}'. Supported values are: {known}."
            yield invalid(message, "include", "invalid_value")


def reference(item: Json) -> str | None:
    """Return the id that an input item stands for, where it is a reference."""
    is_one = item.get("type") == "item_reference" or item.keys() == {"id"}
    found = item.get("id") if is_one else None
    return found if isinstance(found, str) else None


def _is_input(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, dict) for item in value)
    return isinstance(value, str)


def _is_metadata(pairs: Json) -> bool:
    return len(pairs) <= _PAIRS and all(
        len(key) <= _KEY and isinstance(value, str) and len(value) <= _VALUE
        for key, value in pairs.items()
    )


def _item(item: Json, seed: str) -> Json:
    name = f"msg_{hashlib.sha256(seed.encode()).hexdigest()[:32]}"
    named = {"id": name}
    if not isinstance(item.get("id", name), str):
        item = {**item, **named}
    if item.get("type", "message") != "message":
        return named | item
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    message = {"type": "message", "status": "completed", "role": "user"}
    return named | message | item | {"content": content or []}


def _parts(item: Json) -> list[Json]:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict)]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON
