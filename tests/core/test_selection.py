"""Selectors mean what they say, and every order of jobs is a whole order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import UsageError
from bgresp.core.model import Job, Status
from bgresp.core.selection import SORTS, Selector, ordered, statuses, took
from tests.anyjob import BUILD_JOB, BUILD_USAGE

JOB = Job(
    "k1",
    Status.IN_PROGRESS,
    name="report",
    group="night",
    labels={"team": "search", "empty": ""},
    profile="work",
    model="gpt",
    submitted_at=100.0,
)
_SMALL = st.none() | st.integers(0, 3).map(float)
JOBS = st.builds(
    BUILD_JOB,
    key=st.text("abc", min_size=1, max_size=3),
    status=st.sampled_from(Status),
    name=st.none() | st.sampled_from(["a", "b"]),
    model=st.none() | st.sampled_from(["x", "y"]),
    submitted_at=_SMALL,
    finished_at=_SMALL,
    expires_at=_SMALL,
    usage=st.none()
    | st.builds(BUILD_USAGE, total_tokens=st.none() | st.integers(0, 3)),
)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (Selector(), True),
        (Selector(all=True), True),
        (Selector(open=True), True),
        (Selector(group="night"), True),
        (Selector(group="day"), False),
        (Selector(labels={"team": None}), True),
        (Selector(labels={"team": "search", "empty": ""}), True),
        (Selector(labels={"team": "search", "missing": None}), False),
        (Selector(labels={"team": "ads"}), False),
        (Selector(statuses=frozenset({Status.IN_PROGRESS, Status.LOST})), True),
        (Selector(statuses=frozenset({Status.LOST})), False),
        (Selector(model="gpt"), True),
        (Selector(model="g"), False),
        (Selector(profile="work"), True),
        (Selector(profile="home"), False),
        (Selector(since=100.0), True),
        (Selector(since=100.1), False),
        (Selector(until=100.1), True),
        (Selector(until=100.0), False),
        (Selector(group="night", model="other"), False),
    ],
)
def test_a_selector_means_all_it_says(selector: Selector, matches: bool) -> None:
    """A job is meant when every given condition holds, and only then."""
    assert matches is selector.matches(JOB)
    assert selector.given is (selector != Selector())


def test_open_means_open() -> None:
    """`--open` never selects a job that ended."""
    selector = Selector(open=True)
    selected = {s for s in Status if selector.matches(JOB._replace(status=s))}
    assert {Status.QUEUED, Status.IN_PROGRESS} == selected


def test_a_job_without_a_submit_is_dated_by_its_creation() -> None:
    """An adopted job is found by the time that the endpoint gave it."""
    adopted = JOB._replace(submitted_at=None, created_at=50.0)
    assert Selector(since=40.0, until=60.0).matches(adopted)
    assert not Selector(since=1.0).matches(adopted._replace(created_at=None))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], set()),
        (["open"], {Status.QUEUED, Status.IN_PROGRESS}),
        (["failed", "canceled"], {Status.FAILED, Status.CANCELLED}),
        (["ended"], {s for s in Status if s.is_terminal}),
        (["open", "lost"], {Status.QUEUED, Status.IN_PROGRESS, Status.LOST}),
        (list(Status), set(Status)),
    ],
)
def test_status_words_are_read(words: list[str], expected: set[Status]) -> None:
    """Every status is a word, and open and ended are groups of them."""
    assert expected == statuses(words)


def test_an_unknown_status_word_is_answered_with_the_known() -> None:
    """A mistyped status is a usage error that names all that exist."""
    with pytest.raises(UsageError, match="'done'") as caught:
        statuses(["queued", "done"])
    assert all(status in caught.value.hint for status in Status)


@given(st.lists(JOBS, unique_by=lambda job: job.key), st.sampled_from(sorted(SORTS)))
def test_an_order_is_whole(jobs: list[Job], by: str) -> None:
    """Each column sorts all jobs, the same however they came; unknown ones last.

    Those come last in both directions.
    """
    found = ordered(jobs, by)
    assert sorted(j.key for j in jobs) == sorted(j.key for j in found)
    assert found == ordered(jobs[::-1], by)
    key, largest_first = SORTS[by]
    values = [key(job) for job in found]
    known = [value for value in values if value is not None]
    assert known == values[: len(known)]
    assert known == sorted(known, reverse=largest_first)
    backwards = ordered(jobs, by, reverse=True)
    assert backwards[: len(known)] == found[: len(known)][::-1]
    assert backwards[len(known) :] == found[len(known) :][::-1]


def test_the_newest_comes_first() -> None:
    """Sorted by age the newest is the first, and equals stay in that order."""
    jobs = [Job("a", name="n"), Job("c", name="n"), Job("b", name="n")]
    assert ["c", "b", "a"] == [job.key for job in ordered(jobs, "age")]
    assert ["c", "b", "a"] == [job.key for job in ordered(jobs, "name")]


def test_an_unknown_column_is_answered_with_the_known() -> None:
    """A mistyped column is a usage error that names all that exist."""
    with pytest.raises(UsageError, match="'size'") as caught:
        ordered([], "size")
    assert all(name in caught.value.hint for name in SORTS)


@given(JOBS)
def test_a_span_is_never_negative(job: Job) -> None:
    """A clock that was set back does not make a job end before it began."""
    seconds = took(job)
    known = job.submitted_at is not None and job.finished_at is not None
    assert (seconds is not None) is known
    assert seconds is None or seconds >= 0
