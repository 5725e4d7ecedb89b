"""Where a batch's news goes: ids to stdout, answers to files, trouble to stderr."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from bgresp.batch.files import Folder, Results
from bgresp.batch.rows import RowCounts, RowDecision, Rows
from bgresp.cli.context import Context
from bgresp.cli.following import durations, moving
from bgresp.core.errors import BgrespError
from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.engine.submit import GRACE, NOT_SENT
from bgresp.render import columns
from bgresp.render.live import Quiet
from bgresp.render.streams import as_json


class LiveLines(Observer, Protocol):
    """What is drawn below the ids."""

    def line(self, text: str) -> None:
        """Write a line to stdout, above what is drawn."""


@dataclass(slots=True)
class BatchOutput:
    """The output of one invocation."""

    context: Context
    results: Results | None = None
    folder: Folder | None = None
    rows: Rows | None = None
    is_leaving: bool = False
    live: LiveLines | None = None
    _observer: Observer | None = None
    _printed: int = 0
    _group: str | None = None

    def audience(
        self,
        counts: Mapping[RowDecision, int],
        *,
        limit: int | None,
        waits: bool,
        model: str | None = None,
    ) -> Observer:
        """Choose what a person sees, by the terminal; return who is told of the jobs.

        `counts` are empty where the rows come one by one.
        """
        context = self.context
        streams, common = context.streams, context.common
        planned = _planned(counts, limit)
        self._observer = Quiet(streams)
        if not streams.animated or common.quiet or context.is_json:
            return self._observer
        if waits:
            from bgresp.render.board import LiveMany

            self._observer = self.live = LiveMany(
                streams, planned, durations(context, model=model)
            )
            return self._observer
        from bgresp.render.board import LiveSent

        self.live = LiveSent(streams, self._counts, planned)
        return self._observer

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Draw the live view, where there is one, while rows are sent."""
        if self.live is not None:
            self.live.start()
        try:
            async with moving(self.live):
                yield
        except asyncio.CancelledError:
            self.is_leaving = True
            raise
        finally:
            if self.live is not None:
                self.live.stop()

    def _counts(self) -> RowCounts:
        return self.rows.counts if self.rows is not None else RowCounts()

    def accepted(self, job: Job) -> None:
        """Print the id of a row, or its record."""
        common = self.context.common
        if common.json:
            self.context.streams.raw(b",\n" if self._printed else b"[")
            self.context.streams.raw(self._record(job))
        elif common.jsonl:
            self.context.streams.raw(self._record(job) + b"\n")
        elif self.live is not None:
            self.live.line(job.ref)
        else:
            self.context.streams.line(job.ref)
        self._printed += 1

    def failed(self, job: Job, error: BgrespError) -> None:
        """Say why a row has no job."""
        error.message = f"row {job.row!r}: {error.message}"
        self.context.tell_error(error)
        sent = job.error is None or job.error.code != NOT_SENT
        if job.key and self._observer is not None and not job.status.is_open:
            self._observer.changed(job, JobProgress("poll"))
        told = job.status in {Status.REJECTED, Status.UNKNOWN} and sent
        if self.results is not None and told:
            self.results.add(job, None)

    def ended(self, job: Job) -> None:
        """Write the answer of a row where it is wanted."""
        self.context.ended(job)
        self._group = job.group
        if self._observer is not None:
            self._observer.ended(job, "")
        text = None
        if self.results is not None or self.folder is not None:
            dialect = self.context.dialect_of(job)
            text = self.context.answers.text(job.key, dialect)
        if self.results is not None:
            self.results.add(job, text)
        if self.folder is not None and text:
            self.folder.add(job, text)
        if self._observer is not None and (told := columns.told_of(job)):
            self._observer.note(job, told)

    def leaving(self, posting: int) -> None:
        """Say what is waited for; then be silent."""
        self.is_leaving = True
        self.context.say(
            f"stopping; waiting up to {GRACE:.0f} s for the ids of {posting} requests "
            "that are on their way; again to leave at once"
        )

    def close(self, name: str, again: str) -> None:
        """End the output, and say what came of it."""
        if self.context.common.json:
            self.context.streams.raw(b"]\n" if self._printed else b"[]\n")
        if self.rows is None or self.context.common.quiet:
            return
        counts = self.rows.counts
        parts = [f"{counts.accepted} submitted"]
        if counts.kept:
            parts.append(f"{counts.kept} submitted before")
        if counts.refused:
            parts.append(f"{counts.refused} refused")
        if counts.unsent:
            parts.append(f"{counts.unsent} not submitted")
        if failed := counts.failures - counts.refused - counts.unsent:
            parts.append(f"{failed} failed")
        next_: list[str] = []
        if self.rows.pool.stopping and not self.is_leaving:
            next_ = [again]
        elif failed and self._group:
            next_ = [f"bgresp retry --failed --group {shlex.quote(self._group)}"]
        self.context.say("; ".join([f"{name}: {', '.join(parts)}", *next_]))

    def _record(self, job: Job) -> bytes:
        wanted = self.context.common.wanted_fields()
        return as_json(columns.record(job, wanted)).encode("ascii")


def _planned(counts: Mapping[RowDecision, int], limit: int | None) -> int:
    """Return how many rows are sent, followed or told of."""
    sent = counts.get(RowDecision.SEND, 0)
    return sum(counts.values()) - max(0, sent - (limit or sent))
