"""Random histories of one job's stream, and the server that tells them badly; pure."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests import fakewire as fw
from tests.strategies import Behaviour, _disturbed

LOSSY: Final = frozenset({Behaviour.GAP, Behaviour.REORDER})
# Few letters: what is repeated is easily taken for what was there before.
_WORDS: Final = ("a", "b", "aa", "ab", "", "fox ", "é\n", "\U0001f98a", "data: ", "x\r")
_DONE: Final = "[DONE]"


@dataclass(frozen=True, slots=True)
class History:
    """What a server tells of one job: event data in order, and how it really ended."""

    told: tuple[fw.Json, ...]
    final: fw.Json
    behaviours: tuple[Behaviour, ...]
    numbered: bool
    cuts: tuple[int, ...]
    trailer: bool
    traits: frozenset[str]

    @property
    def truth(self) -> str:
        """Return the whole text, wherever it was told."""
        return str(self.final["truth"])


def draw(rng: Random) -> History:
    """Draw one history; equal generators draw equal ones."""
    parts = [
        [rng.choice(_WORDS) for _ in range(rng.randrange(7))]
        for _ in range(rng.choice((1, 1, 1, 2, 3)))
    ]
    status = rng.choice(("completed",) * 7 + ("failed", "incomplete", "cancelled"))
    told = fw.events_of(parts=parts, status=status, start=rng.choice((0, 0, 1)))
    whole = "\n\n".join(filter(None, map("".join, parts)))
    final = dict(told[-1]["response"]) | {"truth": whole}
    traits: set[str] = {status}
    for name, share, change in _CHANGES:
        if rng.random() < share:
            traits.add(name)
            told = change(rng)(told)
    told, final = _placed(rng, told, final, traits)
    told = _ended(rng, told, traits)
    numbered = rng.random() < 0.88
    if not numbered:
        traits.add("unnumbered")
        told = fw.unnumbered(told)
    # Without numbers no stream is progress, and five such streams are enough.
    count = rng.choice((0, 1, 1, 2, 3, 5, 8) if numbered else (0, 1, 2, 4))
    cuts = sorted(rng.randrange(len(told)) for _ in range(count))
    return History(
        tuple(told),
        final,
        _behaviours(rng, numbered=numbered, lossless="deltas only" in traits),
        numbered,
        tuple(cuts),
        rng.random() < 0.3,
        frozenset(traits),
    )


def _behaviours(
    rng: Random, *, numbered: bool, lossless: bool
) -> tuple[Behaviour, ...]:
    if not numbered:  # without numbers nothing tells a repetition from news
        return (Behaviour.REPLAY,)
    able = [b for b in Behaviour if not (lossless and b in LOSSY)]
    return tuple(rng.choice(able) for _ in range(rng.choice((1, 1, 2))))


def _interleaved(rng: Random) -> fw.Change:
    """Mix the messages of an answer, which begin in their order, as they come."""

    def change(events: fw.Events) -> fw.Events:
        head, tail, start = events[:3], events[-1:], events[0]["sequence_number"]
        items: dict[int, fw.Events] = {}
        for event in events[3:-1]:
            items.setdefault(event["output_index"], []).append(event)
        begun = [item.pop(0) for item in items.values() for _ in range(2)]
        order = [n for n, item in items.items() for _ in item]
        rng.shuffle(order)
        mixed = [*head, *begun, *(items[n].pop(0) for n in order), *tail]
        return fw.numbered(mixed, start)

    return change


_CHANGES: Final[tuple[tuple[str, float, Callable[[Random], fw.Change]], ...]] = (
    ("interleaved", 0.2, _interleaved),
    ("reset", 0.15, lambda rng: fw.restarted(rng.randrange(3, 9))),
    ("keepalive", 0.2, lambda _: fw.kept_alive),
)


def _placed(
    rng: Random, told: fw.Events, final: fw.Json, traits: set[str]
) -> tuple[fw.Events, fw.Json]:
    """Leave the text in the deltas or in the final response only, or in both."""
    where = rng.random()
    if where < 0.1:
        traits.add("terminal only")
        kept = ("created", "queued", "in_progress")
        silent = [
            e
            for e in told[:-1]
            if e["type"].removeprefix("response.") in kept or e["type"] == "keepalive"
        ]
        return [*silent, told[-1]], final
    # Of a job that failed or was cancelled, the text so far is all there is.
    if where < 0.25 and traits & {"completed", "incomplete"}:
        traits.add("deltas only")
        final = final | {"output": [], "usage": None}
        return [*told[:-1], told[-1] | {"response": final}], final
    return told, final


def _ended(rng: Random, told: fw.Events, traits: set[str]) -> fw.Events:
    """End without a terminal event, or with an `error` before the failure."""
    if rng.random() < 0.15:
        traits.add("no terminal")
        return told[:-1]
    if "failed" in traits and rng.random() < 0.7:
        nested = rng.random() < 0.5
        traits.add("nested error" if nested else "flat error")
        fault = {"code": "server_error", "message": "It broke.", "param": None}
        body = {"error": fault} if nested else fault
        number = told[-1]["sequence_number"]
        error = {"type": "error", "sequence_number": number, **body}
        return [*told[:-1], error, told[-1] | {"sequence_number": number + 1}]
    return told


@dataclass(slots=True)
class Server:
    """Tells one history over connections it loses; polls learn of the end at last."""

    history: History
    rng: Random
    over: bool = False
    streams: int = 0
    polls: int = 0
    _lines: dict[int, str] = field(default_factory=dict)

    def stream(self, after: int | None) -> list[str]:
        """Return the data of the events that one connection brings."""
        history, nth = self.history, self.streams
        self.streams += 1
        cuts = () if self.over else history.cuts[nth : nth + 1]
        sent = list(history.told[: cuts[0] + 1] if cuts else history.told)
        self.over |= not cuts
        how = history.behaviours[nth % len(history.behaviours)]
        resume = {"INCLUSIVE": fw.Resume.INCLUSIVE, "REPLAY": fw.Resume.REPLAY}
        told = fw.resumed(sent, after, resume.get(how.name, fw.Resume.EXCLUSIVE))
        told = _disturbed(told, how, self.rng, last=history.told[-1])
        lines = [self._line(event) for event in told]
        return [*lines, _DONE] if history.trailer and not cuts else lines

    def poll(self) -> fw.Json:
        """Return what a retrieve shows."""
        self.polls += 1
        self.over |= self.polls > 12 or self.rng.random() < 0.1
        if self.over:
            return self.history.final
        word = self.rng.choice(("queued", "in_progress", "in_progress"))
        return fw.response_of(word)

    def _line(self, event: fw.Json) -> str:
        if id(event) not in self._lines:
            self._lines[id(event)] = json.dumps(event)
        return self._lines[id(event)]


def deaths(rng: Random, events: Sequence[fw.Json]) -> frozenset[int]:
    """Draw after how many events a watch dies, if at all."""
    if rng.random() < 0.5:
        return frozenset()
    return frozenset(rng.randrange(1, 2 * len(events) + 1) for _ in range(3))
