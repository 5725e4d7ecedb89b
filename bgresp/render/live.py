"""The live views on a terminal: one job's status line, many jobs' board.

May import core, Rich and the other modules of this package. Rich draws on stderr and
never prints data; the text goes to stdout above the status line.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from bgresp.core.board import counts
from bgresp.core.model import Job
from bgresp.core.printable import one_line
from bgresp.core.times import brief
from bgresp.render.lines import summary
from bgresp.render.streams import Streams

PER_SECOND = 8
ROOM = 4


def console(streams: Streams) -> Console:
    """Return the console of stderr: no markup, no links, no emoji, nothing guessed."""
    return Console(
        stderr=True,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=True,
        no_color=not streams.colour,
    )


@dataclass(slots=True)
class LiveOne:
    """One job on a terminal: its text as it comes, a status line below it."""

    streams: Streams
    to_stdout: bool = True
    clock: Callable[[], float] = time.monotonic
    _live: Live | None = None
    _job: Job | None = None
    _view: Any = None
    _started: float = 0.0
    _column: int = 0
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def start(self, job: Job) -> None:
        """Show the status line."""
        self._job, self._started = job, self.clock()
        self._live = Live(
            get_renderable=self._line,
            console=console(self.streams),
            refresh_per_second=PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def stop(self) -> None:
        """Take the status line away; the cursor is shown again."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def changed(self, job: Job, view: Any) -> None:
        """Show a job's new status."""
        self._job, self._view = job, view

    def moved(self, job: Job, view: Any) -> None:
        """Show a sign of life."""
        self._job, self._view = job, view

    def text(self, job: Job, fresh: str) -> None:
        """Write text; on the same terminal the status line makes room for it."""
        if not self.to_stdout or not fresh:
            return
        if self.streams.out_is_terminal:
            self.stop()
        self.streams.answer(fresh)
        self._column = 0 if fresh.endswith("\n") else self._column + len(fresh)

    def end_line(self, job: Job) -> None:
        """End the text with a newline."""
        if self.to_stdout:
            self.streams.answer("\n")
            self._column = 0

    def event(self, job: Job, raw: str) -> None:
        """Take an event: its text comes separately."""

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self.stop()
        self._fresh_line()
        self.streams.say(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """End the text, and say how it ended."""
        self.stop()
        self._fresh_line()
        self.streams.say(f"{job.ref} {summary(job)}")

    def _fresh_line(self) -> None:
        if self._column and self.streams.out_is_terminal:
            self.streams.say("")
            self._column = 0

    def _line(self) -> Text | Spinner:
        job = self._job
        if job is None:
            return Text("")
        parts = [job.status.value, brief(self.clock() - self._started)]
        view = self._view
        if view is not None:
            parts += [view.mode, f"{view.characters} characters"]
            if view.reconnects:
                parts.append(f"{view.reconnects} reconnects")
            if view.last_event_at is not None:
                parts.append(f"last event {brief(self.clock() - view.last_event_at)}")
        room = max(10, self.streams.width - ROOM)
        line = one_line(f"{job.ref}  " + "  ".join(parts), limit=room)
        self._spinner.update(text=Text(line, no_wrap=True, overflow="ellipsis"))
        return self._spinner


@dataclass(slots=True)
class LiveMany:
    """Many jobs on a terminal: a window of the board, counts below it."""

    streams: Streams
    clock: Callable[[], float] = time.monotonic
    _live: Live | None = None
    _jobs: dict[str, Job] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def start(self, jobs: list[Job]) -> None:
        """Show the board."""
        self._jobs = {job.key: job for job in jobs}
        self._since = dict.fromkeys(self._jobs, self.clock())
        self._live = Live(
            get_renderable=self._board,
            console=console(self.streams),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def stop(self) -> None:
        """Take the board away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def changed(self, job: Job, view: Any) -> None:
        """Show a job's new status."""
        del view
        self._jobs[job.key] = job

    def moved(self, job: Job, view: Any) -> None:
        """Take a sign of life."""

    def text(self, job: Job, fresh: str) -> None:
        """Take text: the board shows none."""

    def end_line(self, job: Job) -> None:
        """Take the end of the text."""

    def event(self, job: Job, raw: str) -> None:
        """Take an event."""

    def note(self, job: Job, message: str) -> None:
        """Say something about a job above the board."""
        if self._live is not None:
            self._live.console.print(Text(one_line(f"{job.ref}: {message}")))

    def ended(self, job: Job, text: str) -> None:
        """Show how a job ended, for good, above the board."""
        del text
        self._jobs[job.key] = job
        if self._live is not None:
            self._live.console.print(Text(one_line(f"{job.ref} {summary(job)}")))

    def _board(self) -> Table:
        height = self._live.console.height if self._live else 24
        table = Table.grid(padding=(0, 2))
        open_jobs = [job for job in self._jobs.values() if job.status.is_open]
        for job in open_jobs[: max(1, height - ROOM)]:
            waited = brief(self.clock() - self._since[job.key])
            name = one_line(job.name or "", limit=24)
            table.add_row(
                Text(one_line(job.ref, limit=48), no_wrap=True, overflow="ellipsis"),
                Text(name),
                Text(job.status.value),
                Text(waited),
            )
        tally = counts(self._jobs.values())
        line = "  ".join(f"{number} {status}" for status, number in tally.items())
        table.add_row(Text(line, style="bold", no_wrap=True))
        return table
