"""Lines of a live view: pieces with a style, cut to a width, painted or not.

What is measured is what is seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bgresp.core.model import Job, Status
from bgresp.core.text import one_line
from bgresp.render.rows import COLOURS
from bgresp.render.streams import Streams

Piece = tuple[str, str]  # what is seen, and its SGR parameters; "" is plain
DIM, BOLD, WARNING, GOOD, FAULT = "2", "1", "33", "32", "31"
RUNNING: Final = "36"
STYLES: Final = {**COLOURS, Status.QUEUED: DIM, Status.SUBMITTING: DIM}
_MARKS: Final = {
    Status.COMPLETED: "✓+",
    Status.QUEUED: "○.",
    Status.SUBMITTING: "○.",
    Status.FAILED: "✗x",
    Status.LOST: "✗x",
    Status.REJECTED: "✗x",
    Status.UNKNOWN: "??",
    Status.INCOMPLETE: "!!",
    Status.CANCELLED: "⊘-",
}
_SPINNERS: Final = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\")
TURNS: Final = 8  # a second


@dataclass(frozen=True, slots=True)
class Brush:
    """How a line is drawn on one terminal: with colours or not, in ASCII or not."""

    colour: bool
    unicode: bool

    @classmethod
    def of(cls, streams: Streams) -> "Brush":
        """Return the brush for stderr."""
        return cls(streams.err_colour, streams.unicode)

    def mark(self, status: Status, moment: float) -> Piece:
        """Return the sign before a status; that of a running job turns with time."""
        style = STYLES[status]
        if status is Status.IN_PROGRESS:
            frames = _SPINNERS[0 if self.unicode else 1]
            return frames[int(moment * TURNS) % len(frames)], style
        return _MARKS[status][0 if self.unicode else 1], style

    def line(self, pieces: Iterable[Piece], width: int) -> str:
        """Paint pieces, cut at `width` cells."""
        from rich.cells import cell_len

        drawn, room = [], width
        for text, style in pieces:
            size = cell_len(text)
            if size > room:
                drawn.append(self.painted(self._cut(text, room), style))
                break
            drawn.append(self.painted(text, style))
            room -= size
        return "".join(drawn)

    def cell(self, text: str, width: int, *, right: bool = False) -> str:
        """Return text of anybody as a cell: safe, on one line, exactly `width` wide."""
        from rich.cells import cell_len

        safe = self.safe(text)
        size = cell_len(safe)
        if size > width:
            return self._cut(safe, width)
        blank = " " * (width - size)
        return blank + safe if right else safe + blank

    def label(self, job: Job) -> str:
        """Return what a person knows a job by, as far as the terminal can show it."""
        names = (name for name in (job.name, job.row) if name)
        return next(filter(self._can, names), job.ref)

    def _can(self, text: str) -> bool:
        return self.unicode or text.isascii()

    def safe(self, text: str) -> str:
        """Return text of anybody, safe and on one line; in ASCII where need be."""
        line = one_line(text)
        if self.unicode:
            return line
        return line.replace("…", "...").encode("ascii", "replace").decode("ascii")

    def _cut(self, text: str, width: int) -> str:
        from rich.cells import set_cell_size

        if width < 1:
            return ""
        return set_cell_size(text, width - 1) + ("…" if self.unicode else "~")

    def painted(self, text: str, style: str) -> str:
        """Return text in a style, where there are colours."""
        if not (self.colour and style and text):
            return text
        return f"\x1b[{style}m{text}\x1b[0m"


def fitting(fields: Iterable[list[Piece]], width: int) -> list[Piece]:
    """Join fields by two spaces, leaving out those that find no room."""
    from rich.cells import cell_len

    found: list[Piece] = []
    room = width
    for field in fields:
        size = sum(cell_len(text) for text, _ in field) + 2 * bool(found)
        if field and size <= room:
            found += [("  ", "")] if found else []
            found += field
            room -= size
    return found


def number(value: float) -> str:
    """Write a count for people: 1,234, 456.7k, 8.9M."""
    if value < 100_000:
        return f"{value:,.0f}"
    return f"{value / 1e3:,.1f}k" if value < 1e6 else f"{value / 1e6:,.1f}M"
