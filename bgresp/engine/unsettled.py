"""Submissions without a known outcome: which there are, and the right to settle one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from bgresp.core.dialect import Dialect
from bgresp.core.errors import NoSuchJobError
from bgresp.core.model import Job, ResponseError, Status
from bgresp.engine.books import Books
from bgresp.ledger import locks

ABANDONED: Final = "abandoned"
# A list that does not show a job so long after its submit never will.
SHOWN_WITHIN: Final = 3600.0


def can_settle(dialect: Dialect) -> bool:
    """Say whether an endpoint can tell what became of a submission."""
    return "list" in dialect.ops or dialect.limits.idempotency == "replay"


def candidates(books: Books) -> list[Job]:
    """Return the submissions that may be settled: no live process works on them.

    One that was looked for in vain is left out; `resolve` looks again.
    """
    ledger = books.ledger
    return [
        job
        for job in ledger.unsettled()
        if ledger.is_dead(job)
        or (job.status is Status.UNKNOWN and not is_absent(job, job.checked_at))
    ]


@contextmanager
def holding(books: Books, job: Job, *, wait: float = 0.0) -> Iterator[Job]:
    """Hold a submission's lock, and yield its record as it stands now.

    Raises NotFinishedError while another process submits or settles it, NoSuchJobError
    when it was forgotten meanwhile.
    """
    books.ledger.prepare()
    folder = books.ledger.state / "inflight"
    path = locks.inflight_path(folder, key=job.key, submit_key=job.submit_key)
    with locks.inflight(path, wait=wait):
        now = books.ledger.by_key(job.key)
        if now is None:
            raise NoSuchJobError(f"{job.key} was forgotten meanwhile")
        yield now


def abandoned(books: Books, job: Job) -> Job:
    """Record that a person gave a submission up; the caller holds its lock."""
    error = ResponseError(ABANDONED, "given up by bgresp resolve --abandon")
    return books.ledger.record(replace(job, status=Status.REJECTED, error=error))


def is_absent(job: Job, looked_at: float | None) -> bool:
    """Say whether a look at that time, in vain, was late enough to be believed."""
    if looked_at is None or job.submitted_at is None:
        return False
    return looked_at - job.submitted_at > SHOWN_WITHIN
