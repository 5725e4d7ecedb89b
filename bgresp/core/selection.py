"""Which jobs are meant, and in which order: selectors, sorting, durations."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from bgresp.core.errors import UsageError
from bgresp.core.model import NOTHING, Job, Status
from bgresp.core.text import did_you_mean


class Selector(NamedTuple):
    """Which jobs are meant: every given condition must hold. Times are Unix seconds."""

    group: str | None = None
    labels: Mapping[str, str | None] = NOTHING
    statuses: frozenset[Status] = frozenset()
    since: float | None = None
    until: float | None = None
    model: str | None = None
    profile: str | None = None
    open: bool = False
    all: bool = False

    @property
    def given(self) -> bool:
        """Say whether anything was selected at all."""
        return self != Selector()

    def matches(self, job: Job) -> bool:
        """Say whether a job is meant."""
        if self.open and not job.status.is_open:
            return False
        if self.statuses and job.status not in self.statuses:
            return False
        if self.group is not None and self.group != job.group:
            return False
        if self.model not in {None, job.model, job.model_asked}:
            return False
        if self.profile is not None and self.profile != job.profile:
            return False
        return self._labelled(job) and self._timely(job)

    def _labelled(self, job: Job) -> bool:
        return all(
            name in job.labels and (value is None or job.labels[name] == value)
            for name, value in self.labels.items()
        )

    def _timely(self, job: Job) -> bool:
        moment = job.submitted_at or job.created_at or 0.0
        if self.since is not None and moment < self.since:
            return False
        return self.until is None or moment < self.until


def statuses(words: Iterable[str]) -> frozenset[Status]:
    """Read status words as `--status` takes them; `open` and `ended` are groups.

    Raises UsageError when a word is none.
    """
    found: set[Status] = set()
    for word in words:
        if word == "open":
            found |= {status for status in Status if status.is_open}
        elif word == "ended":
            found |= {status for status in Status if status.is_terminal}
        else:
            try:
                found.add(Status("cancelled" if word == "canceled" else word))
            except ValueError:
                raise UsageError(
                    f"no such status: {word!r}",
                    hint=did_you_mean(word, [*Status, "open", "ended"])
                    + "one of "
                    + " ".join(Status)
                    + ", open, ended",
                ) from None
    return frozenset(found)


def ordered(jobs: Iterable[Job], by: str, *, reverse: bool = False) -> list[Job]:
    """Sort jobs by a column; newest first by default; unknown values come last.

    Raises UsageError when there is no such column.
    """
    if by not in SORTS:
        meant = did_you_mean(by, SORTS)
        raise UsageError(f"cannot sort by {by!r}", hint=meant + "one of " + _names())
    key, descending = SORTS[by]
    rows = sorted(jobs, key=lambda job: job.key, reverse=True)
    known = [job for job in rows if key(job) is not None]
    unknown = [job for job in rows if key(job) is None]
    known.sort(key=key, reverse=descending)
    return known[::-1] + unknown[::-1] if reverse else known + unknown


def first(
    jobs: Iterable[Job], by: str, *, limit: int | None, reverse: bool = False
) -> list[Job]:
    """Return the first `limit` of `ordered`, holding few more than that in memory.

    Raises UsageError when there is no such column.
    """
    if limit is None:
        return ordered(jobs, by, reverse=reverse)
    best = ordered([], by)
    coming = iter(jobs)
    while batch := list(islice(coming, max(limit, BATCH))):
        best = ordered([*best, *batch], by, reverse=reverse)[:limit]
    return best


def _names() -> str:
    return " ".join(SORTS)


def _tokens(job: Job) -> int | None:
    return job.usage.total_tokens if job.usage else None


def took(job: Job) -> float | None:
    """Return the seconds from submit to the end; None where it was not told.

    Never negative.
    """
    return longest(job) if job.took_exact else None


def longest(job: Job) -> float | None:
    """Return the seconds from submit until the end was noticed; None while unknown."""
    return _span(job.submitted_at, job.finished_at)


def queue_time(job: Job) -> float | None:
    """Return the seconds from submit until it was seen running; None while unknown."""
    return _span(job.submitted_at, job.started_at)


def run_time(job: Job) -> float | None:
    """Return the seconds from when it was seen running to its end; None if unknown."""
    return _span(job.started_at, job.finished_at) if job.took_exact else None


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


BATCH: Final = 4096
# Column: how to read it, and whether the largest comes first.
SORTS: Final[dict[str, tuple[Callable[[Job], Any], bool]]] = {
    "age": (lambda job: job.key, True),
    "name": (lambda job: job.name, False),
    "status": (lambda job: job.status.value, False),
    "model": (lambda job: job.wanted_model, False),
    "took": (took, True),
    "queue": (queue_time, True),
    "run": (run_time, True),
    "tokens": (_tokens, True),
    "expires": (lambda job: job.expires_at, False),
    "finished": (lambda job: job.finished_at, True),
    "group": (lambda job: job.group, False),
    "profile": (lambda job: job.profile, False),
}
