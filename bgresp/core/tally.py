"""Many jobs as figures: counts, tokens and durations, a job at a time.

What is held of a job are three durations of eight bytes, in its group and in the total,
so that medians are exact.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from bgresp.core.board import queue_time, run_time, took
from bgresp.core.errors import UsageError
from bgresp.core.model import Job, Status
from bgresp.core.text import did_you_mean

NONE: Final = "-"
SPANS: Final[Mapping[str, Callable[[Job], float | None]]] = {
    "queue": queue_time,
    "run": run_time,
    "took": took,
}
_OF_SPANS: Final = tuple(f"{n}_{what}" for n in SPANS for what in ("median", "p95"))
FIELDS: Final = (
    *("value", "jobs", "open", *Status, "tokens_in", "tokens_out", *_OF_SPANS),
)
DEFAULT: Final = (
    *("value", "jobs", "open", "completed", "failed", "tokens_in", "tokens_out"),
    *_OF_SPANS,
)


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
class Tally:
    """The figures of some jobs; tokens are what endpoints told, durations seconds."""

    value: str
    jobs: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_out: int = 0
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
        return figures


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


@dataclass(slots=True)
class Stats:
    """The figures of all jobs, and of each group of them."""

    total: Tally
    groups: list[Tally]


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
    return lambda job: (str(getattr(job, way) or NONE),)


def _day(job: Job, day: Callable[[float], str]) -> str:
    moment = job.submitted_at if job.submitted_at is not None else job.created_at
    return NONE if moment is None else day(moment)


def tallied(jobs: Iterable[Job], groups_of: Grouping, by: str) -> Stats:
    """Return the figures of jobs, each looked at once."""
    total, groups = Tally("all"), dict[str, Tally]()
    for job in jobs:
        total.add(job)
        for value in groups_of(job):
            if value not in groups:
                groups[value] = Tally(value)
            groups[value].add(job)
    return Stats(total, list(_in_order(groups.values(), by)))


def _in_order(groups: Iterable[Tally], by: str) -> Iterator[Tally]:
    """Yield days as they came, statuses as they follow, others by size."""
    if by == "day":
        yield from sorted(groups, key=lambda group: group.value)
    elif by == "status":
        order = [str(status) for status in Status]
        yield from sorted(groups, key=lambda group: order.index(group.value))
    else:
        yield from sorted(groups, key=lambda group: (-group.jobs, group.value))
