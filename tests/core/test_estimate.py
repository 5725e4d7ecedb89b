"""How long the rest takes is told by those that ended: near the truth, never absurd."""

import heapq
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.stats import Estimate, OpenJobs

SPREAD = st.floats(0.9, 1.1)


def schedule(durations: list[float], places: int) -> list[tuple[float, float]]:
    """Return when each job starts and ends, so many at once."""
    free = [0.0] * min(places, len(durations))
    told = []
    for seconds in durations:
        start = heapq.heappop(free)
        heapq.heappush(free, start + seconds)
        told.append((start, start + seconds))
    return told


def estimates(
    durations: list[float], places: int, *, hidden: bool = False, late: float = 0.0
) -> Iterator[tuple[float, float | None, float]]:
    """Yield the part that is over, the estimate and the truth, after each end.

    `hidden`: the endpoint says of none that it waits; `late`: it is noticed that a job
    runs when this part of it is over.
    """
    jobs = schedule(durations, places)
    estimate, last = Estimate(), max(end for _, end in jobs)
    seen = [(start + (end - start) * late, end) for start, end in jobs]

    def remaining(now: float, *, after: bool) -> float | None:
        left = [start for start, end in seen if end > now or (end == now and not after)]
        runs = [0.0 if hidden else start for start in left if hidden or start <= now]
        open_jobs = OpenJobs(
            running=len(runs),
            waiting=len(left) - len(runs),
            oldest=now - min(runs, default=now),
            newest=now - max(runs, default=now),
        )
        return estimate.remaining(now, open_jobs)

    for number, (start, end) in enumerate(sorted(jobs, key=lambda job: job[1]), 1):
        remaining(end, after=False)  # a board looks between two ends, too
        estimate.ended(end)
        estimate.know(end if hidden else (end - start) * (1 - late))
        if end < last:
            yield number / len(jobs), remaining(end, after=True), last - end


@given(
    usual=st.floats(1.0, 1000.0),
    spread=st.lists(SPREAD, min_size=6, max_size=80),
    places=st.integers(1, 12),
)
def test_a_steady_fleet(usual: float, spread: list[float], places: int) -> None:
    """After a third of the jobs the estimate is wrong by more than a factor of two.

    Beside it the spread and a tenth of a job are allowed: the last one's end is luck.
    """
    durations = [usual * each for each in spread]
    slack = max(durations) - min(durations) + usual / 10
    for part, said, truth in estimates(
        durations,
        places,
    ):
        if part >= 1 / 3:
            assert said is not None
            assert truth / 2 - slack <= said <= truth * 2 + slack


@given(
    usual=st.floats(1.0, 1000.0),
    late=st.floats(0.0, 0.9),
    count=st.integers(6, 20),
    places=st.integers(1, 6),
)
def test_a_fleet_whose_starts_are_noticed_late(
    usual: float, late: float, count: int, places: int
) -> None:
    """Polls that come in the middle of short jobs make the estimate absurdly low.

    While one round of them is left, nobody can know whether it ends at once.
    """
    durations = [usual] * (count * places)
    for part, said, truth in estimates(durations, places, late=late):
        if part >= 1 / 3:
            assert said is not None
            assert truth / 2 - usual <= said <= truth * 2 + usual


@given(usual=st.floats(1.0, 1000.0), count=st.integers(5, 20), places=st.integers(1, 6))
def test_a_fleet_that_hides_its_queue(usual: float, count: int, places: int) -> None:
    """Jobs that wait and are called running make the estimate absurdly low.

    While one round of them is left, nobody can know whether it ends at once.
    """
    durations = [usual] * (count * places)
    for part, said, truth in estimates(durations, places, hidden=True):
        if part >= 1 / 3:
            assert said is not None
            assert truth / 2 - usual <= said <= truth * 2 + usual


@given(
    ended=st.lists(st.floats(0.1, 1e5), min_size=1, max_size=30),
    ages=st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)),
    counts=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_never_less_than_what_a_job_needs_at_least(
    ended: list[float], ages: tuple[float, float], counts: tuple[int, int]
) -> None:
    """The estimate is below what the shortest job that is known would still need."""
    estimate = Estimate()
    for seconds in ended:
        estimate.know(seconds)
        estimate.ended(0.0)
    running, waiting = counts
    open_jobs = OpenJobs(running, waiting, oldest=max(ages), newest=min(ages))
    said = estimate.remaining(1e5, open_jobs)
    if not running + waiting:
        assert said is None
        return
    least = min(ended) if waiting else min(ended) - min(ages)
    assert said is not None
    assert said >= max(0.0, least) - 1e-6


def test_nothing_is_said_where_nothing_is_known() -> None:
    """A figure is invented before any job ended."""
    assert Estimate().remaining(9.0, OpenJobs(running=3, waiting=4)) is None


def test_only_the_newest_durations_are_kept() -> None:
    """A board of a million jobs holds a number for each, or forgets the wrong ones."""
    estimate = Estimate()
    for number in range(3000):
        estimate.know(float(number))
    open_jobs = OpenJobs(waiting=1)
    assert estimate.remaining(0.0, open_jobs) == pytest.approx(2500.0)
