"""Plain audiences: text to stdout, a line a change to stderr; JSON Lines; raw events.

May import core and the other modules of this package. They fulfil the engine's
Audience without knowing it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bgresp.core.model import Job
from bgresp.core.times import brief
from bgresp.render.columns import record
from bgresp.render.streams import Streams, as_json


class View(Protocol):
    """What the engine says of how following stands."""

    @property
    def mode(self) -> str:
        """Return `stream` or `poll`."""


def summary(job: Job) -> str:
    """Return a job's status in a few words: why, how long, how many tokens."""
    parts = [job.status.value]
    if job.incomplete_reason:
        parts.append(f"({job.incomplete_reason})")
    if job.error is not None:
        parts.append(f"({job.error.code}: {job.error.message})")
    elif job.status.value == "lost" and job.last_error:
        parts.append(f"({job.last_error})")
    if job.submitted_at is not None and job.finished_at is not None:
        parts.append(f"in {brief(job.finished_at - job.submitted_at)}")
    if job.usage is not None and job.usage.total_tokens is not None:
        parts.append(f"{job.usage.total_tokens} tokens")
    return " ".join(parts)


def stamp() -> str:
    """Return the local time of day for a log line."""
    return datetime.now().astimezone().strftime("%H:%M:%S")


@dataclass(slots=True)
class Quiet:
    """Tells nothing but notes; the base of `wait`."""

    streams: Streams

    def changed(self, job: Job, view: View) -> None:
        """Take news of a job's status."""

    def moved(self, job: Job, view: View) -> None:
        """Take a sign of life."""

    def text(self, job: Job, fresh: str) -> None:
        """Take text."""

    def end_line(self, job: Job) -> None:
        """Take the end of the text."""

    def event(self, job: Job, raw: str) -> None:
        """Take an event."""

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self.streams.say(f"bgresp: {job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Take the last word."""


@dataclass(slots=True)
class Plain:
    """One job's text to stdout; one line a change to stderr."""

    streams: Streams
    to_stdout: bool = True
    _wrote: bool = False
    _last: str = ""

    def changed(self, job: Job, view: View) -> None:
        """Say a job's new status."""
        how = f" [{view.mode}]" if job.status.is_open else ""
        self._line(job, f"{summary(job)}{how}")

    def moved(self, job: Job, view: View) -> None:
        """Take a sign of life: nothing to say."""

    def text(self, job: Job, fresh: str) -> None:
        """Write text."""
        if self.to_stdout and fresh:
            self.streams.answer(fresh)
            self._wrote, self._last = True, fresh[-1:]

    def end_line(self, job: Job) -> None:
        """End the text with a newline."""
        if self.to_stdout:
            self.streams.answer("\n")

    def event(self, job: Job, raw: str) -> None:
        """Take an event: its text comes separately."""

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self._line(job, message)

    def ended(self, job: Job, text: str) -> None:
        """Say how it ended."""
        self._line(job, summary(job))

    def _line(self, job: Job, message: str) -> None:
        self.streams.say(f"{stamp()} {job.ref} {message}")


@dataclass(slots=True)
class JsonLines:
    """`watch --jsonl`: state, delta and final lines on stdout."""

    streams: Streams
    fields: tuple[str, ...] = ()
    _state: tuple[str, str] = field(default=("", ""))

    def changed(self, job: Job, view: View) -> None:
        """Write a job's new status."""
        del view
        self._write({"type": "state", "id": job.id, "status": job.status.value})

    def moved(self, job: Job, view: View) -> None:
        """Take a sign of life: nothing to write."""

    def text(self, job: Job, fresh: str) -> None:
        """Write text as a delta."""
        if fresh:
            self._write({"type": "delta", "id": job.id, "delta": fresh})

    def end_line(self, job: Job) -> None:
        """Take the end of the text."""

    def event(self, job: Job, raw: str) -> None:
        """Take an event: its text comes separately."""

    def note(self, job: Job, message: str) -> None:
        """Say something about a job, on stderr."""
        self.streams.say(f"bgresp: {job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Write the final record with its text."""
        self._write({"type": "final", **record(job, self.fields, text=text)})

    def _write(self, value: dict[str, Any]) -> None:
        self.streams.raw(as_json(value).encode("ascii") + b"\n")


@dataclass(slots=True)
class Events:
    """`watch --events`: the endpoint's events, untouched, one a line."""

    streams: Streams

    def changed(self, job: Job, view: View) -> None:
        """Take news: the event says it."""

    def moved(self, job: Job, view: View) -> None:
        """Take a sign of life."""

    def text(self, job: Job, fresh: str) -> None:
        """Take text: the event says it."""

    def end_line(self, job: Job) -> None:
        """Take the end of the text."""

    def event(self, job: Job, raw: str) -> None:
        """Write the event's data; line ends in it can only be white space of JSON."""
        line = raw.replace("\r", " ").replace("\n", " ")
        self.streams.raw(line.encode("utf-8", "backslashreplace") + b"\n")

    def note(self, job: Job, message: str) -> None:
        """Say something about a job."""
        self.streams.say(f"bgresp: {job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Say how it ended."""
        self.streams.say(f"{stamp()} {job.ref} {summary(job)}")
