"""Lines pinned below a text that grows on the same terminal; the text is never torn.

The cursor always rests at the text's end: what stands below it is ours, and goes away
with one control however the terminal has wrapped it since. Only lines that changed are
written.
"""

from dataclasses import dataclass, field
from typing import Final

from bgresp.core.text import printable
from bgresp.render.place import Place
from bgresp.render.streams import PIECE, Streams
from bgresp.render.taskbar import Taskbar

ERASE: Final = "\x1b[J"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
SAVE, RESTORE = "\x1b7", "\x1b8"
BACK: Final = RESTORE + SAVE  # some terminals forget a place that they went back to
QUEUED: Final = 1000  # lines that wait for a frame
DOWN_SCROLLING: Final = "\x1bD"  # keeps the column, unlike a newline
# A pinned line is cut at the edge, never wrapped: the terminal may be narrower than it
# says, or take a character for wider than we do.
CUT, WRAP = "\x1b[?7l", "\x1b[?7h"


@dataclass(slots=True)
class Screen:
    """A terminal on stderr, and on stdout where both are one."""

    streams: Streams
    taskbar: Taskbar = field(init=False)
    _pinned: list[str] = field(default_factory=list)
    _drawn: list[str] = field(default_factory=list)
    _place: Place = field(default_factory=Place)
    _queued: list[str] = field(default_factory=list)
    _wrapped: bool = False
    _last: str = ""  # the end of the text so far
    _hidden: bool = False
    _size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Find the terminal's task bar."""
        self.taskbar = Taskbar(self.streams)

    def text(self, text: str) -> None:
        """Write text to stdout, above the pinned lines."""
        if not self.streams.together:
            self.streams.answer(text)
            return
        self._erase()
        if self._wrapped and text.startswith("\n"):
            # the cursor is on that line already
            text, self._wrapped = text[1:], False
        for start in range(0, len(text), PIECE):
            raw = text[start : start + PIECE]
            piece, self._last = printable(raw, after=self._last), raw[-1:]
            flowed = self._place.flowed(piece, self._size[0])
            self._wrapped = flowed.endswith("\n") and not piece.endswith("\n")
            self.streams.answer(flowed)
        self._draw()

    def queue(self, line: str) -> None:
        """Write a line to stdout, with the next frame: many come at once."""
        if not self.streams.together:
            self.streams.line(line)
            return
        self._queued.append(printable(line) + "\n")
        if len(self._queued) >= QUEUED:
            self._flush()

    def say(self, line: str) -> None:
        """Write a line to stderr that stays, above the pinned lines."""
        self.show(printable(line))

    def show(self, line: str) -> None:
        """Write a line of our own that stays; its colours are ours."""
        self._erase()
        self._fresh_line()
        self.streams.control(line + "\n")
        self._draw()

    def pin(self, lines: list[str]) -> None:
        """Pin lines, each of which fits the width, instead of those before."""
        self._flush()
        if self._is_resized():
            self._erase()
        self._pinned = lines
        if not self._hidden:
            self._hidden, self.streams.above = True, self.say
            self.streams.keyboard.hush()
            self.streams.control(HIDE)
        self._draw()

    def end(self) -> None:
        """Close, and leave the task bar to others: no progress is shown any more."""
        try:
            self.close()
        finally:
            self.taskbar.clear()

    def close(self) -> None:
        """Take the pinned lines away, show the cursor, at the start of a line."""
        self._flush()
        self._pinned = []
        self._erase()
        self._fresh_line()
        if self._hidden:
            self._hidden, self.streams.above = False, None
            self.streams.control(SHOW)
            self.streams.keyboard.speak()

    def _flush(self) -> None:
        if self._queued:
            queued, self._queued = self._queued, []
            self.text("".join(queued))

    def _fresh_line(self) -> None:
        if self._place.column:
            self.streams.control("\n")
        self._place, self._wrapped = Place(), False

    def _erase(self) -> None:
        """Take what is drawn away: by the saved place, for somebody may have typed.

        A terminal that was resized has moved its cursor itself, and not that place.
        """
        before, self._size = self._size, self.streams.size()
        if self._drawn:
            back = RESTORE if before == self._size else ""
            start = "" if self._place.column else "\r"
            self.streams.control(back + start + ERASE)
            self._drawn = []
        self._place.resized(before[0], self._size[0])

    def _is_resized(self) -> bool:
        return self._size != self.streams.size()

    def _draw(self) -> None:
        if len(self._pinned) != len(self._drawn):
            self._erase()
            if self._pinned:
                self._draw_all()
        elif self._pinned != self._drawn:
            self._redraw()

    def _redraw(self) -> None:
        """Write the lines that changed, each from the saved place."""
        below = int(self._place.column > 0)
        moves = [
            f"{BACK}{CUT}{_down(number + below)}\r{line}\x1b[K{WRAP}"
            for number, line in enumerate(self._pinned)
            if line != self._drawn[number]
        ]
        self._drawn = self._pinned
        self.streams.control("".join(moves) + BACK)

    def _draw_all(self) -> None:
        """Make room below the text and fill it.

        At the very edge the cursor waits to wrap, which no terminal is sure to keep
        over a move: it is made to wrap by a space, if that is where it is.
        """
        if self._place.is_tight(self._size[0]):
            return
        edge = self._place.column >= self._size[0]
        if edge:
            self._place.column, self._wrapped = 0, True
        below = int(self._place.column > 0)
        room = len(self._pinned) - 1 + below
        makes_room = f"{DOWN_SCROLLING * room}\x1b[{room}A" if room else ""
        lines = f"\r{_down(1)}".join(f"{line}\x1b[K" for line in self._pinned)
        self._drawn = self._pinned
        parts = (" \r" * edge, makes_room, SAVE, CUT, _down(below), "\r", lines)
        self.streams.control("".join(parts) + WRAP + BACK)


def _down(rows: int) -> str:
    return f"\x1b[{rows}B" if rows else ""
