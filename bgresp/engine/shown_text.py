"""What a watcher shows of one job, and the notes of how far it came.

A note follows the write it speaks of, so that a crash in between shows a little twice
rather than losing it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.output import JOINT
from bgresp.core.signals import Cursor, Event
from bgresp.core.transcript import Transcript
from bgresp.ledger.saved import Progress, Shown

EVERY_SECONDS: Final = 0.25
EVERY_CHARACTERS: Final = 4096
PIECE: Final = 1 << 20


@dataclass(slots=True)
class ShownText:
    """One watcher's place in one job's text; without `progress` nothing is noted."""

    progress: Progress | None = None
    earlier: Shown = field(default_factory=Shown)
    clock: Callable[[], float] = time.monotonic
    transcript: Transcript = field(init=False)
    characters: int = 0
    deltas: int = 0
    differs: bool = False  # from the final text, which then is not shown
    _unnoted: list[str] = field(default_factory=list)
    _size: int = 0
    _cursor: Cursor | None = None
    _item: int | None = None
    _noted_at: float = 0.0

    def __post_init__(self) -> None:
        """Start where an earlier watch left off."""
        earlier = self.earlier
        joint = "" if earlier.is_plain else JOINT
        self.transcript = Transcript(earlier.text, item=earlier.item, joint=joint)
        self._cursor, self._item = self.earlier.cursor, self.earlier.item
        if self.progress is not None:
            self.progress.begin(self.earlier)

    @property
    def start_cursor(self) -> Cursor | None:
        """Return the cursor to stream from: the last one whose text was all shown."""
        return self.earlier.cursor

    def restart(self, *, replayed: bool) -> None:
        """Prepare for a stream: from scratch, or going on after what was shown."""
        earlier = Shown() if replayed else self.earlier
        self.transcript.restart(earlier.text, earlier.item)

    def missed(self) -> None:
        """Note that events are missing."""
        self.transcript.missed()

    def take(self, event: Event, cursor: Cursor | None) -> str:
        """Take a new event; return what may be shown now."""
        if event.delta:
            self.characters += len(event.delta)
            self.deltas += 1
        fresh = self.transcript.add(event)
        if self.transcript.is_level:
            self._cursor, self._item = cursor, self.transcript.item
        elif fresh:
            self._cursor = None  # no cursor stands for this text: replay all of it
        return fresh

    def wrote(self, fresh: str) -> None:
        """Take note that text reached stdout."""
        if self.progress is None:
            return
        self._unnoted.append(fresh)
        self._size += len(fresh)
        due = self.clock() - self._noted_at >= EVERY_SECONDS
        if due or self._size >= EVERY_CHARACTERS:
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Write the notes that are due."""
        if self.progress is None or not (self._unnoted or sync):
            return
        text = "".join(self._unnoted)
        while len(text) > PIECE:  # a long text is not escaped in one piece
            self.progress.note(text[:PIECE], None)
            text = text[PIECE:]
        self.progress.note(text, self._cursor, item=self._item, sync=sync)
        self._unnoted, self._size, self._noted_at = [], 0, self.clock()

    def settle(self, text: str, plain: str | None = None) -> str | None:
        """Return what is left to show of the final text; None: it does not fit.

        `plain` is the text as an older version joined it, who may have begun it.
        """
        is_plain = self.earlier.is_plain and plain is not None
        rest = self.transcript.settle(plain if is_plain and plain else text)
        self.differs = rest is None
        return rest

    def end(self) -> None:
        """Note that everything was shown, the newline of the end included."""
        self.flush()
        if self.progress is not None:
            self.progress.end(len(self.transcript.shown))
