"""Rows, with tabs in a pipe; on a terminal a table that never goes past its edge.

What does not fit is cut, left out or folded into lines of its own; an id never is cut.
First the cells: text measured as it is seen, cut, padded, painted. One table says which
colour a status has, and one function how a figure is written.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from bgresp.core.model import Job, Status
from bgresp.core.text import one_line, printable
from bgresp.render.columns import DEFAULT, NONE, Look, column, heading, reason
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
KEPT: Final = ("id", "status")
SHORTEST_NAME: Final = 8
# What is done in turn where a terminal is narrow: a column is cut to so many cells; to
# none, it goes.
Steps = Sequence[tuple[str, int]]
STEPS: Final[Steps] = (
    *(("name", LONGEST_NAME), ("expires", 0), ("tokens", 0), ("model", 0)),
    *(("name", 16), ("took", 0), ("name", 12), ("age", 0)),
    *(("name", SHORTEST_NAME), ("name", 0)),
)
CUTS: Final[Steps] = tuple(
    (name, LONGEST_NAME) for name in ("name", "labels", "reason")
)
# The column of calls is there only where a job waits for its caller.
WITH_CALLS: Final[Steps] = (("calls", 2 * LONGEST_NAME), *STEPS, ("calls", 0))
NARROW: Final = 24  # cells below which a last column starts a line of its own
LEVELS: Final = {"ok": GREEN, "warn": YELLOW, "bad": RED}


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


class Painter(NamedTuple):
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
    for pieces in fields:
        size = sum(width_of(text) for text, _ in pieces) + len(GAP) * bool(found)
        if pieces and size <= room:
            found += [(GAP, "")] if found else []
            found += pieces
            room -= size
    return found


class Table(NamedTuple):
    """A table of jobs on one pair of streams.

    `steps` make it fit where the terminal is narrow; what does not fit by them is
    folded below its title. An id is never cut. Where `reasons` are wanted, why a job
    did not complete stands on a line below its row.
    """

    streams: Streams
    look: Look
    columns: Sequence[str] = DEFAULT
    steps: Steps = STEPS
    reasons: bool = False

    def show(self, jobs: Iterable[Job]) -> None:
        """Write the rows; on a terminal with a heading, and aligned."""
        if not self.streams.out_is_terminal:
            for job in jobs:
                self.streams.line("\t".join(self.cells(job)))
            return
        found = list(jobs)
        if found:
            self._aligned(found)

    def cells(self, job: Job) -> list[str]:
        """Return one row, each cell on one line and without tabs."""
        titles = self.look.titles.get(job.key, {})
        return [
            titles.get(name) or column(name).cell(job, self.look)
            for name in self.columns
        ]

    def _aligned(self, jobs: list[Job]) -> None:
        if self.steps is STEPS and any(map(column("calls").value, jobs)):
            wider = self._replace(columns=(*self.columns, "calls"), steps=WITH_CALLS)
            wider._aligned(jobs)  # noqa: SLF001  a table of the same kind
            return
        grid = Grid(
            list(self.columns),
            [heading(name, self.look) for name in self.columns],
            [[printable(cell) for cell in self.cells(job)] for job in jobs],
        )
        if not grid.fit(self.streams.width, self.steps):
            usual = self.steps in (STEPS, WITH_CALLS)
            folded = self._stacked if usual else self._folded
            folded(jobs, grid)
            return
        painter = Painter.of_answers(self.streams)
        self._line(grid.line(grid.headings, [BOLD] * len(grid.headings), painter))
        for job, row in zip(jobs, grid.rows, strict=True):
            style = STATUS_STYLES[job.status]
            styles = [style if name == "status" else "" for name in grid.names]
            self._line(grid.line(row, styles, painter))
            self._below(job)

    def _below(self, job: Job) -> None:
        """Write why a job did not complete, where that is wanted."""
        why = reason(job) if self.reasons else ""
        if why:
            room = max(1, self.streams.width - len(GAP))
            painted = self._paint(cut(printable(why), room), STATUS_STYLES[job.status])
            self._line(GAP + painted)

    def _stacked(self, jobs: list[Job], grid: "Grid") -> None:
        """Write the id on a line of its own, and what else fits below it.

        Below the headings, which stand so too; a column without any value is left out.
        """
        rows = [dict(zip(grid.names, row, strict=True)) for row in grid.rows]
        empty = {n for n in grid.names if all(row[n] == NONE for row in rows)}
        heads = dict(zip(grid.names, grid.headings, strict=True))
        for job, cells in zip([None, *jobs], [heads, *rows], strict=True):
            first = cells.pop("status")
            style = BOLD if job is None else STATUS_STYLES[job.status]
            self._line(self._paint(cells.pop("id"), BOLD))
            below, used = GAP + self._paint(first, style), width_of(first)
            known = (cells[name] for name in cells if name not in empty)
            for cell in (cut(cell, LONGEST_NAME) for cell in known):
                wider = used + len(GAP) + width_of(cell)
                if wider + len(GAP) > self.streams.width:
                    break  # a later one would stand in its place
                painted = self._paint(cell, BOLD) if job is None else cell
                below, used = below + GAP + painted, wider
            self._line(below)
            if job is not None:
                self._below(job)

    def _folded(self, jobs: list[Job], grid: "Grid") -> None:
        """Write every value that is known: first the title, beside it the status.

        The others stand below it, each behind its heading.
        """
        width = self.streams.width - len(GAP)
        for job, row in zip(jobs, grid.rows, strict=True):
            (_, title), *cells = zip(grid.headings, row, strict=True)
            *above, title = flowed([title], self.streams.width) or [title]
            for line in above:
                self._line(self._paint(line, BOLD))
            beside = ""
            status = ("STATUS", column("status").cell(job, self.look))
            if status in cells and width_of(title + GAP + status[1]) <= width:
                cells.remove(status)
                beside = GAP + self._paint(status[1], STATUS_STYLES[job.status])
            self._line(self._paint(title, BOLD) + beside)
            known = [f"{head.lower()} {cell}" for head, cell in cells if cell != NONE]
            for below in flowed(known, width):
                self._line(GAP + below)

    def _paint(self, text: str, style: str) -> str:
        return Painter.of_answers(self.streams).painted(text, style)

    def _line(self, text: str) -> None:
        self.streams.draw(text)


class Grid:
    """Cells that are to be aligned; `fit` takes columns away until they fit."""

    def __init__(
        self, names: list[str], headings: list[str], rows: list[list[str]]
    ) -> None:
        """Measure the columns in terminal cells."""
        self.names = names
        self.headings = headings
        self.rows = rows
        cells = zip(headings, *rows, strict=True)
        self.widths = [widest(column) for column in cells]

    def fit(self, width: int, steps: Steps) -> bool:
        """Drop what is empty, then take steps, as many as it needs; say if it fits.

        Where it does not, every column is there still. What was cut is cut no further
        than what was dropped after it leaves room for.
        """
        empty = [n for n in self.names if n not in KEPT and self._is_empty(n)]
        drops = [(name, 0) for name in reversed(empty) if steps]
        widths, caps = dict(zip(self.names, self.widths, strict=True)), {}
        for name, least in (("", 0), *drops, *steps):
            if least:
                caps[name] = least
            else:
                widths.pop(name, None)
            fitted = _narrowed(widths, caps, width)
            if fitted is not None:
                self._take(fitted)
                return True
        return False

    def _is_empty(self, name: str) -> bool:
        at = self.names.index(name)
        return all(row[at] == NONE for row in self.rows)

    def _take(self, widths: dict[str, int]) -> None:
        """Keep the columns that have a width, and cut them to it."""
        kept = [at for at, name in enumerate(self.names) if name in widths]
        room = {at: widths[self.names[at]] for at in kept}
        self.names = list(widths)
        self.headings = [self.headings[at] for at in kept]
        self.rows = [[cut(row[at], room[at]) for at in kept] for row in self.rows]
        self.widths = list(widths.values())

    def line(self, row: list[str], styles: list[str], painter: Painter) -> str:
        """Return a row as one line."""
        return GAP.join(
            painter.painted(cell, style) + " " * (width - width_of(cell))
            for cell, style, width in zip(row, styles, self.widths, strict=True)
        )


def _narrowed(
    widths: dict[str, int], caps: dict[str, int], width: int
) -> dict[str, int] | None:
    """Return widths that fit, the capped ones no smaller than that; None if none do."""
    over = sum(widths.values()) + len(GAP) * (len(widths) - 1) - width
    found = dict(widths)
    for name, least in caps.items():
        if name in found:
            taken = max(0, min(over, found[name] - least))
            found[name] -= taken
            over -= taken
    return found if over <= 0 else None


def show_rows(streams: Streams, rows: Sequence[Sequence[str]]) -> None:
    """Write rows of as many cells each; a first cell that is a level has its colour."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not streams.out_is_terminal:
        for row in cells:
            streams.line("\t".join(row))
        return
    for line in _aligned(cells, streams):
        streams.draw(line)


def _aligned(rows: list[list[str]], streams: Streams) -> Iterator[str]:
    widths = [widest(column) for column in zip(*rows, strict=True)][:-1]
    painter = Painter.of_answers(streams)
    before = sum(widths) + len(GAP) * len(widths)
    if before > streams.width:
        for row in rows:
            first, *rest = flowed(row, streams.width - len(GAP))
            yield from (first, *(GAP + line for line in rest))
        return
    beside = before + NARROW <= streams.width or all(
        before + width_of(row[-1]) <= streams.width for row in rows
    )
    indent = " " * before if beside else GAP
    for row in rows:
        head = ""
        for cell, width in zip(row, widths, strict=False):
            style = "" if head else LEVELS.get(cell, "")
            blank = " " * (width - width_of(cell))
            head += painter.painted(cell, style) + blank + GAP
        lines = flowed([row[-1]], streams.width - len(indent))
        if not beside:
            yield head
        else:
            yield head + (lines[0] if lines else "")
        yield from (indent + line for line in lines[beside:])


def flowed(fields: Iterable[str], width: int) -> list[str]:
    """Return fields one after the other on lines of at most so many cells.

    One that has no room on any line starts one, and is parted between its words. What
    is longer than a line, a path or an id, is left to the terminal, to be copied whole.
    """
    lines: list[str] = []
    for text in fields:
        words = text.split()
        is_one = width_of(text) <= width or any(width_of(w) > width for w in words)
        gap = GAP
        for word in [text] if is_one else words:
            joins = lines and (is_one or gap != GAP)
            if joins and width_of(lines[-1] + gap + word) <= width:
                lines[-1] += gap + word
            else:
                lines.append(word)
            gap = " "
    return lines
