"""Figures of many jobs as bars, and jobs on a common axis of time, on a terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bgresp.core.model import Job, Status
from bgresp.core.stats import Stats
from bgresp.core.text import one_line, printable
from bgresp.core.times import brief, local, rfc3339
from bgresp.render.columns import Look, Times, at_most
from bgresp.render.streams import Streams
from bgresp.render.table import (
    BOLD,
    CYAN,
    DIM,
    GAP,
    LONGEST_NAME,
    STATUS_STYLES,
    Painter,
    cut,
    money,
    number,
    padded,
    widest,
    width_of,
)

SHORTEST: Final = 8  # cells of a bar beside figures
LONGEST: Final = 40
BLOCK: Final = "█"
EIGHTHS: Final = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
QUEUED: Final = "░"
RUNNING: Final = BLOCK
OPEN: Final = "▶"
SHORTEST_SPAN: Final = 10  # cells of a bar on the axis of time


def _span(value: float | None) -> str:
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
    Figure("RUN", "run_median", _span),
    Figure("P95", "run_p95", _span),
    Figure("QUEUED", "queue_median", _span),
    Figure("P95", "queue_p95", _span),
    Figure("TOKENS OUT", "tokens_out", number),
    Figure("IN", "tokens_in", number),
    Figure("COST", "cost", money),
)


@dataclass(frozen=True, slots=True)
class BarChart:
    """A chart of jobs by something: a bar a group, and figures where there is room."""

    streams: Streams
    by: str

    def show(self, found: Stats) -> None:
        """Write the chart to the terminal."""
        groups, whole = [group.row() for group in found.groups], found.total.row()
        rows = [*groups, whole]
        names = [cut(one_line(row["value"]), LONGEST_NAME) for row in groups]
        first = [self.by.upper(), *names, "all"]
        jobs = ["JOBS", *(number(row["jobs"]) for row in rows)]
        used = widest(first) + widest(jobs) + 2 * len(GAP)
        told = [
            figure
            for figure in FIGURES
            if (figure.name != "failed" or self.by != "status")
            and (figure.name != "cost" or whole["cost"])
        ]
        figures, size = fitting_figures(told, rows, self.streams.width - used)
        most = max((row["jobs"] for row in groups), default=0)
        bars = ["", *(_bar(row["jobs"], most, size) for row in groups), ""]
        styles = ["", *map(self._style, groups), ""]
        beside = [[f.heading, *(f.write(row[f.name]) for row in rows)] for f in figures]
        painter = Painter.of_answers(self.streams)
        for at, (name, count, bar) in enumerate(zip(first, jobs, bars, strict=True)):
            own = "" if 0 < at < len(rows) else BOLD
            cells = [padded(name, widest(first)), count.rjust(widest(jobs))]
            head = painter.painted(GAP.join(cells), own)
            tail = GAP.join(column[at].rjust(widest(column)) for column in beside)
            drawn = painter.painted(bar, styles[at]) + " " * (size - width_of(bar))
            end = GAP + painter.painted(tail, own) if tail else ""
            self.streams.draw(f"{head}{GAP}{drawn}{end}")

    def _style(self, row: dict[str, Any]) -> str:
        style = STATUS_STYLES[Status(row["value"])] if self.by == "status" else CYAN
        return CYAN if style == DIM else style  # a bar has to be seen


def _bar(count: int, most: int, size: int) -> str:
    """Return a bar as long as its share of the longest, to an eighth of a cell."""
    whole, eighths = divmod(8 * size * count // max(most, 1), 8)
    return BLOCK * whole + EIGHTHS[eighths]


def fitting_figures(
    wanted: list[Figure], rows: list[dict[str, Any]], room: int
) -> tuple[list[Figure], int]:
    """Return the figures that have room beside bars, and how wide the bars are."""
    figures: list[Figure] = []
    for figure in wanted:
        cells = [figure.heading, *(figure.write(row[figure.name]) for row in rows)]
        width = widest(cells) + len(GAP)
        if room - width < SHORTEST:
            break
        figures.append(figure)
        room -= width
    return figures, min(max(room, 1), LONGEST)


@dataclass(frozen=True, slots=True)
class Axis:
    """A span of time over some terminal cells."""

    start: float
    end: float
    cells: int

    def at(self, moment: float) -> int:
        """Return the cell of a moment, from 0 to `cells`."""
        span = self.end - self.start
        share = (moment - self.start) / span if span > 0 else 0.0
        return round(min(max(share, 0.0), 1.0) * self.cells)

    def bar(self, job: Job, now: float) -> str:
        """Return a job's bar: queued, running, and a mark where it is not over."""
        start, end = ends(job, now)
        unseen = end if job.status is Status.QUEUED else start
        running = min(max(job.started_at or unseen, start), end)
        a, b, c = self.at(start), self.at(running), self.at(end)
        if a == c:  # as short as it is, it is seen
            a = min(a, self.cells - 1)
            b, c = (a if running < end or start == end else a + 1), a + 1
        drawn = QUEUED * (b - a) + RUNNING * (c - b)
        if job.status.is_open:
            drawn = drawn[:-1] + OPEN
        return " " * a + drawn


def ends(job: Job, now: float) -> tuple[float, float]:
    """Return when a job began and when it ended, or now while it is open."""
    start = job.submitted_at if job.submitted_at is not None else job.created_at
    last = now if job.status.is_open else job.finished_at or job.checked_at
    begun = start if start is not None else last or now
    return begun, max(begun, last or begun)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A drawing of jobs over time, on a terminal."""

    streams: Streams
    look: Look

    def show(self, jobs: list[Job]) -> None:
        """Write an axis, and each job's name, bar and time; ids are never cut."""
        if not jobs:
            return
        spans = [ends(job, self.look.now) for job in jobs]
        start, end = min(s for s, _ in spans), max(e for _, e in spans)
        took = [
            (at_most if job.took_exact is False else brief)(last - first)
            for job, (first, last) in zip(jobs, spans, strict=True)
        ]
        names = [self._label(job) for job in jobs]
        name_width, longest = widest(names), widest(took)
        room = self.streams.width - name_width - longest - 2 * len(GAP)
        beside = room >= SHORTEST_SPAN
        if not beside:
            room = max(self.streams.width - longest - len(GAP), SHORTEST_SPAN)
        axis, painter = Axis(start, end, room), Painter.of_answers(self.streams)
        self._line(self._scale(axis, name_width + len(GAP) if beside else 0))
        for job, name, span in zip(jobs, names, took, strict=True):
            bar = axis.bar(job, self.look.now)
            painted = painter.painted(bar, STATUS_STYLES[job.status])
            row = f"{painted}{' ' * (room - len(bar))}{GAP}{span.rjust(longest)}"
            if beside:
                row = padded(name, name_width) + GAP + row
            else:
                self._line(name)
            self._line(row)
        self._line(f"{QUEUED} queued  {RUNNING} ran  {OPEN} goes on")

    def _label(self, job: Job) -> str:
        name = printable(job.name or "")
        short = self.look.titles.get(job.key, {}).get("id", job.ref)
        return cut(name, LONGEST_NAME) if name else printable(short)

    def _scale(self, axis: Axis, indent: int) -> str:
        left, right = self._moment(axis.start), self._moment(axis.end)
        if len(left) + len(right) + len(GAP) > axis.cells:
            return " " * indent + left
        return " " * indent + left + right.rjust(axis.cells - len(left))

    def _moment(self, moment: float) -> str:
        if self.look.times is Times.UTC:
            return (rfc3339(moment) or "")[:19] + "Z"
        if self.look.times is Times.LOCAL:
            return local(moment)[:19]
        ago = self.look.now - moment
        return "now" if ago < 1 else f"{brief(ago)} ago"

    def _line(self, text: str) -> None:
        self.streams.draw(text)
