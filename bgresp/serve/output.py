"""The output items of a response, as the events that build them.

`OutputWriter` turns pieces of text, reasoning and calls into events; `Output` folds any
events, an upstream's too, back into items. Pure; the shapes are OpenAI's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.serve.wire import Json

TEXT: Final = "response.output_text.delta"
MOST_ITEMS: Final = 4096  # an upstream's index beyond it is nonsense


@dataclass(slots=True)
class _Open:
    """An item that is being written: its kind, place, and pieces so far."""

    kind: str
    index: int
    item: Json
    pieces: list[str] = field(default_factory=list)


# Per kind of item: what its part is called, the names of its delta and done events,
# and the field that the text has in them and in its part.
_PARTS: Final = {
    "message": ("output_text", "response.output_text", "text"),
    "refusal": ("refusal", "response.refusal", "refusal"),
    "reasoning": ("reasoning_text", "response.reasoning_text", "text"),
}


class OutputWriter:
    """Writes items one after the other; several calls may be open at once."""

    def __init__(self, response_id: str) -> None:
        """Name the items after their response."""
        self._stem = response_id.removeprefix("resp_")
        self._count = 0
        self._open: _Open | None = None
        self._calls: dict[int, _Open] = {}

    def text(self, piece: str) -> list[Json]:
        """Return the events of one more piece of the answer's text."""
        return self._piece("message", piece)

    def refusal(self, piece: str) -> list[Json]:
        """Return the events of one more piece of a refusal."""
        return self._piece("refusal", piece)

    def reasoning(self, piece: str) -> list[Json]:
        """Return the events of one more piece of reasoning."""
        return self._piece("reasoning", piece)

    def call(self, number: int, *, call_id: str, name: str, piece: str) -> list[Json]:
        """Return the events of one more piece of a function call's arguments.

        `number` tells the calls of one answer apart; id and name hold from its first
        piece on.
        """
        events: list[Json] = []
        if number not in self._calls:
            events += self._closed("completed")
            item = {
                "type": "function_call",
                "status": "in_progress",
                "call_id": call_id,
                "name": name,
                "arguments": "",
            }
            self._calls[number] = self._begun("function_call", "fc", item)
            events.append(_added(self._calls[number]))
        call = self._calls[number]
        if piece:
            call.pieces.append(piece)
            kind = "response.function_call_arguments.delta"
            events.append({"type": kind, **_place(call), "delta": piece})
        return events

    def finish(self, status: str = "completed", *, empty: bool = False) -> list[Json]:
        """Return the events that end what is open.

        With `empty` an answer without items is a message without text.
        """
        events: list[Json] = []
        if empty and not self._count:
            events += self._started("message")
        events += self._closed(status)
        for call in self._calls.values():
            arguments = "".join(call.pieces)
            kind = "response.function_call_arguments.done"
            name = call.item["name"]
            done = {**call.item, "status": status, "arguments": arguments}
            told = {"arguments": arguments, "name": name}
            events += [{"type": kind, **_place(call), **told}, _done(call, done)]
        self._calls = {}
        return events

    def _piece(self, kind: str, piece: str) -> list[Json]:
        events = self._started(kind)
        if self._open is not None:
            self._open.pieces.append(piece)
            events.append(_delta(self._open, piece))
        return events

    def _started(self, kind: str) -> list[Json]:
        if self._open is not None and self._open.kind == kind:
            return []
        events = self._closed("completed")
        if kind == "reasoning":
            item: Json = {"type": "reasoning", "summary": [], "content": []}
            self._open = self._begun(kind, "rs", item)
        else:
            item = {"type": "message", "status": "in_progress", "role": "assistant"}
            self._open = self._begun(kind, "msg", {**item, "content": []})
        part = {"type": "response.content_part.added", **_inside(self._open)}
        return [*events, _added(self._open), {**part, "part": _part(kind, "")}]

    def _begun(self, kind: str, prefix: str, item: Json) -> _Open:
        index, self._count = self._count, self._count + 1
        number = f"_{index}" if index else ""
        return _Open(kind, index, {"id": f"{prefix}_{self._stem}{number}", **item})

    def _closed(self, status: str) -> list[Json]:
        if self._open is None:
            return []
        open_, self._open = self._open, None
        _, stem, name = _PARTS[open_.kind]
        text = "".join(open_.pieces)
        part = _part(open_.kind, text)
        item = {**open_.item, "content": [part]}
        if "status" in item:
            item["status"] = status
        ended = {"type": f"{stem}.done", **_inside(open_), name: text}
        if open_.kind == "message":
            ended["logprobs"] = []
        parted = {"type": "response.content_part.done", **_inside(open_), "part": part}
        return [ended, parted, _done(open_, item)]


def _place(open_: _Open) -> Json:
    return {"item_id": open_.item["id"], "output_index": open_.index}


def _inside(open_: _Open) -> Json:
    return {**_place(open_), "content_index": 0}


def _added(open_: _Open) -> Json:
    kind = "response.output_item.added"
    return {"type": kind, "output_index": open_.index, "item": open_.item}


def _done(open_: _Open, item: Json) -> Json:
    kind = "response.output_item.done"
    return {"type": kind, "output_index": open_.index, "item": item}


def _delta(open_: _Open, piece: str) -> Json:
    stem = _PARTS[open_.kind][1]
    event = {"type": f"{stem}.delta", **_inside(open_), "delta": piece}
    return {**event, "logprobs": []} if open_.kind == "message" else event


def _part(kind: str, text: str) -> Json:
    part, _, name = _PARTS[kind]
    if kind == "message":
        return {"type": part, "annotations": [], "logprobs": [], name: text}
    return {"type": part, name: text}


# Which field of a part or an item each delta grows, and where the part lies.
_GROWS: Final = {
    TEXT: ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
    "response.function_call_arguments.delta": ("", "", "arguments"),
    "response.mcp_call_arguments.delta": ("", "", "arguments"),
    "response.custom_tool_call_input.delta": ("", "", "input"),
    "response.code_interpreter_call_code.delta": ("", "", "code"),
}
_PLACES: Final = {
    "response.content_part.added": ("content", "content_index"),
    "response.content_part.done": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
    "response.reasoning_summary_part.done": ("summary", "summary_index"),
}
_PART_TYPES: Final = {"content": "output_text", "summary": "summary_text"}
_ANEW: Final = frozenset({"response.queued", "response.in_progress"})


class Output:
    """The items so far. An event that makes no sense changes nothing."""

    def __init__(self, events: Iterable[Json] = ()) -> None:
        """Begin with the events that are known."""
        self._items: dict[int, Json] = {}
        self._done: set[int] = set()
        self._pieces: dict[tuple[int, str, int, str], list[str]] = {}
        self.deltas = 0  # of the answer's text
        self.size = 0  # of all deltas, in characters
        for event in events:
            self.apply(event)

    def apply(self, event: Json) -> None:
        """Take the next event."""
        kind = event.get("type")
        if kind in _ANEW:
            self._begin_anew()
            return
        index = event.get("output_index")
        if type(index) is not int or not 0 <= index < MOST_ITEMS or index in self._done:
            return
        if kind in {"response.output_item.added", "response.output_item.done"}:
            self._put_item(index, event.get("item"), done=kind.endswith(".done"))
        elif kind in _GROWS:
            self._grow(index, event, _GROWS[kind])
        elif kind in _PLACES:
            self._put_part(index, event, _PLACES[kind])
        elif kind == "response.output_text.annotation.added":
            self._annotate(index, event)

    def items(self) -> list[Json]:
        """Return the items by their index; one that was not ended is incomplete."""
        return [self._item(index) for index in sorted(self._items)]

    def text(self) -> str:
        """Return the text of the messages so far, joined by a blank line."""
        found = []
        for item in self.items():
            if item.get("type") == "message":
                parts = [part for part in item["content"] if "text" in part]
                found.append("".join(str(part["text"]) for part in parts))
        return "\n\n".join(text for text in found if text)

    def _begin_anew(self) -> None:
        self._items.clear()
        self._done.clear()
        self._pieces.clear()
        self.deltas = self.size = 0

    def _put_item(self, index: int, item: Any, *, done: bool) -> None:
        if not isinstance(item, dict):
            return
        kept = {**item}
        for name in ("content", "summary"):
            if isinstance(kept.get(name), list):
                kept[name] = [{**p} for p in kept[name] if isinstance(p, dict)]
        if kept.get("type") == "message" and not isinstance(kept.get("content"), list):
            kept["content"] = []
        self._items[index] = kept
        if done:
            self._done.add(index)
            for place in [place for place in self._pieces if place[0] == index]:
                del self._pieces[place]

    def _put_part(self, index: int, event: Json, where: tuple[str, str]) -> None:
        name, number = where
        part, at = event.get("part"), event.get(number)
        parts = self._parts(index, name, at)
        if parts is None or type(at) is not int or not isinstance(part, dict):
            return
        parts[at] = {**part}
        for place in [p for p in self._pieces if p[:3] == (index, name, at)]:
            del self._pieces[place]

    def _parts(self, index: int, name: str, at: Any) -> list[Json] | None:
        """Return the parts of an item, with one at the place `at`; None if none."""
        item = self._items.get(index)
        if item is None or type(at) is not int or not 0 <= at < MOST_ITEMS:
            return None
        parts = item.setdefault(name, [])
        if not isinstance(parts, list) or at > len(parts):
            return None
        if at == len(parts):
            parts.append({})
        return parts

    def _grow(self, index: int, event: Json, where: tuple[str, str, str]) -> None:
        name, number, grown = where
        piece = event.get("delta")
        at = event.get(number) if number else 0
        if not isinstance(piece, str) or index not in self._items:
            return
        if type(at) is not int or (name and self._parts(index, name, at) is None):
            return
        self._pieces.setdefault((index, name, at, grown), []).append(piece)
        self.size += len(piece)
        self.deltas += event.get("type") == TEXT

    def _annotate(self, index: int, event: Json) -> None:
        parts = self._parts(index, "content", event.get("content_index"))
        if parts is not None and isinstance(event.get("annotation"), dict):
            part = parts[event["content_index"]]
            if isinstance(part.setdefault("annotations", []), list):
                part["annotations"].append(event["annotation"])

    def _item(self, index: int) -> Json:
        item = self._items[index]
        if index in self._done:
            return item
        item = {**item}
        for name in ("content", "summary"):
            if isinstance(item.get(name), list):
                item[name] = [{**part} for part in item[name]]
        for (at, name, number, grown), pieces in self._pieces.items():
            if at == index:
                part = item[name][number] if name else item
                part[grown] = str(part.get(grown) or "") + "".join(pieces)
                if name:  # a delta without its part's beginning
                    part.setdefault("type", _PART_TYPES[name])
        if "status" in item or item.get("type") == "message":
            item["status"] = "incomplete"
        return item
