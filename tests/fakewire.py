"""What a Responses endpoint says of a job, and the ways its history goes wrong.

Pure: events and responses as plain values; fakeanswers.py puts them on the wire.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

Json = dict[str, Any]
Events = list[Json]
Change = Callable[[Events], Events]

FOX = "The quick brown fox jumps over the lazy dog."
FIRST_ID = f"resp_{1:032x}"
CREATED_AT = 1_700_000_000
TERMINAL = frozenset({"completed", "failed", "incomplete", "cancelled"})


def words(text: str) -> list[str]:
    """Split a text into deltas: words, each with the space after it."""
    return [word for word in text.replace(" ", " \0").split("\0") if word]


def _message(index: int, text: str, status: str) -> Json:
    return {
        "id": f"msg_{index}",
        "type": "message",
        "status": "in_progress" if status == "cancelled" else status,
        "role": "assistant",
        "content": [_part(text)],
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def response_of(
    status: str, text: str | Sequence[str] = "", *, response_id: str = FIRST_ID
) -> Json:
    """Build a Response; the text is one message, a sequence one message each."""
    texts = [text] * bool(text) if isinstance(text, str) else list(text)
    count = sum(len(words(each)) for each in texts)
    reasons = {"incomplete": {"reason": "max_output_tokens"}}
    errors = {"failed": {"code": "server_error", "message": "The model failed."}}
    usage = {"input_tokens": 5, "output_tokens": count, "total_tokens": 5 + count}
    details = {
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": response_id,
        "object": "response",
        "created_at": CREATED_AT,
        "status": status,
        "background": True,
        "completed_at": CREATED_AT if status == "completed" else None,
        "error": errors.get(status),
        "incomplete_details": reasons.get(status),
        "instructions": None,
        "metadata": {},
        "model": "fake-model",
        "output": [_message(n, each, status) for n, each in enumerate(texts)],
        "parallel_tool_calls": True,
        "store": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage | details if status in {"completed", "incomplete"} else None,
    }


def text_of(response: Json) -> str:
    """Join the output texts of a Response, as the official SDK's output_text does."""
    contents = (item.get("content", ()) for item in response["output"])
    return "".join(part["text"] for content in contents for part in content)


def lifecycle(kind: str, response: Json) -> Json:
    """Build an event that carries the whole response."""
    return {"type": f"response.{kind}", "sequence_number": None, "response": response}


def numbered(events: Sequence[Json], start: int = 0) -> Events:
    """Give each event the next sequence number."""
    return [event | {"sequence_number": n} for n, event in enumerate(events, start)]


def _message_events(index: int, deltas: Sequence[str]) -> Events:
    text = "".join(deltas)
    at: Json = {
        "sequence_number": None,
        "item_id": f"msg_{index}",
        "output_index": index,
        "content_index": 0,
    }
    added = _message(index, "", "in_progress") | {"content": []}
    bodies: list[tuple[str, Json]] = [
        ("output_item.added", {"output_index": index, "item": added}),
        ("content_part.added", at | {"part": _part("")}),
        *(("output_text.delta", at | {"delta": d, "logprobs": []}) for d in deltas),
        ("output_text.done", at | {"text": text, "logprobs": []}),
        ("content_part.done", at | {"part": _part(text)}),
        (
            "output_item.done",
            {"output_index": index, "item": _message(index, text, "completed")},
        ),
    ]
    return [{"type": f"response.{kind}"} | body for kind, body in bodies]


def events_of(
    text: str = "",
    *,
    response_id: str = FIRST_ID,
    parts: Sequence[Sequence[str]] | None = None,
    start: int = 0,
    status: str = "completed",
) -> Events:
    """Tell a whole job in OpenAI's order: the text in words, or each part's deltas."""
    deltas = [words(text)] if parts is None else parts
    texts = ["".join(part) for part in deltas]
    queued = response_of("queued", response_id=response_id)
    running = response_of("in_progress", response_id=response_id)
    final = response_of(status, texts, response_id=response_id)
    # The last event of a cancelled job is response.failed (WIRE.md 2.2, Azure).
    ending = "failed" if status == "cancelled" else status
    return numbered(
        [
            lifecycle("created", queued),
            lifecycle("queued", queued),
            lifecycle("in_progress", running),
            *(e for n, part in enumerate(deltas) for e in _message_events(n, part)),
            lifecycle(ending, final),
        ],
        start,
    )


def final_of(events: Sequence[Json]) -> Json:
    """Return the Response that a whole history ends in, told or not."""
    last, first = events[-1], events[0]["response"]
    if last.get("response", {}).get("status") in TERMINAL:
        return dict(last["response"])
    deltas = [e["delta"] for e in events if e["type"].endswith("output_text.delta")]
    status = "failed" if last["type"] == "error" else "completed"
    return response_of(status, "".join(deltas), response_id=first["id"])


class Resume(Enum):
    """Which events a server sends to a client that has seen number N."""

    EXCLUSIVE = auto()
    INCLUSIVE = auto()
    REPLAY = auto()


def resumed(
    events: Sequence[Json], after: int | None, resume: Resume = Resume.EXCLUSIVE
) -> Events:
    """Select what is sent after that number; None means that nothing was seen."""
    if after is None or resume is Resume.REPLAY:
        return list(events)
    first = after if resume is Resume.INCLUSIVE else after + 1
    return [event for event in events if event.get("sequence_number", first) >= first]


def unchanged(events: Events) -> Events:
    """Leave the events as they are."""
    return events


def left_out(*numbers: int) -> Change:
    """Make a gap: these events are never sent."""
    return lambda events: [e for e in events if e.get("sequence_number") not in numbers]


def doubled(events: Events) -> Events:
    """Send every event twice."""
    return [event for event in events for _ in range(2)]


def swapped(number: int) -> Change:
    """Send the event of that number after the one that follows it."""
    return lambda events: sorted(
        events,
        key=lambda e: e["sequence_number"] + 1.5 * (e["sequence_number"] == number),
    )


def unnumbered(events: Events) -> Events:
    """Leave the sequence numbers away."""
    return [{k: v for k, v in e.items() if k != "sequence_number"} for e in events]


def unended(events: Events) -> Events:
    """Leave the terminal event away."""
    return [e for e in events if e.get("response", {}).get("status") not in TERMINAL]


def kept_alive(events: Events) -> Events:
    """Put a keepalive, which takes a number of its own, after every event but last."""
    alive = {"type": "keepalive", "sequence_number": None}
    return numbered([e for event in events for e in (event, alive)][:-1])


def restarted(number: int) -> Change:
    """Begin anew after that event with a second response.in_progress that resets."""
    return lambda events: numbered([*events[: number + 1], *events[2:]])


def ended(kind: str, status: str) -> Change:
    """End in an event of that kind whose response has that status."""

    def change(events: Events) -> Events:
        final = final_of(events)
        text = "" if status == "cancelled" else text_of(final)
        response = response_of(status, text, response_id=final["id"])
        number = events[-1]["sequence_number"]
        last = {"type": kind, "sequence_number": number, "response": response}
        return [*events[:-1], last]

    return change


def errored(number: int, *, nested: bool = False) -> Change:
    """End in an `error` event of that number, flat as in the spec or nested as seen."""
    fault = {"code": "server_error", "message": "It broke.", "param": None}
    last = {"type": "error", "sequence_number": number}
    last |= {"error": fault} if nested else fault
    return lambda events: [*events[:number], last]
