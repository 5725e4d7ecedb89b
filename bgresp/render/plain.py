"""Following without drawing: lines of text, JSON Lines, raw events, or notes alone."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from bgresp.core.model import Job
from bgresp.core.observer import JobProgress, Observer
from bgresp.core.output import aside
from bgresp.core.stats import JobCounts
from bgresp.core.text import printable
from bgresp.core.times import brief, rfc3339
from bgresp.render.columns import record, summary
from bgresp.render.streams import Streams, as_json

HEARTBEAT: Final = 60.0


def stamp(now: float) -> str:
    """Return a time for a log line: RFC 3339 in UTC, to the second."""
    return f"{(rfc3339(now) or '')[:19]}Z"


@dataclass(slots=True)
class Quiet(Observer):
    """Tells nothing but notes; the base of `wait`."""

    streams: Streams

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self.streams.note(f"{job.ref}: {message}")


@dataclass(slots=True)
class JsonLines(Observer):
    """`watch --jsonl`: state, delta and final lines on stdout."""

    streams: Streams
    fields: tuple[str, ...] = ()
    _state: tuple[str, str] = field(default=("", ""))

    def changed(self, job: Job, progress: JobProgress) -> None:
        """Write a job's new status."""
        self._write({"type": "state", "id": job.id, "status": job.status.value})

    def text(self, job: Job, fresh: str) -> None:
        """Write text as a delta."""
        if fresh:
            self._write({"type": "delta", "id": job.id, "delta": fresh})

    def note(self, job: Job, message: str) -> None:
        """Say something about a job, on stderr."""
        self.streams.note(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Write the final record with its text."""
        self._write({"type": "final", **record(job, self.fields, text=text)})

    def _write(self, value: dict[str, Any]) -> None:
        self.streams.raw(as_json(value).encode("ascii") + b"\n")


@dataclass(slots=True)
class Events(Observer):
    """`watch --events`: the endpoint's events, untouched, one a line."""

    streams: Streams
    now: Callable[[], float] = time.time

    def event(self, job: Job, raw: str) -> None:
        """Write the event's data; line ends in it can only be white space of JSON."""
        line = raw.replace("\r", " ").replace("\n", " ")
        self.streams.raw(line.encode("utf-8", "backslashreplace") + b"\n")

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self.streams.note(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Say how it ended."""
        self.streams.say(f"{stamp(self.now())} {job.ref} {summary(job)}")


@dataclass(slots=True)
class Plain(Observer):
    """A line a change, dated; after a minute without one a sign of life.

    `shows` names the asides that are told: reasoning, tools.
    """

    streams: Streams
    to_stdout: bool = True
    shows: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    period: ClassVar[float | None] = 1.0
    _counted: JobCounts | None = None
    _at: tuple[Job, JobProgress] | None = None
    _told_at: float = 0.0
    _mid_line: bool = False
    _refusing: str | None = None  # the job whose refusal has not ended its line

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Take the jobs that are followed."""
        self._told_at = self.clock()
        self._counted = JobCounts(jobs, now=self.now())

    def tick(self) -> None:
        """Say that the jobs still run, when nothing was said for long."""
        if self._counted is None or not self._counted.open:
            return
        if self.clock() - self._told_at < HEARTBEAT:
            return
        if self._counted.total == 1 and self._at is not None:
            self._line(self._at[0], _standing(*self._at, self.clock()))
        else:
            self._say(standing(self._counted, self.now()))

    def changed(self, job: Job, progress: JobProgress) -> None:
        """Say a job's new status."""
        self._take(job, progress)
        how = f" [{progress.mode}]" if job.status.is_open else ""
        self._line(job, f"{summary(job)}{how}")

    def moved(self, job: Job, progress: JobProgress) -> None:
        """Take a sign of life."""
        self._take(job, progress)

    def text(self, job: Job, fresh: str) -> None:
        """Write text."""
        if self.to_stdout and fresh:
            if self.streams.together:
                self._end_refusal()
            self.streams.answer(fresh)
            self._mid_line = not fresh.endswith("\n")

    def refusal(self, job: Job, fresh: str) -> None:
        """Write a refusal on one line, as it comes."""
        if self._refusing != job.key:
            self._say(f"{job.ref} the model refused: ", end="")
            self._refusing = job.key
        self.streams.control(printable(fresh).replace("\n", " "))

    def stop(self) -> None:
        """End the line of a refusal."""
        self._end_refusal()

    def end_line(self, job: Job) -> None:
        """End the text with a newline."""
        if self.to_stdout:
            self.streams.answer("\n")
            self._mid_line = False

    def event(self, job: Job, raw: str) -> None:
        """Tell what stands beside the text, where that was asked for."""
        found = aside(raw)
        if found is None or not found.text:
            return
        if found.kind in self.shows:
            self._line(job, f"{found.kind}: {' '.join(found.text.split())}")

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self._line(job, message)

    def ended(self, job: Job, text: str) -> None:
        """Say how it ended."""
        if self._counted is not None:
            self._counted.take(job, self.now())
        self._line(job, summary(job))

    def _take(self, job: Job, progress: JobProgress) -> None:
        self._at = job, progress
        if self._counted is not None:
            self._counted.take(job, self.now())

    def _line(self, job: Job, message: str) -> None:
        self._say(f"{job.ref} {message}")

    def _end_refusal(self) -> None:
        if self._refusing is not None:
            self._refusing = None
            self.streams.control("\n")

    def _say(self, message: str, end: str = "\n") -> None:
        self._told_at = self.clock()
        self._end_refusal()
        if self._mid_line and self.streams.together:
            self.streams.control("\n")
            self._mid_line = False
        self.streams.control(printable(f"{stamp(self.now())} {message}") + end)


def standing(counted: JobCounts, now: float) -> str:
    """Return in one line how many jobs stand: `3 of 9 ended: 6 queued, ...`."""
    counts = ", ".join(
        f"{count} {status}" for status, count in counted.counts().items()
    )
    left = counted.remaining(now)
    rest = f"; about {brief(left)} left" if left else ""
    return f"{counted.ended} of {counted.total} ended: {counts}{rest}"


def _standing(job: Job, progress: JobProgress, moment: float) -> str:
    parts = [f"{job.status.value} [{progress.mode}]"]
    if progress.characters:
        parts.append(f"{progress.characters} characters")
    if progress.last_event_at is not None:
        parts.append(f"last heard {brief(moment - progress.last_event_at)} ago")
    return ", ".join(parts)
