"""Text in the cells of a terminal: measured as it is seen, cut, padded, painted.

One table says which colour a status has, and one function how a figure is written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bgresp.core.model import Job, Status
from bgresp.core.text import one_line
from bgresp.render.streams import Streams

Piece = tuple[str, str]  # what is seen, and its SGR parameters; "" is plain
GAP: Final = "  "
BOLD, DIM, RED, GREEN, YELLOW, MAGENTA, CYAN = "1", "2", "31", "32", "33", "35", "36"
STATUS_STYLES: Final = {
    Status.SUBMITTING: DIM,
    Status.UNKNOWN: MAGENTA,
    Status.REJECTED: RED,
    Status.QUEUED: DIM,
    Status.IN_PROGRESS: CYAN,
    Status.COMPLETED: GREEN,
    Status.INCOMPLETE: YELLOW,
    Status.CANCELLED: YELLOW,
    Status.FAILED: RED,
    Status.LOST: RED,
}
LONGEST_NAME: Final = 24
TURNS: Final = 8  # a second, of the sign before a running job
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


def width_of(text: str) -> int:
    """Return how many cells a text takes; Rich is asked only where that is no count."""
    if text.isascii() and text.isprintable():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def widest(texts: Iterable[str]) -> int:
    """Return how many cells the widest of some texts takes; 0 of none."""
    return max(map(width_of, texts), default=0)


def padded(text: str, width: int) -> str:
    """Return a text with blanks up to so many cells."""
    return text + " " * (width - width_of(text))


def cut(text: str, width: int) -> str:
    """Return a text in at most so many cells, with a mark where it was cut."""
    if width_of(text) <= width:
        return text
    return _begun(text, width - 1).rstrip() + "…"


def _begun(text: str, width: int) -> str:
    """Return the beginning of a text in exactly so many cells."""
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def number(value: float | None) -> str:
    """Write a count for people: 1,234, 456.7k, 8.9M, 1.2G; `-` where it is unknown."""
    if value is None:
        return "-"
    if value < 100_000:
        return f"{value:,.0f}"
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:,.1f}{unit}"
    return f"{value / 1e3:,.1f}k"


def money(value: float | None) -> str:
    """Write what something cost, in whatever money its prices are."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if value >= 1 else f"{value:.6f}"


@dataclass(frozen=True, slots=True)
class Painter:
    """How a line is drawn on one terminal: with colours or not, in ASCII or not."""

    colour: bool
    unicode: bool

    @classmethod
    def of_answers(cls, streams: Streams) -> "Painter":
        """Return the painter for stdout."""
        return cls(streams.colour, streams.unicode)

    @classmethod
    def of_talk(cls, streams: Streams) -> "Painter":
        """Return the painter for stderr."""
        return cls(streams.err_colour, streams.unicode)

    def painted(self, text: str, style: str) -> str:
        """Return text in a style, where there are colours."""
        if not (self.colour and style and text):
            return text
        return f"\x1b[{style}m{text}\x1b[0m"

    def mark(self, status: Status, moment: float) -> Piece:
        """Return the sign before a status; that of a running job turns with time."""
        style = STATUS_STYLES[status]
        if status is Status.IN_PROGRESS:
            frames = _SPINNERS[0 if self.unicode else 1]
            return frames[int(moment * TURNS) % len(frames)], style
        return _MARKS[status][0 if self.unicode else 1], style

    def line(self, pieces: Iterable[Piece], width: int) -> str:
        """Paint pieces, cut at `width` cells."""
        drawn, room = [], width
        for text, style in pieces:
            size = width_of(text)
            if size > room:
                drawn.append(self.painted(self._cut(text, room), style))
                break
            drawn.append(self.painted(text, style))
            room -= size
        return "".join(drawn)

    def cell(self, text: str, width: int) -> str:
        """Return text of anybody as a cell: safe, on one line, exactly `width` wide."""
        safe = self.safe(text)
        return self._cut(safe, width) if width_of(safe) > width else padded(safe, width)

    def label(self, job: Job) -> str:
        """Return what a person knows a job by, as far as the terminal can show it."""
        names = (name for name in (job.name, job.row) if name)
        return next(filter(self._can, names), job.ref)

    def safe(self, text: str) -> str:
        """Return text of anybody, safe and on one line; in ASCII where need be."""
        line = one_line(text)
        if self.unicode:
            return line
        return line.replace("…", "...").encode("ascii", "replace").decode("ascii")

    def _can(self, text: str) -> bool:
        return self.unicode or text.isascii()

    def _cut(self, text: str, width: int) -> str:
        if width < 1:
            return ""
        return _begun(text, width - 1) + ("…" if self.unicode else "~")


def fitting(fields: Iterable[list[Piece]], width: int) -> list[Piece]:
    """Join fields by two spaces, leaving out those that find no room."""
    found: list[Piece] = []
    room = width
    for field in fields:
        size = sum(width_of(text) for text, _ in field) + len(GAP) * bool(found)
        if field and size <= room:
            found += [(GAP, "")] if found else []
            found += field
            room -= size
    return found
