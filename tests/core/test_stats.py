"""Figures of many jobs: each job once, medians exact, memory bounded."""

import statistics
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import UsageError
from bgresp.core.model import Job, Status, Usage
from bgresp.core.selection import queue_time, run_time
from bgresp.core.stats import (
    FIELDS,
    WAYS,
    grouping,
    median,
    percentile,
    priced,
    stats_of,
)
from tests.anyjob import JOBS


def day(moment: float) -> str:
    return str(int(moment // 86400))


@given(st.lists(JOBS, max_size=20), st.sampled_from(WAYS))
def test_every_job_counts_once(jobs: list[Job], by: str) -> None:
    """The total is of all jobs; so is the sum of the groups, but for labels."""
    found = stats_of(iter(jobs), grouping(by, day), by)
    assert len(jobs) == found.total.jobs == sum(found.total.statuses.values())
    counted = sum(group.jobs for group in found.groups)
    assert counted >= len(jobs)
    assert counted == len(jobs) or by == "label"
    tokens = sum(job.usage.output_tokens or 0 for job in jobs if job.usage)
    assert tokens == found.total.row()["tokens_out"]
    assert all(tuple(FIELDS) == tuple(group.row()) for group in found.groups)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_median_is_the_middle(values: list[float]) -> None:
    """The median is that of the statistics module; 95 of 100 are at or below p95."""
    ordered = array("d", sorted(values))
    assert statistics.median(values) == median(ordered)
    mark = percentile(ordered, 0.95)
    assert mark in ordered
    assert sum(value <= mark for value in values) >= 0.95 * len(values)  # type: ignore[operator]
    assert sum(value < mark for value in values) < 0.95 * len(values)  # type: ignore[operator]


def test_nothing_has_no_median() -> None:
    """Of no duration nothing is said."""
    row = stats_of([Job("k")], grouping("status", day), "status").total.row()
    assert (None, None) == (row["run_median"], row["took_p95"])


def test_queue_and_run_are_apart() -> None:
    """A job's queue time ends where it was first seen running."""
    job = Job("k", submitted_at=10.0, started_at=15.0, finished_at=45.0)
    assert (5.0, 30.0) == (queue_time(job), run_time(job))
    row = stats_of([job], grouping("model", day), "model").groups[0].row()
    assert ("-", 5.0, 30.0, 35.0) == (
        row["value"],
        row["queue_median"],
        row["run_p95"],
        row["took_median"],
    )


def test_labels_and_their_values() -> None:
    """By label a job counts under each of its own; by label=K under its value."""
    jobs = [
        Job("1", labels={"env": "prod", "x": "1"}),
        Job("2", labels={"env": "dev"}),
        Job("3"),
    ]
    by_label = stats_of(jobs, grouping("label", day), "label").groups
    assert {"env=prod": 1, "x=1": 1, "env=dev": 1, "-": 1} == {
        group.value: group.jobs for group in by_label
    }
    by_value = stats_of(jobs, grouping("label=env", day), "label=env").groups
    assert {"prod", "dev", "-"} == {group.value for group in by_value}


@pytest.mark.parametrize("by", ["modle", "size", "model=x", ""])
def test_an_unknown_way_is_answered_with_the_known(by: str) -> None:
    """A mistyped --by names what there is."""
    with pytest.raises(UsageError) as caught:
        grouping(by, day)
    assert all(way in caught.value.hint for way in WAYS)


def test_jobs_are_not_kept() -> None:
    """No job is held once it was counted: a million of them need no room."""
    import gc
    import weakref

    class Weak(dict[str, str]):  # no tuple can be referred to weakly
        pass

    alive: list[weakref.ref[Weak]] = []

    def jobs() -> Iterator[Job]:
        for number in range(50):
            labels = Weak()
            alive.append(weakref.ref(labels))
            yield Job(str(number), Status.COMPLETED, usage=Usage(1), labels=labels)
            del labels

    found = stats_of(jobs(), grouping("status", day), "status")
    gc.collect()
    assert (50, []) == (found.total.jobs, [1 for ref in alive if ref() is not None])


PRICES = {"gpt-5": {"input": 1.25, "output": 10.0, "cached": 0.125}}


@pytest.mark.parametrize(
    ("usage", "model", "cost"),
    [
        (Usage(1_000_000, 100_000, 1_100_000), "gpt-5", 2.25),
        (Usage(1_000_000, 0, 1, cached_tokens=400_000), "gpt-5", 0.8),
        (Usage(1_000_000, None, 1_000_000), "gpt-5", None),
        (Usage(1, 1, 2, cost=7.0), "gpt-5", 7.0),
        (Usage(1, 1, 2), "gpt-5-mini", None),
    ],
)
def test_a_cost_is_by_the_prices_of_the_model(
    usage: Usage, model: str, cost: float | None
) -> None:
    """Cached input has its own price, what the endpoint says wins, nothing is guessed."""
    job = priced(Job("k", Status.COMPLETED, model=model, usage=usage), PRICES)
    assert job.usage is not None
    assert cost == (None if cost is None else pytest.approx(job.usage.cost))
    assert (cost is None) == (job.usage.cost is None)
    assert usage == job.usage._replace(cost=usage.cost)
