"""One job on a terminal: its text as it comes, a status line below it.

Nothing here runs by itself: who follows the job calls `tick` a few times a second.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from rich.cells import cell_len

from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.core.output import aside
from bgresp.render.gauge import Gauge, outcome
from bgresp.render.paint import DIM, Brush
from bgresp.render.screen import Screen
from bgresp.render.streams import Streams


@dataclass(slots=True)
class LiveOne(Observer):
    """One job; `where` says at the end how to get at the answer.

    `shows` names the asides that are told: reasoning, tools. Without `to_stdout` the
    text goes into a file, and only its growth is shown.
    """

    streams: Streams
    to_stdout: bool = True
    where: str = ""
    shows: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    period: ClassVar[float | None] = 1 / 8
    is_drawn: ClassVar[bool] = True
    _screen: Screen = field(init=False)
    _gauge: Gauge = field(init=False)
    _job: Job | None = None
    _progress: JobProgress | None = None

    def __post_init__(self) -> None:
        """Prepare a screen that shows nothing yet."""
        self._screen = Screen(self.streams)
        self._gauge = Gauge(Brush.of(self.streams))

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Show the status line of a job, if it is open."""
        self._job = next((job for job in jobs if job.status.is_open), None)
        self.tick()

    def stop(self) -> None:
        """Take the status line away; the cursor is shown again."""
        self._job = None
        self._screen.end()

    def pause(self) -> None:
        """Leave the terminal to others until the next tick."""
        self._screen.close()

    def tick(self) -> None:
        """Draw the status line anew."""
        if self._job is None:
            return
        moment = self.clock()
        width = self.streams.size()[0] - 1
        line = self._gauge.line(
            self._job, self._progress, moment=moment, now=self.now(), width=width
        )
        self._screen.pin([line])
        self._screen.taskbar.show(moment, None)

    def changed(self, job: Job, progress: JobProgress) -> None:
        """Show a job's new status."""
        self.moved(job, progress)
        self.tick()

    def moved(self, job: Job, progress: JobProgress) -> None:
        """Take a sign of life: the next tick shows it."""
        if self._job is not None:
            self._job, self._progress = job, progress

    def text(self, job: Job, fresh: str) -> None:
        """Write text above the status line."""
        self._gauge.doing = ""
        if self.to_stdout and fresh:
            self._screen.text(fresh)

    def end_line(self, job: Job) -> None:
        """End the text with a newline."""
        if self.to_stdout:
            self._screen.text("\n")

    def event(self, job: Job, raw: str) -> None:
        """Tell what stands beside the text, or show that it goes on."""
        found = aside(raw)
        if found is None:
            return
        if not found.text:
            self._gauge.doing = found.name
        elif found.kind in self.shows:
            brush = self._gauge.brush
            edge = "│ " if brush.unicode else "| "
            for line in filter(str.strip, found.text.splitlines()):
                said = edge + brush.safe(line)
                self._screen.show(brush.line([(said, DIM)], 1000))

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self._screen.say(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """End the text, and say how it ended."""
        self.stop()
        again = f"bgresp {'retry' if job.status is Status.FAILED else 'get'} {job.ref}"
        brush = self._gauge.brush
        said = outcome(job, brush)
        where = brush.safe(self.where or again)
        beside = [*said, (f"  {where}", "")]
        width = self.streams.size()[0]
        if sum(cell_len(text) for text, _ in beside) <= width:
            self._screen.show(brush.line(beside, width))
        else:
            self._screen.show(brush.line(said, 10_000))
            self._screen.show(where)
