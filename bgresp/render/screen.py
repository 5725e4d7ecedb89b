"""Lines pinned below a text that grows on the same terminal; the text is never torn.

The cursor always rests at the text's end: what stands below it is ours, and goes away
with one control however the terminal has wrapped it since. Only lines that changed are
written.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from bgresp.core.text import printable
from bgresp.render.streams import PIECE, Streams

ERASE: Final = "\x1b[J"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
SAVE, RESTORE = "\x1b7", "\x1b8"
BACK: Final = RESTORE + SAVE  # some terminals forget a place that they went back to
QUEUED: Final = 1000  # lines that wait for a frame
DOWN_SCROLLING: Final = "\x1bD"  # keeps the column, unlike a newline
# A pinned line is cut at the edge, never wrapped: the terminal may be narrower than it
# says, or take a character for wider than we do.
CUT, WRAP = "\x1b[?7l", "\x1b[?7h"
AGAIN: Final = 5.0
CLEAR, NORMAL, FAILING, BUSY = 0, 1, 2, 3
TAB: Final = 8
# The usual of what every terminal gives the same width: Latin, Greek, Cyrillic,
# punctuation, arrows, mathematics and boxes, CJK, Kana, Hangul.
_SURE: Final = re.compile(
    "[\t -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0482\u0490-\u052f\u2010-\u2027"
    "\u2030-\u205e\u20a0-\u20b1\u2190-\u22ff\u2500-\u257f\u3000-\u3029\u3030-\u9fff"
    "\uac00-\ud7a3\uff01-\uff60]*"
)
# Pictures that are two cells wide since Unicode 9 gave emoji a width.
_PICTURES: Final = re.compile(
    "[\u231a-\u27bf\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6c5"
    "\U0001f910-\U0001f93e]"
)
# Selectors of a variant, which may widen a sign; Jamo, which make one syllable.
_JOINING: Final = re.compile("[\ufe00-\ufe0f\u1100-\u11ff]")
_WORDS: Final = re.compile("[^ ]+ ?| ")
# How much of a width may be unsure before words are wrapped by us, and how much of it
# is kept free for the next word then.
UNSURE: Final = 1 / 8
ROOM: Final = 1 / 5


@dataclass(slots=True)
class TextEnd:
    """Where on its line a text that grows has come to; the width where the next wraps.

    The answer is exact as long as terminals agree on the characters' widths; `slack` is
    by how many cells they may differ.
    """

    column: int = 0
    slack: int = 0
    wrapped: bool = False

    def advance(self, text: str, width: int) -> None:
        """Go on by a text that was made printable."""
        _, newline, tail = text.rpartition("\n")
        if newline:
            self.column, self.slack, self.wrapped = 0, 0, False
        if tail.isascii() and "\t" not in tail:
            self._go(len(tail), width)
            return
        from rich.cells import get_character_cell_size

        if not _SURE.fullmatch(tail):
            self.slack += sum(map(_doubt, tail))
        for each in tail:
            if each == "\t":
                self._tab(width)
            else:
                self._go_one(get_character_cell_size(each), width)

    def flowed(self, text: str, width: int) -> str:
        """Go on by a text; return it with newlines of ours where the edge is lost.

        They stand only behind a space, where few cells are left for the next word, and
        only on a line of which too much is unsure to say where the terminal wraps.
        """
        start = text.rfind("\n") + 1
        if not self.slack and text[start:].isascii():
            self.advance(text, width)
            return text
        parts = [text[:start]]
        self.advance(text[:start], width)
        for word in _WORDS.findall(text, start):
            parts.append(word)
            self.advance(word, width)
            if word.endswith(" ") and self._is_lost(width):
                parts.append("\n")
                self.advance("\n", width)
        return "".join(parts)

    def _is_lost(self, width: int) -> bool:
        left = width - self.column - self.slack
        return self.slack > UNSURE * width and left <= ROOM * width

    def resized(self, before: int, after: int) -> None:
        """Take a new width; whether a terminal wraps anew or cuts, nobody says."""
        if self.column and before != after:
            self.column = min(self.column, after - 1)
            self.slack += 1

    def is_tight(self, width: int) -> bool:
        """Say whether the end may be at the edge, and nobody knows."""
        before = self.wrapped and self.column <= self.slack
        return self.slack > 0 and (before or self.column + self.slack >= width)

    def _go(self, cells: int, width: int) -> None:
        if cells:
            self.wrapped |= self.column + cells > width
            self.column = (self.column + cells - 1) % width + 1

    def _go_one(self, cells: int, width: int) -> None:
        wraps = self.column + cells > width
        self.wrapped |= wraps
        self.column = cells if wraps else self.column + cells

    def _tab(self, width: int) -> None:
        self.slack += 2 * (self.column >= width - 1)
        self.column = min((self.column // TAB + 1) * TAB, width - 1)


@lru_cache(4096)
def _doubt(character: str) -> int:
    """Return by how many cells terminals may differ on a character.

    They agree on those of Unicode 3.2, of 2002, that neither join nor take a cell of
    their own in some: letters and signs, and marks without a width.
    """
    old = unicodedata.ucd_3_2_0.category(character)
    is_picture = unicodedata.east_asian_width(character) == "W"
    if is_picture and _PICTURES.match(character):
        return 0
    if _JOINING.match(character):
        return 1 if old == "Mn" else 2
    if old in {"Mc", "Me"}:
        return 1
    return 0 if character == "\t" or old[0] in "LMNPS" or old == "Zs" else 2


@dataclass(slots=True)
class Taskbar:
    """Progress in a terminal's tab or the desktop's task bar: OSC 9;4, first of ConEmu.

    Silent where the terminal has none. Some forget a progress that is not renewed for
    15 seconds; it is written again every few.
    """

    streams: Streams
    _shown: tuple[int, int] | None = None
    _at: float = 0.0

    def show(self, moment: float, part: float | None, *, failing: bool = False) -> None:
        """Show a part of 1, or with None that something is done."""
        state = BUSY if part is None else FAILING if failing else NORMAL
        shown = state, int(100 * (part or 0.0))
        if not self.streams.taskbar:
            return
        if shown != self._shown or moment - self._at >= AGAIN:
            self._shown, self._at = shown, moment
            self._write(*shown)

    def clear(self) -> None:
        """Take it away, if anything was shown."""
        if self._shown is not None:
            self._shown = None
            self._write(CLEAR, 0)

    def _write(self, state: int, percent: int) -> None:
        self.streams.control(f"\x1b]9;4;{state};{percent}\x1b\\")


@dataclass(slots=True)
class Screen:
    """A terminal on stderr, and on stdout where both are one."""

    streams: Streams
    taskbar: Taskbar = field(init=False)
    _pinned: list[str] = field(default_factory=list)
    _drawn: list[str] = field(default_factory=list)
    _end: TextEnd = field(default_factory=TextEnd)
    _queued: list[str] = field(default_factory=list)
    _wrapped: bool = False
    _is_talking: bool = False  # the line that is open is stderr's
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
        if self._is_talking:
            self._fresh_line()
        if self._wrapped and text.startswith("\n"):
            # the cursor is on that line already
            text, self._wrapped = text[1:], False
        for start in range(0, len(text), PIECE):
            raw = text[start : start + PIECE]
            piece, self._last = printable(raw, after=self._last), raw[-1:]
            flowed = self._end.flowed(piece, self._size[0])
            self._wrapped = flowed.endswith("\n") and not piece.endswith("\n")
            self.streams.answer(flowed)
        self._draw()

    def talk(self, text: str, painted: Callable[[str], str]) -> None:
        """Write text to stderr that ends no line, above the pinned lines.

        What `show` and `text` write after it begins a line of its own.
        """
        self._erase()
        if not self._is_talking:
            self._fresh_line()
        self._is_talking = True
        flowed = self._end.flowed(printable(text), self._size[0])
        self.streams.control(painted(flowed))
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
        if self._end.column:
            self.streams.control("\n")
        self._end, self._wrapped = TextEnd(), False
        self._is_talking = False

    def _erase(self) -> None:
        """Take what is drawn away: by the saved place, for somebody may have typed.

        A terminal that was resized has moved its cursor itself, and not that place.
        """
        before, self._size = self._size, self.streams.size()
        if self._drawn:
            back = RESTORE if before == self._size else ""
            start = "" if self._end.column else "\r"
            self.streams.control(back + start + ERASE)
            self._drawn = []
        self._end.resized(before[0], self._size[0])

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
        below = int(self._end.column > 0)
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
        if self._end.is_tight(self._size[0]):
            return
        edge = self._end.column >= self._size[0]
        if edge:
            self._end.column, self._wrapped = 0, True
        below = int(self._end.column > 0)
        room = len(self._pinned) - 1 + below
        makes_room = f"{DOWN_SCROLLING * room}\x1b[{room}A" if room else ""
        lines = f"\r{_down(1)}".join(f"{line}\x1b[K" for line in self._pinned)
        self._drawn = self._pinned
        parts = (" \r" * edge, makes_room, SAVE, CUT, _down(below), "\r", lines)
        self.streams.control("".join(parts) + WRAP + BACK)


def _down(rows: int) -> str:
    return f"\x1b[{rows}B" if rows else ""
