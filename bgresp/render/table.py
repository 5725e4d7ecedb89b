"""Rows, with tabs in a pipe; on a terminal a table that never goes past its edge.

What does not fit is cut, left out or folded into lines of its own; an id never is cut.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bgresp.core.model import Job
from bgresp.core.text import one_line, printable
from bgresp.render.cells import (
    BOLD,
    GAP,
    GREEN,
    LONGEST_NAME,
    RED,
    STATUS_STYLES,
    YELLOW,
    Painter,
    cut,
    widest,
    width_of,
)
from bgresp.render.columns import DEFAULT, NONE, Look, column, heading, reason
from bgresp.render.streams import Streams

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


@dataclass(frozen=True, slots=True)
class Table:
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
            wider = replace(self, columns=(*self.columns, "calls"), steps=WITH_CALLS)
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
        """Write the id on a line of its own, and what else fits below it."""
        for job, row in zip(jobs, grid.rows, strict=True):
            cells = dict(zip(grid.names, row, strict=True))
            self._line(self._paint(cells.pop("id", job.ref), BOLD))
            first = cells.pop("status", job.status.value)
            below = GAP + self._paint(first, STATUS_STYLES[job.status])
            used = width_of(first)
            for cell in (cut(c, LONGEST_NAME) for c in cells.values() if c != NONE):
                wider = used + len(GAP) + width_of(cell)
                if wider + len(GAP) <= self.streams.width:
                    below, used = below + GAP + cell, wider
            self._line(below)
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


@dataclass(slots=True)
class Grid:
    """Cells that are to be aligned; `fit` takes columns away until they fit."""

    names: list[str]
    headings: list[str]
    rows: list[list[str]]
    widths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Measure the columns in terminal cells."""
        cells = zip(self.headings, *self.rows, strict=True)
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
