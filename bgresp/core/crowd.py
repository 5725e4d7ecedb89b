"""Many jobs that change: counts, a window of them, and how long the rest may take.

A change and a look cost what they show, however many there are.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final

from bgresp.core.model import Job, Status

# What went otherwise than hoped, the worst first.
BAD: Final = (
    *(Status.LOST, Status.FAILED, Status.UNKNOWN, Status.REJECTED),
    *(Status.INCOMPLETE, Status.CANCELLED),
)
_WAITING: Final = (Status.QUEUED, Status.SUBMITTING)


class Crowd:
    """Jobs by status; in each in the order in which they got there."""

    __slots__ = ("_at", "_ended_before", "_keeps", "_keys", "_past", "_start")

    def __init__(
        self, jobs: Iterable[Job], *, now: float, keeps: int | None = None
    ) -> None:
        """Take the jobs as they are; `now` is the clock that the estimate goes by.

        Of those that ended the last `keeps` of a status are kept, the others counted.
        """
        self._keeps, self._past = keeps, Counter[Status]()
        self._at: dict[Status, OrderedDict[str, Job]] = {
            status: OrderedDict() for status in Status
        }
        self._keys: dict[str, Status] = {}
        self._start = now
        for job in jobs:
            self.take(job)
        self._ended_before = self.ended

    def take(self, job: Job) -> None:
        """Put a job where it belongs now."""
        before = self._keys.get(job.key)
        is_counted = before is not None and job.key not in self._at[before]
        if is_counted and before is job.status:
            return
        if is_counted and before is not None:
            self._past[before] -= 1
        elif before is not None and before is not job.status:
            del self._at[before][job.key]
        self._keys[job.key] = job.status
        found = self._at[job.status]
        found[job.key] = job
        counts_on = self._keeps is not None and not job.status.is_open
        if counts_on and len(found) > (self._keeps or 0):
            self._past[job.status] += 1
            found.popitem(last=False)

    @property
    def total(self) -> int:
        """Return how many jobs there are."""
        return len(self._keys)

    @property
    def open(self) -> int:
        """Return how many may still change."""
        return sum(len(self._at[status]) for status in Status if status.is_open)

    @property
    def ended(self) -> int:
        """Return how many are over, for better or worse."""
        return self.total - self.open

    @property
    def bad(self) -> int:
        """Return how many went otherwise than hoped."""
        return sum(len(self._at[status]) + self._past[status] for status in BAD)

    def counts(self) -> dict[Status, int]:
        """Count the jobs by status, in the order of Status, leaving out zeros."""
        found = {s: len(jobs) + self._past[s] for s, jobs in self._at.items()}
        return {status: count for status, count in found.items() if count}

    def window(self, rows: int) -> list[Job]:
        """Return up to `rows` jobs: who runs, who failed, who waits, who is done.

        Who runs stands in the order of starting; of the others the newest come first,
        but for those that wait. A third of the rows is kept for failures.
        """
        running = self._at[Status.IN_PROGRESS]
        for_bad = min(self.bad, max(rows // 3, rows - len(running)))
        first = islice(running.values(), max(0, rows - for_bad))
        waiting = (job for status in _WAITING for job in self._at[status].values())
        done = reversed(self._at[Status.COMPLETED].values())
        found = chain(first, islice(self._bad(), for_bad), waiting, done)
        return list(islice(found, max(0, rows)))

    def remaining(self, now: float, *, coming: int = 0) -> float | None:
        """Estimate the seconds until all, and so many to come, are over.

        None while nothing can be said.
        """
        ended = self.ended - self._ended_before
        if not ended or now <= self._start:
            return None
        return (self.open + coming) * (now - self._start) / ended

    def _bad(self) -> Iterator[Job]:
        for status in BAD:
            yield from reversed(self._at[status].values())
