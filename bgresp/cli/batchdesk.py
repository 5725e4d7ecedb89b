"""Where a batch's news goes: ids to stdout, answers to files, trouble to stderr."""

from dataclasses import dataclass

from bgresp.batch.results import Folder, Results
from bgresp.batch.rows import Rows
from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.core.errors import BgrespError
from bgresp.core.model import Job, Status
from bgresp.engine.outcome import NOT_SENT
from bgresp.engine.submit import GRACE
from bgresp.render import columns
from bgresp.render.streams import as_json


@dataclass(slots=True)
class BatchDesk:
    """The desk of one invocation."""

    context: Context
    results: Results | None = None
    folder: Folder | None = None
    rows: Rows | None = None
    is_leaving: bool = False
    _printed: int = 0

    def accepted(self, job: Job) -> None:
        """Print the id of a row, or its record."""
        common = self.context.common
        if common.json:
            self.context.streams.raw(b",\n" if self._printed else b"[")
            self.context.streams.raw(self._record(job))
        elif common.jsonl:
            self.context.streams.raw(self._record(job) + b"\n")
        else:
            self.context.streams.line(job.ref)
        self._printed += 1

    def failed(self, job: Job, error: BgrespError) -> None:
        """Say why a row has no job."""
        error.message = f"row {job.row!r}: {error.message}"
        errors.show(self.context.streams, error, as_json=self.context.is_json)
        sent = job.error is None or job.error.code != NOT_SENT
        told = job.status in {Status.REJECTED, Status.UNKNOWN} and sent
        if self.results is not None and told:
            self.results.add(job, None)

    def ended(self, job: Job) -> None:
        """Write the answer of a row where it is wanted."""
        self.context.ended(job)
        text = None
        if self.results is not None or self.folder is not None:
            dialect = self.context.dialect_of(job)
            text = self.context.books.text(job.key, dialect)
        if self.results is not None:
            self.results.add(job, text)
        if self.folder is not None and text:
            self.folder.add(job, text)

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
        tally = self.rows.tally
        parts = [f"{tally.accepted} submitted"]
        if tally.kept:
            parts.append(f"{tally.kept} had their job")
        if tally.failures:
            parts.append(f"{tally.failures} failed")
        stopped = self.rows.crew.stopping and not self.is_leaving
        self.context.say(
            f"{name}: {', '.join(parts)}" + (f"; {again}" if stopped else "")
        )

    def _record(self, job: Job) -> bytes:
        wanted = self.context.common.wanted_fields()
        return as_json(columns.record(job, wanted)).encode("ascii")
