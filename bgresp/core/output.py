"""What an answer's stream tells beside its text: reasoning summaries, tool calls.

The names are those of OpenAI's streaming events; an event that is spelled otherwise is
no aside, never an error.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

REASONING: Final = "reasoning"
TOOLS: Final = "tools"
KINDS: Final = (REASONING, TOOLS)
LARGEST: Final = 1 << 20  # bytes of an event that is looked into
_TOLD: Final = re.compile(
    r'"response\.(?:reasoning_(?:summary_)?text\.done|output_item\.(?:added|done))"'
)
# Where the items of tool calls say what they are about.
_ABOUT: Final = (
    *("arguments", "input", "code", "query", "queries", "command", "commands"),
)


@dataclass(frozen=True, slots=True)
class Aside:
    """Something beside the text: `text` is empty where it only began.

    `name` is what runs: `reasoning`, or the tool.
    """

    kind: str
    name: str
    text: str = ""


def aside(raw: str) -> Aside | None:
    """Read an event's JSON; None where it tells nothing beside the text."""
    if len(raw) > LARGEST or not _TOLD.search(raw):
        return None
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    kind = event.get("type") if isinstance(event, Mapping) else None
    if not isinstance(kind, str):
        return None
    text = event.get("text")
    if kind.startswith("response.reasoning") and kind.endswith("text.done"):
        return Aside(REASONING, REASONING, text) if _is_text(text) else None
    item = event.get("item")
    if kind.startswith("response.output_item.") and isinstance(item, Mapping):
        return _of_item(item, begun=kind.endswith("added"))
    return None


def _of_item(item: Mapping[str, Any], *, begun: bool) -> Aside | None:
    kind = item.get("type")
    if kind == "reasoning":
        return Aside(REASONING, REASONING) if begun else None
    if not isinstance(kind, str) or not kind.endswith("_call"):
        return None
    own = item.get("name")
    name = own if isinstance(own, str) and own else kind.removesuffix("_call")
    if begun:
        return Aside(TOOLS, name)
    action = item.get("action")
    about = _about(item) or (_about(action) if isinstance(action, Mapping) else "")
    return Aside(TOOLS, name, f"{name}({about})")


def _about(item: Mapping[str, Any]) -> str:
    for field in _ABOUT:
        value = item.get(field)
        if _is_text(value):
            return str(value)
        if isinstance(value, list) and value and all(map(_is_text, value)):
            return ", ".join(value)
    return ""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
