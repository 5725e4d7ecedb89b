"""Where on its line a text that grows on a terminal has come to.

The answer is exact as long as terminals agree on the characters' widths; `slack` is by
how many cells they may differ.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

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
