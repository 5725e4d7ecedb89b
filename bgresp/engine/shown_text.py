"""The answer's text from events, what a watcher shows of it, and the notes of how far.

What was shown is a promise: it only ever grows by text that continues it, each part
exactly once; where the endpoint takes text back, showing stops until the text catches
up again or the final answer decides. A note follows the write it speaks of, so that a
crash in between shows a little twice rather than losing it.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.output import JOINT
from bgresp.core.signals import Cursor, Event
from bgresp.ledger.saved import Progress, Shown

MOST = 16 * 1024 * 1024  # code points: no answer is parsed beyond (DESIGN.md)
_PREFIX = (-1, 0)  # what was known before the events at hand
_BEGIN_PART = "response.content_part.added"
_DONE_PARTS = frozenset({"response.content_part.done", "response.output_item.done"})
_RESETS = frozenset({"response.created", "response.queued", "response.in_progress"})
EVERY_SECONDS: Final = 0.25
EVERY_CHARACTERS: Final = 4096
PIECE: Final = 1 << 20
NOTHING_SHOWN: Final = Shown()


class Transcript:
    """Text keyed by (output_index, content_index), in that order.

    A later part is held back until the earlier ones are done, so that parts that
    arrive interleaved are shown in the order of the final answer. The texts of items
    are joined by `joint`, which is shown with the first character of the next one;
    commentary is no text.
    """

    __slots__ = (
        *("_aside", "_blocked", "_caught_up", "_closed", "_item", "_joint", "_open"),
        *("_overfull", "_parts", "_shown", "_size", "_spoken", "_told"),
    )

    def __init__(
        self, shown: str = "", *, item: int | None = None, joint: str = JOINT
    ) -> None:
        """Start with what an earlier watch had shown already, the end of it of `item`.

        `joint` is empty where an older version has begun to show it: there all text
        was one, commentary too.
        """
        self._parts: dict[tuple[int, int], list[str]] = {}
        self._closed: set[tuple[int, int]] = set()
        self._joint = joint
        self._item = item  # whose text the prefix ends with
        self._spoken: set[int] = set()  # items that have text
        self._aside: set[int] = set()  # items whose text is commentary
        self._open: set[int] = set()  # those of them that are not done
        self._size = 0  # of all text, joints too
        self._shown: list[str] = [shown] if shown else []
        self._told = len(shown)
        self._caught_up = not shown
        self._blocked = self._overfull = False

    @property
    def shown(self) -> str:
        """Return everything that was handed out to be shown."""
        self._shown = ["".join(self._shown)]
        return self._shown[0]

    @property
    def text(self) -> str:
        """Return the text as far as events told it; nothing where it was too much."""
        if self._overfull:
            return ""
        return self._joined(sorted(self._parts))

    @property
    def item(self) -> int | None:
        """Return the item that the text ends with, as far as it is known."""
        return max(self._spoken) if self._spoken else self._item

    @property
    def is_level(self) -> bool:
        """Say whether everything that events told was shown, and nothing else.

        Not while two parts are open, or one that said nothing yet: who goes on from
        here could not order them. Nor in the middle of commentary, which would then
        be taken for text.
        """
        shown = self._caught_up and not self._blocked and self._size == self._told
        shown = shown and not self._open
        last = max(self._parts, default=_PREFIX)
        silent = last not in self._closed and not any(self._parts.get(last, ("",)))
        return shown and not self._waits(last) and not (self._parts and silent)

    def restart(self, known: str = "", item: int | None = None) -> None:
        """Begin a stream whose events build on `known`; empty: replayed from scratch.

        What was shown stays; the text has to catch up with it first.
        """
        self._reset(known, item)
        self._blocked = False

    def missed(self) -> None:
        """Note that events are missing: only the final text can be shown now."""
        self._blocked = True

    def add(self, event: Event) -> str:
        """Take one new event; return the text that may be shown now."""
        if event.item is not None and event.is_aside and self._joint:
            self._leave_out(event)
        if event.part[0] in self._aside:
            return ""
        if event.delta is not None:
            return self.extend(event.part, [event.delta])
        if event.full is not None:
            self._replace(event.part, event.full)
            return self._fresh()
        if event.type == _BEGIN_PART:  # a later part may speak first, and has to wait
            self._parts.setdefault(event.part, [])
        if event.type in _DONE_PARTS:
            self._close(event)
            return self._fresh()
        if event.type in _RESETS and event.reading is not None and self.text:
            self._reset(event.reading.text or "", event.reading.answer.last)
            return self._fresh()
        return ""

    def extend(self, part: tuple[int, int], deltas: Sequence[str]) -> str:
        """Take deltas of one part that follow each other; return what may be shown."""
        if part[0] in self._aside:
            return ""
        if self._size + sum(map(len, deltas)) <= MOST:
            return self._extend(part, "".join(deltas))
        return "".join([self._extend(part, delta) for delta in deltas])

    def settle(self, final: str) -> str | None:
        """Return what is left to show of the final text.

        None when what was shown is not a beginning of it.
        """
        shown = self.shown
        if not final.startswith(shown):
            return None
        self._shown, self._told = [final], len(final)
        return final[len(shown) :]

    def _reset(self, known: str, item: int | None) -> None:
        self._parts, self._size = {_PREFIX: [known]}, len(known)
        # Nothing known and nothing shown: there is nothing to catch up with.
        self._closed, self._caught_up = {_PREFIX}, not (known or self._told)
        self._item, self._spoken = item, set()
        self._aside, self._open = set(), set()
        if known and item is not None:
            self._spoken.add(item)

    def _leave_out(self, event: Event) -> None:
        """Take an item for commentary, also where that is told only at its end."""
        item = event.part[0]
        self._aside.add(item)
        if event.type == "response.output_item.done":
            self._open.discard(item)
        else:
            self._open.add(item)
        if any(part[0] == item for part in self._parts):
            self._parts = {p: t for p, t in self._parts.items() if p[0] != item}
            self._spoken.discard(item)
            self._caught_up, self._size = False, len(self.text)

    def _extend(self, part: tuple[int, int], delta: str) -> str:
        if self._size + len(delta) > MOST:
            self._blocked = self._overfull = True
            return ""
        joint = self._speak(part[0]) if delta else ""
        self._parts.setdefault(part, []).append(delta)
        self._size += len(joint) + len(delta)
        if self._blocked or self._waits(part):
            return ""
        if not self._caught_up or part in self._closed or self._is_late(part):
            return self._fresh()
        return self._show(joint + delta)

    def _speak(self, item: int) -> str:
        """Note that an item has text; return what joins it to that of others."""
        if item in self._spoken:
            return ""
        if self._item is None and self._prefix() and not self._spoken:
            self._item = item  # nobody knows whose end the prefix is: this one's
        joint = self._joint if self._spoken else ""
        self._spoken.add(item)
        return joint

    def _joined(self, parts: Iterable[tuple[int, int]]) -> str:
        found: list[str] = []
        before: int | None = None
        for part in parts:
            text = "".join(self._parts[part])
            item = self._item if part == _PREFIX else part[0]
            if text and before is not None and item != before:
                found.append(self._joint)
            if text:
                before = item
            found.append(text)
        return "".join(found)

    def _replace(self, part: tuple[int, int], full: str) -> None:
        """Take a part's whole text; after a resume its beginning may be in the prefix.

        Where that does not fit, only the final text can be shown.
        """
        known, prefix = "".join(self._parts.get(part, ())), self._prefix()
        self._closed.add(part)
        if known == full:
            return
        if prefix and (self._item is None or part[0] <= self._item):
            before = full.removesuffix(known) if known else full
            self._blocked |= not (full.endswith(known) and prefix.endswith(before))
            return
        joint = self._speak(part[0]) if full else ""
        self._parts[part] = [full]
        self._size += len(joint) + len(full) - len(known)
        self._caught_up = False

    def _prefix(self) -> str:
        return "".join(self._parts.get(_PREFIX, ()))

    def _close(self, event: Event) -> None:
        whole_item = event.type == "response.output_item.done"
        done: Iterable[tuple[int, int]] = (
            part
            for part in self._parts
            if (part[0] == event.part[0] if whole_item else part == event.part)
        )
        self._closed.update(tuple(done))

    def _waits(self, part: tuple[int, int]) -> bool:
        """Say whether an earlier part may still grow."""
        return any(o < part and o not in self._closed for o in self._parts)

    def _is_late(self, part: tuple[int, int]) -> bool:
        """Say whether a later part has begun, and may have been shown."""
        return any(o > part for o in self._parts)

    def _fresh(self) -> str:
        """Compare what is known with what was shown; return what continues it."""
        if self._blocked or (not self._caught_up and self._size < self._told):
            return ""
        ready, shown = self._ready(), self.shown
        if not ready.startswith(shown):
            self._caught_up = False
            self._blocked = len(ready) >= len(shown)
            return ""
        self._caught_up = True
        return self._show(ready[len(shown) :])

    def _show(self, fresh: str) -> str:
        if fresh:
            self._shown.append(fresh)
            self._told += len(fresh)
        return fresh

    def _ready(self) -> str:
        ready: list[tuple[int, int]] = []
        for part in sorted(self._parts):
            ready.append(part)
            if part not in self._closed:
                break
        return self._joined(ready)


def of_refusal(event: Event) -> Event | None:
    """Return an event as it tells a refusal, as if that were text; None: it does not.

    A part's end counts, too: a refusal in a later part waits for it.
    """
    reading = event.reading
    if event.type in _RESETS and reading is not None:
        said = reading.answer.refusal
        return Event(event.type, reading=reading._replace(text=said))
    if event.refusal is not None or event.refused is not None:
        part, full = event.part, event.refused
        return Event(event.type, part=part, delta=event.refusal, full=full)
    return Event(event.type, part=event.part) if event.type in _DONE_PARTS else None


@dataclass(slots=True)
class ShownText:
    """One watcher's place in one job's text; without `progress` nothing is noted."""

    progress: Progress | None = None
    earlier: Shown = NOTHING_SHOWN
    clock: Callable[[], float] = time.monotonic
    characters: int = 0
    deltas: int = 0
    differs: bool = False  # from the final text, which then is not shown
    _unnoted: list[str] = field(default_factory=list)
    _refused: list[str] = field(default_factory=list)  # not noted yet
    _size: int = 0
    _cursor: Cursor | None = None
    _item: int | None = None
    _noted_at: float = 0.0
    _transcript: Transcript | None = None
    _refusal: Transcript | None = None

    def __post_init__(self) -> None:
        """Start where an earlier watch left off."""
        self._cursor, self._item = self.earlier.cursor, self.earlier.item
        if self.progress is not None:
            self.progress.begin(self.earlier)

    @property
    def transcript(self) -> Transcript:
        """Return the text; made when it is first told: of many jobs few stream."""
        if self._transcript is None:
            earlier = self.earlier
            joint = "" if earlier.is_plain else JOINT
            made = Transcript(earlier.text, item=earlier.item, joint=joint)
            self._transcript = made
        return self._transcript

    @property
    def refusal(self) -> Transcript:
        """Return the refusal, which is told as a text is."""
        if self._refusal is None:
            self._refusal = Transcript(self.earlier.refusal)
        return self._refusal

    @property
    def streamed(self) -> str:
        """Return the text that events told."""
        return "" if self._transcript is None else self._transcript.text

    @property
    def start_cursor(self) -> Cursor | None:
        """Return the cursor to stream from: the last one whose text was all shown."""
        return self.earlier.cursor

    def restart(self, *, replayed: bool) -> None:
        """Prepare for a stream: from scratch, or going on after what was shown."""
        earlier = Shown() if replayed else self.earlier
        self.transcript.restart(earlier.text, earlier.item)
        self.refusal.restart(earlier.refusal)

    def missed(self) -> None:
        """Note that events are missing."""
        self.transcript.missed()
        self.refusal.missed()

    def take(self, events: Sequence[Event], cursor: Cursor | None) -> str:
        """Take new events that end at a cursor; return what may be shown now.

        Several are deltas of one part that follow each other.
        """
        told = [event.delta for event in events if event.delta]
        self.characters += sum(map(len, told))
        self.deltas += len(told)
        if len(events) == 1:
            fresh = self.transcript.add(events[0])
        else:
            fresh = self.transcript.extend(events[0].part, told)
        if self.transcript.is_level and self.refusal.is_level:
            self._cursor, self._item = cursor, self.transcript.item
        elif fresh:
            self._cursor = None  # no cursor stands for this text: replay all of it
        return fresh

    def take_refusal(self, event: Event) -> str:
        """Take a new event, before `take` does; return what it tells of a refusal."""
        told = of_refusal(event)
        fresh = "" if told is None else self.refusal.add(told)
        if fresh:
            self._cursor = None  # until `take` finds that one stands for it
        return fresh

    def wrote(self, fresh: str, refused: str = "") -> None:
        """Take note that text reached stdout, or a refusal stderr."""
        if self.progress is None:
            return
        if fresh:
            self._unnoted.append(fresh)
        if refused:
            self._refused.append(refused)
        self._size += len(fresh) + len(refused)
        due = self.clock() - self._noted_at >= EVERY_SECONDS
        if due or self._size >= EVERY_CHARACTERS:
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Write the notes that are due."""
        if self.progress is None or not (self._unnoted or self._refused or sync):
            return
        text = "".join(self._unnoted)
        while len(text) > PIECE:  # a long text is not escaped in one piece
            self.progress.note(text[:PIECE], None)
            text = text[PIECE:]
        refused = "".join(self._refused)
        self.progress.note(
            text, self._cursor, item=self._item, refused=refused, sync=sync
        )
        self._unnoted, self._refused = [], []
        self._size, self._noted_at = 0, self.clock()

    def settle(self, text: str, plain: str | None = None) -> str | None:
        """Return what is left to show of the final text; None: it does not fit.

        `plain` is the text as an older version joined it, who may have begun it.
        """
        if self._transcript is None and self.progress is None and not self.earlier.text:
            return text
        is_plain = self.earlier.is_plain and plain is not None
        rest = self.transcript.settle(plain if is_plain and plain else text)
        self.differs = rest is None
        return rest

    def end(self) -> None:
        """Note that everything was shown, the newline of the end included."""
        self.flush()
        if self.progress is not None:
            self.progress.end(len(self.transcript.shown))

    def let_go(self) -> None:
        """Hold no text any more: this was all."""
        self._transcript = self._refusal = None
