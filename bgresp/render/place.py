"""Where on its line a text that grows on a terminal has come to. May import Rich.

The answer is exact as long as terminals agree on the characters' widths; `slack` is by
how many cells they may differ.
"""

import re
from dataclasses import dataclass
from typing import Final

TAB: Final = 8
# Of these every terminal gives the same width: Latin, Greek, Cyrillic, punctuation,
# arrows and boxes, CJK, Kana, Hangul. Others combine, join, or came with a later
# Unicode.
_SURE: Final = re.compile(
    "[\t -~\u00a0-\u02ff\u0370-\u0482\u0490-\u052f\u2010-\u2027\u2030-\u205e"
    "\u2190-\u21ff\u2500-\u257f\u3000-\u3029\u3030-\u9fff\uac00-\ud7a3\uff01-\uff60]*"
)


@dataclass(slots=True)
class Place:
    """The column of a text's end; it equals the width where the next wraps."""

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
            self.slack += 2 * sum(not _SURE.fullmatch(each) for each in tail)
        for each in tail:
            if each == "\t":
                self._tab(width)
            else:
                self._go_one(get_character_cell_size(each), width)

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
