"""What a background response looks like on the wire: the object and its events.

Pure; imports the standard library alone. The shapes are OpenAI's.
"""

import json
import re
from collections.abc import Mapping
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
