"""Jobs on a common axis of time: how long each was queued and how long it ran."""

from dataclasses import dataclass
from typing import Final

from bgresp.core.model import Job, Status
from bgresp.core.text import printable
from bgresp.core.times import brief, local, rfc3339
from bgresp.render.columns import Look, Times
from bgresp.render.folded import GAP
from bgresp.render.rows import COLOURS, LONGEST_NAME, cut
from bgresp.render.streams import Streams

QUEUED: Final = "░"
RUNNING: Final = "█"
OPEN: Final = "▶"
SHORTEST: Final = 10  # cells of a bar


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
        took = [brief(last - first) for first, last in spans]
        names = [self._label(job) for job in jobs]
        widest, longest = _widest(names), _widest(took)
        room = self.streams.width - widest - longest - 2 * len(GAP)
        beside = room >= SHORTEST
        if not beside:
            widest, room = 0, max(self.streams.width - longest - len(GAP), SHORTEST)
        axis = Axis(start, end, room)
        self._line(self._scale(axis, widest + len(GAP) if beside else 0))
        for job, name, span in zip(jobs, names, took, strict=True):
            bar = axis.bar(job, self.look.now)
            painted = self._paint(bar, COLOURS[job.status])
            row = f"{painted}{' ' * (room - len(bar))}{GAP}{span.rjust(longest)}"
            if beside:
                row = _padded(name, widest) + GAP + row
            else:
                self._line(name)
            self._line(row)
        self._line(f"{QUEUED} queued  {RUNNING} ran  {OPEN} goes on")

    def _label(self, job: Job) -> str:
        name = printable(job.name or "")
        return cut(name, LONGEST_NAME) if name else printable(job.ref)

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

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.streams.colour else text

    def _line(self, text: str) -> None:
        self.streams.draw(text)


def _widest(texts: list[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, texts))


def _padded(text: str, width: int) -> str:
    from rich.cells import cell_len

    return text + " " * (width - cell_len(text))
