"""Many jobs as figures: what they came to, how they stand, how long they still need.

GroupStats keeps three durations of eight bytes a job, so that medians are exact. A
change and a look at JobCounts cost what they show, however many jobs there are.
How long many jobs still need is told by how long those that ended took, in two views.
Where jobs are seen to wait, those that run end as others did, and the rest follow them
in as many places as were seen. Where an endpoint calls a job running that waits, its
jobs grow older than any that ended: then the pace of the ends tells.
"""

from array import array
from bisect import bisect_right, insort
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from math import ceil
from typing import Any, Final

from bgresp.core.errors import UsageError
from bgresp.core.model import Job, Status
from bgresp.core.selection import queue_time, run_time, took
from bgresp.core.text import did_you_mean

MOST: Final = 1000  # durations that are kept, the newest
PACED: Final = 2  # ends from which they have a pace
SPREAD: Final = 1.5  # how many times the shortest the longest is where they queued
LINGERS: Final = 0.1  # of its age a job needs that is older than all that ended
NONE: Final = "-"
SPANS: Final[Mapping[str, Callable[[Job], float | None]]] = {
    "queue": queue_time,
    "run": run_time,
    "took": took,
}
_OF_SPANS: Final = tuple(f"{n}_{what}" for n in SPANS for what in ("median", "p95"))
FIELDS: Final = (
    *("value", "jobs", "open", *Status, "tokens_in", "tokens_out", *_OF_SPANS),
    *("tokens_reasoning", "tokens_cached", "cost"),
)
DEFAULT: Final = (
    *("value", "jobs", "open", "completed", "failed", "tokens_in", "tokens_out"),
    *_OF_SPANS,
)


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """How open jobs stand: how many run and wait, and the ages of the running, seconds.

    `oldest` and `newest` are those of the jobs that run longest and shortest.
    """

    running: int = 0
    waiting: int = 0
    oldest: float = 0.0
    newest: float = 0.0


@dataclass(slots=True)
class Estimate:
    """What is known of the jobs that ended; `add` and `remaining` cost the same always.

    `durations` are seconds from a job's start, else its submit, to its end.
    """

    _ordered: list[float] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)
    _first: float = 0.0
    _last: float = 0.0
    _ends: int = 0
    _places: int = 0

    def know(self, seconds: float) -> None:
        """Take how long a job took that ended at any time."""
        insort(self._ordered, seconds)
        self._recent.append(seconds)
        if len(self._recent) > MOST:
            oldest = self._recent.popleft()
            del self._ordered[bisect_right(self._ordered, oldest) - 1]

    def ended(self, now: float) -> None:
        """Take that a job ended just now."""
        self._ends += 1
        self._last = now
        if self._ends == 1:
            self._first = now

    def remaining(self, now: float, jobs: OpenJobs) -> float | None:
        """Return the seconds until all are over; None while nothing is known."""
        self._places = max(self._places, jobs.running)
        if not self._ordered or not (jobs.running or jobs.waiting):
            return None
        usual = self._ordered[len(self._ordered) // 2]
        oldest = self._left(jobs.oldest) if jobs.running else 0.0
        newest = self._left(jobs.newest) if jobs.running else 0.0
        needed = max(oldest, newest)
        if jobs.waiting:
            # As many as there are places run at once; the last starts behind them all.
            each = (oldest + newest) / 2 * jobs.running + usual * jobs.waiting
            places = max(1, self._places)
            needed = max(needed, oldest + usual, each / places, self._behind(now, jobs))
        shortest, longest = self._ordered[0], self._ordered[-1]
        queued = jobs.oldest >= longest >= SPREAD * shortest
        if not (queued and jobs.running and self._ends >= PACED):
            return needed
        pace = (now - self._first) / (self._ends - 1)
        rest = pace * (jobs.running + jobs.waiting)
        return max(rest, shortest - jobs.newest, usual * bool(jobs.waiting))

    def _behind(self, now: float, jobs: OpenJobs) -> float:
        """Return the seconds until all are over if they end at the pace of before.

        A start that was noticed late makes a job seem short; when it ended is sure.
        """
        if self._ends < PACED:
            return 0.0
        pace = (self._last - self._first) / (self._ends - 1)
        return pace * (jobs.running + jobs.waiting) - (now - self._last)

    def _left(self, age: float) -> float:
        """Return what a job of this age needs, as those did that took longer."""
        first = bisect_right(self._ordered, age)
        longer = len(self._ordered) - first
        if not longer:
            return LINGERS * age + (self._ordered[-1] - self._ordered[0]) / 2
        return self._ordered[first + longer // 2] - age


def median(ordered: "array[float]") -> float | None:
    """Return the middle of sorted numbers, or the mean of both; None of none."""
    if not ordered:
        return None
    half = len(ordered) // 2
    return (
        ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    )


def percentile(ordered: "array[float]", share: float) -> float | None:
    """Return the smallest number that so many are at or below (nearest rank)."""
    return ordered[max(ceil(share * len(ordered)), 1) - 1] if ordered else None


@dataclass(slots=True)
class GroupStats:
    """The figures of some jobs; tokens are what endpoints told, durations seconds.

    `noticed` counts those whose end nobody told: it is in no duration.
    """

    value: str
    jobs: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_reasoning: int = 0
    tokens_cached: int = 0
    cost: float = 0.0
    noticed: int = 0
    spans: dict[str, "array[float]"] = field(
        default_factory=lambda: {name: array("d") for name in SPANS}
    )

    def add(self, job: Job) -> None:
        """Count a job."""
        self.jobs += 1
        self.statuses[job.status] += 1
        if job.usage is not None:
            self.tokens_in += job.usage.input_tokens or 0
            self.tokens_out += job.usage.output_tokens or 0
            self.tokens_reasoning += job.usage.reasoning_tokens or 0
            self.tokens_cached += job.usage.cached_tokens or 0
            self.cost += job.usage.cost or 0.0
        self.noticed += job.took_exact is False
        for name, span in SPANS.items():
            seconds = span(job)
            if seconds is not None:
                self.spans[name].append(seconds)

    def row(self) -> dict[str, Any]:
        """Return the figures by their names, FIELDS; None where nothing is known."""
        figures: dict[str, Any] = {
            "value": self.value,
            "jobs": self.jobs,
            "open": sum(n for status, n in self.statuses.items() if status.is_open),
            **{str(status): self.statuses[status] for status in Status},
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
        }
        for name, values in self.spans.items():
            ordered = array("d", sorted(values))
            figures[f"{name}_median"] = _rounded(median(ordered))
            figures[f"{name}_p95"] = _rounded(percentile(ordered, 0.95))
        for name in ("tokens_reasoning", "tokens_cached", "cost"):
            figures[name] = round(getattr(self, name), 9) or None
        return figures


def priced(job: Job, prices: Mapping[str, Mapping[str, float]]) -> Job:
    """Return a job whose usage has its cost, by the prices of its model.

    They are for a million tokens, "input", "output" and, of input that was cached,
    "cached". What the endpoint says wins; where a count is not known there is none.
    """
    usage = job.usage
    found = prices.get(job.wanted_model or "") or prices.get(job.model or "")
    if found is None or usage is None or usage.cost is not None:
        return job
    if usage.input_tokens is None or usage.output_tokens is None:
        return job
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    cost = (
        (usage.input_tokens - cached) * found["input"]
        + cached * found.get("cached", found["input"])
        + usage.output_tokens * found["output"]
    ) / MILLION
    return job._replace(usage=usage._replace(cost=cost))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


@dataclass(slots=True)
class Stats:
    """The figures of all jobs, and of each group of them."""

    total: GroupStats
    groups: list[GroupStats]


Grouping = Callable[[Job], Iterable[str]]
WAYS: Final = ("status", "day", "model", "label", "profile", "group")


def grouping(by: str, day: Callable[[float], str]) -> Grouping:
    """Return the groups of a job; `label` counts it under each of its labels.

    `label=K` is the value of one label; `day` writes Unix seconds as a date. Raises
    UsageError where there is no such way.
    """
    way, mark, name = by.partition("=")
    if way not in WAYS or (mark and way != "label"):
        said = "one of " + " ".join(WAYS) + ", or label=K"
        raise UsageError(f"no --by {by!r}", hint=did_you_mean(by, WAYS) + said)
    if mark:
        return lambda job: (job.labels.get(name, NONE),)
    if way == "label":
        return lambda job: [f"{k}={v}" for k, v in job.labels.items()] or [NONE]
    if way == "day":
        return lambda job: (_day(job, day),)
    name = "wanted_model" if way == "model" else way
    return lambda job: (str(getattr(job, name) or NONE),)


def _day(job: Job, day: Callable[[float], str]) -> str:
    moment = job.submitted_at if job.submitted_at is not None else job.created_at
    return NONE if moment is None else day(moment)


def stats_of(jobs: Iterable[Job], groups_of: Grouping, by: str) -> Stats:
    """Return the figures of jobs, each looked at once."""
    total, groups = GroupStats("all"), dict[str, GroupStats]()
    for job in jobs:
        total.add(job)
        for value in groups_of(job):
            if value not in groups:
                groups[value] = GroupStats(value)
            groups[value].add(job)
    return Stats(total, list(_in_order(groups.values(), by)))


def _in_order(groups: Iterable[GroupStats], by: str) -> Iterator[GroupStats]:
    """Yield days as they came, statuses as they follow, others by size."""
    if by == "day":
        yield from sorted(groups, key=lambda group: group.value)
    elif by == "status":
        order = [str(status) for status in Status]
        yield from sorted(groups, key=lambda group: order.index(group.value))
    else:
        yield from sorted(groups, key=lambda group: (-group.jobs, group.value))


MILLION: Final = 1_000_000  # tokens that a price is for
# What went otherwise than hoped, the worst first.
BAD: Final = (
    *(Status.LOST, Status.FAILED, Status.UNKNOWN, Status.REJECTED),
    *(Status.INCOMPLETE, Status.CANCELLED),
)
FIRST_LOOK: Final = 5.0  # seconds in which each job was asked about once
_WAITING: Final = (Status.QUEUED, Status.SUBMITTING)


def lasted(job: Job) -> float | None:
    """Return the seconds that a job ran, as exactly as it is known; None if not."""
    start = _start(job)
    if start is None or job.finished_at is None:
        return None
    return max(0.0, job.finished_at - start)


def _start(job: Job) -> float | None:
    return job.started_at or job.submitted_at or job.created_at


class JobCounts:
    """Jobs by status; in each in the order in which they got there."""

    __slots__ = (*("_at", "_estimate", "_keeps", "_keys", "_knows", "_past", "_start"),)

    def __init__(
        self,
        jobs: Iterable[Job],
        *,
        now: float = 0.0,
        durations: Iterable[float] = (),
        keeps: int | None = None,
    ) -> None:
        """Take the jobs as they are at `now`, by the wall clock.

        `durations` are the seconds that others like them took.

        Of those that ended the last `keeps` of a status are kept, the others counted.
        """
        self._estimate, self._start, self._knows = Estimate(), now, False
        self._keeps, self._past = keeps, Counter[Status]()
        self._at: dict[Status, OrderedDict[str, Job]] = {
            status: OrderedDict() for status in Status
        }
        self._keys: dict[str, Status] = {}
        own = []
        for job in jobs:
            self.take(job)
            if job.took_exact and (seconds := lasted(job)) is not None:
                own.append(seconds)
        for seconds in own or durations:
            self._knows = True
            self._estimate.know(seconds)

    def take(self, job: Job, now: float | None = None) -> None:
        """Put a job where it belongs now; what ends `now` tells of the others.

        `now` is the wall clock, which the jobs' times are of.
        """
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
        if now is not None and before is not None and before.is_open:
            self._hear_end(job, now)
        counts_on = self._keeps is not None and not job.status.is_open
        if counts_on and len(found) > (self._keeps or 0):
            self._past[job.status] += 1
            found.popitem(last=False)

    def _hear_end(self, job: Job, now: float) -> None:
        """Learn from an end, unless it was before we looked, as far as that is told."""
        if job.status.is_open or (job.noticed and now < self._start + FIRST_LOOK):
            return
        if job.noticed or (job.finished_at or now) >= self._start:
            self._estimate.ended(now)
        seconds = lasted(job)
        if seconds is not None and (job.took_exact or not self._knows):
            self._knows = True
            self._estimate.know(seconds)

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

        `now` is the wall clock. None while nothing can be said.
        """
        running = self._at[Status.IN_PROGRESS]
        waiting = sum(len(self._at[status]) for status in _WAITING) + coming
        ages = [0.0, 0.0]
        if running:
            ends = next(iter(running.values())), next(reversed(running.values()))
            ages = [max(0.0, now - (_start(job) or now)) for job in ends]
        return self._estimate.remaining(
            now, OpenJobs(len(running), waiting, oldest=max(ages), newest=min(ages))
        )

    def _bad(self) -> Iterator[Job]:
        for status in BAD:
            yield from reversed(self._at[status].values())
