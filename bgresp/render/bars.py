"""Figures of many jobs as bars on a terminal, with Rich."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bgresp.core.model import Status
from bgresp.core.stats import Stats
from bgresp.core.text import one_line
from bgresp.core.times import brief
from bgresp.render.rows import LONGEST_NAME, cut
from bgresp.render.streams import Streams

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

GAP: Final = 2
SHORTEST: Final = 8
LONGEST: Final = 40
STYLES: Final = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.LOST: "red",
    Status.REJECTED: "red",
    Status.UNKNOWN: "magenta",
    Status.SUBMITTING: "magenta",
    Status.INCOMPLETE: "yellow",
    Status.CANCELLED: "yellow",
}


def number(value: Any) -> str:
    """Write a count for people: 999, 12.3k, 4.5M."""
    if value is None:
        return "-"
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= least:
            return f"{value / size:.1f}{unit}"
    return str(value)


def span(value: Any) -> str:
    """Write a duration for people."""
    return "-" if value is None else brief(value)


@dataclass(frozen=True, slots=True)
class Figure:
    """A column beside the bars."""

    heading: str
    name: str
    write: Callable[[Any], str]


# The most wanted first: what does not fit beside the bars goes from the end.
FIGURES: Final = (
    Figure("FAILED", "failed", number),
    Figure("RUN", "run_median", span),
    Figure("P95", "run_p95", span),
    Figure("QUEUED", "queue_median", span),
    Figure("P95", "queue_p95", span),
    Figure("TOKENS OUT", "tokens_out", number),
    Figure("IN", "tokens_in", number),
)


@dataclass(frozen=True, slots=True)
class Bars:
    """A chart of jobs by something: a bar a group, and figures where there is room."""

    streams: Streams
    by: str

    def show(self, found: Stats) -> None:
        """Write the chart to the terminal."""
        rows = [group.row() for group in found.groups]
        whole = found.total.row()
        text = io.StringIO()
        console = self._console(text)
        console.print(self._table(rows, whole))
        for line in text.getvalue().splitlines():
            self.streams.draw(line)

    def _console(self, text: io.StringIO) -> "Console":
        from rich.console import Console

        return Console(
            file=text,
            width=self.streams.width,
            force_terminal=True,
            color_system="standard" if self.streams.colour else None,
            no_color=not self.streams.colour,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def _table(self, rows: list[dict[str, Any]], whole: dict[str, Any]) -> "Table":
        from rich.bar import Bar
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        names = [cut(one_line(row["value"]), LONGEST_NAME) for row in rows]
        heading = self.by.upper()
        count = max(len(number(whole["jobs"])), len("JOBS"))
        used = max(map(cell_len, [*names, heading, "all"])) + count + 2 * GAP
        told = [f for f in FIGURES if f.name != "failed" or self.by != "status"]
        figures, bar = fitting(told, [*rows, whole], self.streams.width - used)
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        table.add_column(heading, no_wrap=True)
        table.add_column("JOBS", justify="right", no_wrap=True)
        table.add_column("", width=bar, no_wrap=True)
        for figure in figures:
            table.add_column(figure.heading, justify="right", no_wrap=True)
        most = max((row["jobs"] for row in rows), default=0)
        for name, row in zip(names, rows, strict=True):
            drawn = Bar(most, 0, row["jobs"], width=bar, color=self._style(row))
            cells = [f.write(row[f.name]) for f in figures]
            table.add_row(Text(name), number(row["jobs"]), drawn, *cells)
        cells = [f.write(whole[f.name]) for f in figures]
        table.add_row("all", number(whole["jobs"]), "", *cells, style="bold")
        return table

    def _style(self, row: dict[str, Any]) -> str:
        if self.by == "status":
            return STYLES.get(Status(row["value"]), "cyan")
        return "cyan"


def fitting(
    wanted: list[Figure], rows: list[dict[str, Any]], room: int
) -> tuple[list[Figure], int]:
    """Return the figures that have room beside bars, and how wide the bars are."""
    figures: list[Figure] = []
    for figure in wanted:
        cells = [figure.heading, *(figure.write(row[figure.name]) for row in rows)]
        width = max(map(len, cells)) + GAP
        if room - width < SHORTEST:
            break
        figures.append(figure)
        room -= width
    return figures, min(max(room, 1), LONGEST)
