"""Observers that draw nothing: none at all, JSON Lines, raw events."""

import time
from dataclasses import dataclass, field
from typing import Any

from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.core.text import one_line
from bgresp.core.times import brief, rfc3339
from bgresp.render.columns import record
from bgresp.render.streams import Streams, as_json


def reason(job: Job) -> str:
    """Return why a job ended other than completed, in the endpoint's words: a line."""
    if job.incomplete_reason:
        return one_line(job.incomplete_reason)
    if job.error is not None:
        return one_line(f"{job.error.code}: {job.error.message}")
    return (job.last_error or "") if job.status is Status.LOST else ""


def summary(job: Job) -> str:
    """Return a job's status in a few words: why, how long, how many tokens."""
    why = reason(job)
    parts = [job.status.value, f"({why})"] if why else [job.status.value]
    if job.submitted_at is not None and job.finished_at is not None:
        parts.append(f"in {brief(job.finished_at - job.submitted_at)}")
    if job.usage is not None and job.usage.total_tokens is not None:
        parts.append(f"{job.usage.total_tokens} tokens")
    return " ".join(parts)


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

    def event(self, job: Job, raw: str) -> None:
        """Write the event's data; line ends in it can only be white space of JSON."""
        line = raw.replace("\r", " ").replace("\n", " ")
        self.streams.raw(line.encode("utf-8", "backslashreplace") + b"\n")

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self.streams.note(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Say how it ended."""
        self.streams.say(f"{stamp(time.time())} {job.ref} {summary(job)}")
