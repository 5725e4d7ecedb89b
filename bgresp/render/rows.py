"""Jobs as rows: tab-separated in a pipe, a table that fits on a terminal.

May import core, render.columns and render.streams.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.model import Job, Status
from bgresp.core.printable import printable
from bgresp.render.columns import DEFAULT, NONE, Look, column, heading
from bgresp.render.streams import Streams

Paint = Callable[[str, str], str]
GAP: Final = "  "
KEPT: Final = ("id", "status")
LONGEST_NAME: Final = 24
SHORTEST_NAME: Final = 8
# What is done in turn where a terminal is narrow: a column goes, or names are cut.
STEPS: Final = (
    *("expires", "tokens", LONGEST_NAME, "model", "took", "age", SHORTEST_NAME),
    "name",
)
COLOURS: Final = {
    Status.COMPLETED: "32",
    Status.IN_PROGRESS: "36",
    Status.QUEUED: "36",
    Status.FAILED: "31",
    Status.LOST: "31",
    Status.REJECTED: "31",
    Status.UNKNOWN: "35",
    Status.SUBMITTING: "35",
    Status.INCOMPLETE: "33",
    Status.CANCELLED: "33",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of jobs on one pair of streams.

    `fits`: columns may go where the terminal is narrow; else its lines wrap. An id is
    never cut.
    """

    streams: Streams
    look: Look
    columns: Sequence[str] = DEFAULT
    fits: bool = True

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
        return [column(name).cell(job, self.look) for name in self.columns]

    def _aligned(self, jobs: list[Job]) -> None:
        grid = Grid(
            list(self.columns),
            [heading(name, self.look) for name in self.columns],
            [[printable(cell) for cell in self.cells(job)] for job in jobs],
        )
        if self.fits and not grid.fit(self.streams.width):
            self._stacked(jobs, grid)
            return
        self._line(grid.padded(grid.headings, ["1"] * len(grid.headings), self._paint))
        for job, row in zip(jobs, grid.rows, strict=True):
            paints = [COLOURS[job.status] if n == "status" else "" for n in grid.names]
            self._line(grid.padded(row, paints, self._paint))

    def _stacked(self, jobs: list[Job], grid: "Grid") -> None:
        """Write the id on a line of its own, and what else fits below it."""
        from rich.cells import cell_len

        for job, row in zip(jobs, grid.rows, strict=True):
            cells = dict(zip(grid.names, row, strict=True))
            self._line(self._paint(cells.pop("id", job.ref), "1"))
            first = cells.pop("status", job.status.value)
            below, used = GAP + self._paint(first, COLOURS[job.status]), cell_len(first)
            for cell in (cut(c, LONGEST_NAME) for c in cells.values() if c != NONE):
                wider = used + len(GAP) + cell_len(cell)
                if wider + len(GAP) <= self.streams.width:
                    below, used = below + GAP + cell, wider
            self._line(below)

    def _paint(self, text: str, colour: str) -> str:
        painted = self.streams.colour and colour and text
        return f"\x1b[{colour}m{text}\x1b[0m" if painted else text

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
        from rich.cells import cell_len

        cells = zip(self.headings, *self.rows, strict=True)
        self.widths = [max(map(cell_len, column)) for column in cells]

    @property
    def width(self) -> int:
        """Return how wide the whole is."""
        return sum(self.widths) + len(GAP) * (len(self.widths) - 1)

    def fit(self, width: int) -> bool:
        """Drop what is empty, then take the steps while it is too wide; say if it fits.

        Where it does not, every column is there again.
        """
        whole = list(self.names), list(self.headings), [list(row) for row in self.rows]
        measured = list(self.widths)
        empty = [n for n in self.names if n not in KEPT and self._is_empty(n)]
        for step in (*reversed(empty), *STEPS):
            if self.width <= width:
                break
            if isinstance(step, int):
                self._cut_names(max(step, self._room_of_name(width)))
            elif step in self.names:
                self._drop(step)
        if self.width <= width:
            return True
        (self.names, self.headings, self.rows), self.widths = whole, measured
        return False

    def _is_empty(self, name: str) -> bool:
        at = self.names.index(name)
        return all(row[at] == NONE for row in self.rows)

    def _drop(self, name: str) -> None:
        at = self.names.index(name)
        for cells in (self.names, self.headings, *self.rows):
            del cells[at]
        del self.widths[at]

    def _room_of_name(self, width: int) -> int:
        """Return how wide the names may be for the whole to fit."""
        at = self.names.index("name") if "name" in self.names else 0
        return self.widths[at] - (self.width - width)

    def _cut_names(self, room: int) -> None:
        if "name" not in self.names:
            return
        at = self.names.index("name")
        for row in self.rows:
            row[at] = cut(row[at], room)
        self.widths[at] = min(self.widths[at], room)

    def padded(self, row: list[str], colours: list[str], paint: Paint) -> str:
        """Return a row as one line."""
        from rich.cells import cell_len

        return GAP.join(
            paint(cell, colour) + " " * (width - cell_len(cell))
            for cell, colour, width in zip(row, colours, self.widths, strict=True)
        )


def cut(text: str, width: int) -> str:
    """Return a text in at most so many terminal cells, with a mark where it was cut."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…"
