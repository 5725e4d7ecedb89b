"""One job as a line: what it does, for how long, how fast, and how it is known.

Takes its times as arguments: `moment` is of a monotonic clock, `now` Unix seconds.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress
from bgresp.core.selection import queue_time, run_time, took
from bgresp.core.times import brief
from bgresp.render.lines import reason
from bgresp.render.paint import (
    BOLD,
    DIM,
    STYLES,
    WARNING,
    Brush,
    Piece,
    fitting,
    number,
)

WINDOW: Final = 5.0  # seconds that a rate is taken over
FAIR: Final = 2.0  # seconds of a run: many endpoints tell whole ones
SILENT: Final = 30.0  # seconds without an event that are worth a colour


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
class Gauge:
    """One job's status line; `doing` is what it is at, if it is not telling text."""

    brush: Brush
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
        fields.append([(self.brush.safe(self.brush.label(job)), DIM)])
        return self.brush.line(fitting(fields, width), width)

    def _status(self, job: Job, moment: float, now: float) -> list[Piece]:
        start = job.submitted_at or job.created_at
        word = job.status.value
        if job.is_cancelling:
            word = "cancelling"
        pieces = [self.brush.mark(job.status, moment)]
        pieces += [(" ", ""), (word, STYLES[job.status])]
        if start is not None:
            pieces += [(" ", ""), (brief(now - start), BOLD)]
        return pieces

    def _text(self, progress: JobProgress) -> list[list[Piece]]:
        fields: list[list[Piece]] = []
        if self.doing:
            fields.append([(self.brush.safe(self.doing), "")])
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
            fields = [[(f"trying again in {brief(left)}", WARNING)], *fields]
        if progress.last_event_at is not None:
            silence = max(0.0, moment - progress.last_event_at)
            told = "event" if progress.mode == "stream" else "asked"
            style = WARNING if silence >= SILENT and told == "event" else DIM
            fields.append([(f"{told} {brief(silence)} ago", style)])
        if progress.reconnects:
            times = "reconnect" if progress.reconnects == 1 else "reconnects"
            fields.append([(f"{progress.reconnects} {times}", WARNING)])
        return fields


def outcome(job: Job, brush: Brush) -> list[Piece]:
    """Return one line of how a job ended: status, why, time, tokens."""
    pieces = [brush.mark(job.status, 0.0), (" ", ""), _bold(job.status)]
    why = reason(job)
    if why:
        pieces.append((f" ({brush.safe(why)})", ""))
    seconds = took(job)
    if seconds is not None:
        pieces += [(" in ", ""), (brief(seconds), BOLD)]
    queued = queue_time(job)
    is_told = queued and (seconds is None or queued <= seconds)
    facts = [f"queued {brief(queued)}"] if queued and is_told else []
    facts += _tokens(job, seconds)
    return [*pieces, *((f"  {fact}", DIM) for fact in facts)]


def _bold(status: Status) -> Piece:
    return status.value, f"{BOLD};{STYLES[status]}"


def _tokens(job: Job, seconds: float | None) -> list[str]:
    usage = job.usage
    if usage is None or usage.total_tokens is None:
        return []
    said = f"{number(usage.total_tokens)} tokens"
    ran = seconds if job.started_at is None else run_time(job)
    if usage.output_tokens and ran and ran >= FAIR:
        return [said, f"{number(usage.output_tokens / ran)} tok/s"]
    return [said]
