"""Jobs as rows: tab-separated in a pipe, a table that fits on a terminal."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.model import Job, Status
from bgresp.core.text import printable
from bgresp.render.columns import DEFAULT, NONE, Look, column, heading
from bgresp.render.folded import GAP, flowed
from bgresp.render.streams import Streams

Paint = Callable[[str, str], str]
KEPT: Final = ("id", "status")
LONGEST_NAME: Final = 24
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

    `steps` make it fit where the terminal is narrow; what does not fit by them is
    folded below its title. An id is never cut.
    """

    streams: Streams
    look: Look
    columns: Sequence[str] = DEFAULT
    steps: Steps = STEPS

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
        if not grid.fit(self.streams.width, self.steps):
            folded = self._stacked if self.steps is STEPS else self._folded
            folded(jobs, grid)
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

    def _folded(self, jobs: list[Job], grid: "Grid") -> None:
        """Write every value that is known: first the title, beside it the status.

        The others stand below it, each behind its heading.
        """
        from rich.cells import cell_len

        width = self.streams.width - len(GAP)
        for job, row in zip(jobs, grid.rows, strict=True):
            (_, title), *cells = zip(grid.headings, row, strict=True)
            *above, title = flowed([title], self.streams.width) or [title]
            for line in above:
                self._line(self._paint(line, "1"))
            beside = ""
            status = ("STATUS", column("status").cell(job, self.look))
            if status in cells and cell_len(title + GAP + status[1]) <= width:
                cells.remove(status)
                beside = GAP + self._paint(status[1], COLOURS[job.status])
            self._line(self._paint(title, "1") + beside)
            known = [f"{head.lower()} {cell}" for head, cell in cells if cell != NONE]
            for below in flowed(known, width):
                self._line(GAP + below)

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

    def padded(self, row: list[str], colours: list[str], paint: Paint) -> str:
        """Return a row as one line."""
        from rich.cells import cell_len

        return GAP.join(
            paint(cell, colour) + " " * (width - cell_len(cell))
            for cell, colour, width in zip(row, colours, self.widths, strict=True)
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


def cut(text: str, width: int) -> str:
    """Return a text in at most so many terminal cells, with a mark where it was cut."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…"
