"""Following shown: as lines of text, JSON Lines, raw events; or one job, drawn.

One job on a terminal: its text as it comes, a status line below it. Nothing here runs
by itself: who follows jobs calls `tick` a few times a second. Times are arguments:
`moment` is of a monotonic clock, `now` Unix seconds.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.core.output import aside
from bgresp.core.selection import longest, queue_time, run_time, took
from bgresp.core.stats import JobCounts
from bgresp.core.text import printable
from bgresp.core.times import brief, rfc3339
from bgresp.render.columns import reason, record, summary, told_of
from bgresp.render.screen import Screen
from bgresp.render.streams import Streams, as_json
from bgresp.render.table import (
    BOLD,
    DIM,
    STATUS_STYLES,
    YELLOW,
    Painter,
    Piece,
    fitting,
    number,
    width_of,
)

HEARTBEAT: Final = 60.0  # seconds between two lines that say that jobs still run
WINDOW: Final = 5.0  # seconds that a rate is taken over
FAIR: Final = 2.0  # seconds of a run: many endpoints tell whole ones
SILENT: Final = 30.0  # seconds without an event that are worth a colour


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


@dataclass(slots=True)
class Rate:
    """Characters and tokens a second, over the last few seconds."""

    _seen: deque[tuple[float, int, int]] = field(default_factory=deque)

    def take(self, moment: float, progress: JobProgress) -> None:
        """Note how far the text has come."""
        self._seen.append((moment, progress.characters, progress.deltas))
        while len(self._seen) > 1 and moment - self._seen[0][0] > WINDOW:
            self._seen.popleft()

    @property
    def per_second(self) -> tuple[float, float] | None:
        """Return both; None before a second has passed, or while nothing comes."""
        if not self._seen:
            return None
        (then, characters, deltas), (now, more, most) = self._seen[0], self._seen[-1]
        if now - then < 1.0 or more == characters:
            return None
        return (more - characters) / (now - then), (most - deltas) / (now - then)


@dataclass(slots=True)
class StatusLine:
    """One job's status line; `doing` is what it is at, if it is not telling text."""

    painter: Painter
    rate: Rate = field(default_factory=Rate)
    doing: str = ""

    def line(
        self,
        job: Job,
        progress: JobProgress | None,
        *,
        moment: float,
        now: float,
        width: int,
    ) -> str:
        """Return the line, painted, with the fields that find room.

        How a job stands comes first, then its text, then how that is known.
        """
        fields = [self._status(job, moment, now)]
        if progress is not None:
            self.rate.take(moment, progress)
            fields += [*self._text(progress), *self._wire(progress, moment)]
        queued = queue_time(job)
        fields.append([(f"queued {brief(queued)}", DIM)] if queued else [])
        fields.append([(self.painter.safe(self.painter.label(job)), DIM)])
        return self.painter.line(fitting(fields, width), width)

    def _status(self, job: Job, moment: float, now: float) -> list[Piece]:
        start = job.submitted_at or job.created_at
        word = job.status.value
        pieces = [self.painter.mark(job.status, moment)]
        pieces += [(" ", ""), (word, STATUS_STYLES[job.status])]
        if start is not None:
            pieces += [(" ", ""), (brief(now - start), BOLD)]
        return pieces

    def _text(self, progress: JobProgress) -> list[list[Piece]]:
        fields: list[list[Piece]] = []
        if self.doing:
            fields.append([(self.painter.safe(self.doing), "")])
        if not progress.characters:
            return fields
        told = f"{number(progress.characters)} chars"
        rates = self.rate.per_second
        if rates is None:
            return [*fields, [(told, "")]]
        characters, tokens = rates
        return [
            *fields,
            [(f"{told} {number(characters)}/s", "")],
            [(f"~{number(tokens)} tok/s", "")],
        ]

    def _wire(self, progress: JobProgress, moment: float) -> list[list[Piece]]:
        fields: list[list[Piece]] = [[(progress.mode, DIM)]]
        if progress.retry_at is not None:
            left = max(0.0, progress.retry_at - moment)
            fields = [[(f"trying again in {brief(left)}", YELLOW)], *fields]
        if progress.last_event_at is not None:
            silence = max(0.0, moment - progress.last_event_at)
            told = "event" if progress.mode == "stream" else "asked"
            style = YELLOW if silence >= SILENT and told == "event" else DIM
            fields.append([(f"{told} {brief(silence)} ago", style)])
        if progress.reconnects:
            times = "reconnect" if progress.reconnects == 1 else "reconnects"
            fields.append([(f"{progress.reconnects} {times}", YELLOW)])
        return fields


def outcome(job: Job, painter: Painter) -> list[Piece]:
    """Return one line of how a job ended: status, why, time, tokens."""
    pieces = [painter.mark(job.status, 0.0), (" ", ""), _bold(job.status)]
    why = reason(job)
    if why:
        pieces.append((f" ({painter.safe(why)})", ""))
    seconds = took(job)
    if seconds is not None:
        pieces += [(" in ", ""), (brief(seconds), BOLD)]
    elif (bound := longest(job)) is not None:
        pieces += [(" within ", ""), (brief(bound), BOLD)]
    queued = queue_time(job)
    is_told = queued and (seconds is None or queued <= seconds)
    facts = [f"queued {brief(queued)}"] if queued and is_told else []
    facts += _tokens(job, seconds)
    return [*pieces, *((f"  {fact}", DIM) for fact in facts)]


def _bold(status: Status) -> Piece:
    return status.value, f"{BOLD};{STATUS_STYLES[status]}"


def _tokens(job: Job, seconds: float | None) -> list[str]:
    usage = job.usage
    if usage is None or usage.total_tokens is None:
        return []
    said = f"{number(usage.total_tokens)} tokens"
    ran = seconds if job.started_at is None else run_time(job)  # None: no rate of it
    if usage.output_tokens and ran and ran >= FAIR:
        return [said, f"{number(usage.output_tokens / ran)} tok/s"]
    return [said]


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
    _status_line: StatusLine = field(init=False)
    _job: Job | None = None
    _progress: JobProgress | None = None
    _is_refusing: bool = False

    def __post_init__(self) -> None:
        """Prepare a screen that shows nothing yet."""
        self._screen = Screen(self.streams)
        self._status_line = StatusLine(Painter.of_talk(self.streams))

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
        line = self._status_line.line(
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
        self._status_line.doing = ""
        if self.to_stdout and fresh:
            self._screen.text(fresh)

    def refusal(self, job: Job, fresh: str) -> None:
        """Write a refusal as it comes, above the status line."""
        self._status_line.doing = ""
        painter = self._status_line.painter
        if not self._is_refusing:
            self._screen.show("the model refused:")
        self._is_refusing = True
        self._screen.talk(fresh, lambda text: painter.painted(text, DIM))

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
            self._status_line.doing = found.name
        elif found.kind in self.shows:
            painter = self._status_line.painter
            edge = "│ " if painter.unicode else "| "
            for line in filter(str.strip, found.text.splitlines()):
                said = edge + painter.safe(line)
                self._screen.show(painter.line([(said, DIM)], 1000))

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self._screen.say(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """End the text, and say how it ended."""
        self.stop()
        again = (
            f"bgresp {'retry' if job.status is Status.FAILED else 'get'} {job.quoted}"
        )
        painter = self._status_line.painter
        said = outcome(job, painter)
        where = painter.safe(told_of(job) or self.where or again)
        beside = [*said, (f"  {where}", "")]
        width = self.streams.size()[0]
        if sum(width_of(text) for text, _ in beside) <= width:
            self._screen.show(painter.line(beside, width))
        else:
            self._screen.show(painter.line(said, 10_000))
            self._screen.show(where)
