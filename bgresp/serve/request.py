"""What a create call may say: the body read, checked, and its input as items.

Pure.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from bgresp.serve.wire import Json, Refusal, RefusalError, invalid, wrong_type

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
