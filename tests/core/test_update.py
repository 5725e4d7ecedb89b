"""A job's record follows the endpoint's word, and forgets nothing it has learnt."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core import update
from bgresp.core.dialect import Dialect, Limits
from bgresp.core.model import Job, ResponseError, Status, Usage
from bgresp.core.signals import Fault, FaultKind, Reading
from tests.anyjob import BUILD_JOB

JOB: Final = Job("k", Status.IN_PROGRESS, id="resp_1", model="gpt", submitted_at=100.0)
ERROR: Final = ResponseError("server_error", "It broke.")
NOW: Final = 200.0
GONE: Final = Fault(FaultKind.GONE, "no such response", http_status=404)


@pytest.fixture(name="limits", scope="session")
def _limits(openai: Dialect) -> Limits:
    return openai.limits


def _reading(status: Status, **more: object) -> Reading:
    return Reading(status, str(status))._replace(**more)  # type: ignore[arg-type]


def test_an_accepted_submit_has_an_id_and_a_date(limits: Limits) -> None:
    """What was taken is open under the endpoint's id, dated by it or by us."""
    job = Job("k", Status.SUBMITTING, last_error="refused once")
    reading = _reading(Status.QUEUED, id="resp_1", model="gpt-x")
    taken = update.accepted(job, reading, now=NOW, limits=limits)
    assert ("resp_1", Status.QUEUED, NOW) == (taken.id, taken.status, taken.created_at)
    assert ("gpt-x", None) == (taken.model, taken.last_error)
    dated = reading._replace(created_at=150.0)
    kept = update.accepted(job._replace(model="m"), dated, now=NOW, limits=limits)
    assert ("gpt-x", "m", 150.0) == (kept.model, kept.model_asked, kept.created_at)


@given(st.sampled_from(Status), st.sampled_from(Status))
def test_nothing_turns_back(limits: Limits, before: Status, after: Status) -> None:
    """A lower rank never replaces a higher one, but says that the endpoint answered."""
    old = JOB._replace(status=before, raw_status="old")
    new = update.heard(old, _reading(after), now=NOW, limits=limits)
    assert new.status.rank == max(before.rank, after.rank)
    assert NOW == new.checked_at
    if after.rank < before.rank:
        assert old._replace(checked_at=NOW) == new


def test_a_cancelled_job_may_turn_completed(limits: Limits) -> None:
    """A job that finished despite the cancel is reported as finished."""
    cancelled = update.heard(JOB, _reading(Status.CANCELLED), now=NOW, limits=limits)
    usage = Usage(1, 2, 3)
    reading = _reading(Status.COMPLETED, usage=usage, finished_at=250.0)
    done = update.heard(cancelled, reading, now=300.0, limits=limits)
    assert (Status.COMPLETED, usage) == (done.status, done.usage)
    assert 250.0 == done.finished_at
    undated = _reading(Status.COMPLETED, usage=usage)
    done = update.heard(cancelled, undated, now=300.0, limits=limits)
    assert 300.0 == done.finished_at
    again = update.heard(done, undated, now=400.0, limits=limits)
    assert 300.0 == again.finished_at


def test_the_end_has_a_time_and_an_expiry(limits: Limits) -> None:
    """A finished job is dated, and kept by the endpoint for its retention."""
    reading = _reading(Status.FAILED, error=ERROR, finished_at=150.0)
    done = update.heard(JOB, reading, now=NOW, limits=limits)
    assert (150.0, ERROR) == (done.finished_at, done.error)
    assert 150.0 + limits.retention_stored == done.expires_at
    dated = JOB._replace(created_at=110.0)
    assert (
        done.expires_at
        == update.heard(dated, reading, now=NOW, limits=limits).expires_at
    )
    undated = update.heard(JOB, _reading(Status.FAILED), now=NOW, limits=limits)
    assert NOW == undated.finished_at
    unstored = JOB._replace(extra={"store": False})
    soon = update.heard(unstored, reading, now=NOW, limits=limits)
    assert 150.0 + limits.retention_unstored == soon.expires_at
    for_ever = limits._replace(retention_stored=0)
    assert update.heard(JOB, reading, now=NOW, limits=for_ever).expires_at is None


def test_an_end_is_told_or_noticed(limits: Limits) -> None:
    """The time of an end that a poll came upon is taken for when it was."""
    open_ = update.heard(JOB, _reading(Status.IN_PROGRESS), now=NOW, limits=limits)
    assert open_.took_exact is None
    undated = _reading(Status.COMPLETED)
    noticed = update.heard(JOB, undated, now=NOW, limits=limits)
    assert (False, NOW) == (noticed.took_exact, noticed.finished_at)
    event = update.heard(JOB, undated, now=NOW, limits=limits, told=True)
    assert (True, NOW) == (event.took_exact, event.finished_at)
    dated = undated._replace(finished_at=150.0)
    for before in (JOB, noticed):
        told = update.heard(before, dated, now=NOW + 9, limits=limits)
        assert (True, 150.0) == (told.took_exact, told.finished_at)
    again = update.heard(event, dated, now=NOW + 9, limits=limits)
    assert (True, NOW) == (again.took_exact, again.finished_at)
    assert noticed == Job.from_line(noticed.to_line())


def test_news_takes_back_nothing_that_was_known(limits: Limits) -> None:
    """A reply that tells less forgets the date, the model or the usage told before."""
    known = JOB._replace(
        created_at=110.0, usage=Usage(1, 2, 3), missed_at=120.0, misses=2
    )
    told = _reading(Status.IN_PROGRESS, created_at=150.0)
    heard = update.heard(known, told, now=NOW, limits=limits)
    assert (110.0, "gpt", Usage(1, 2, 3)) == (
        heard.created_at,
        heard.model,
        heard.usage,
    )
    assert (None, None) == (heard.missed_at, heard.misses)
    dated = update.heard(JOB, told, now=NOW, limits=limits)
    assert 150.0 == dated.created_at


def test_an_unknown_word_leaves_the_last_open_status(limits: Limits) -> None:
    """A word nobody knows is kept; the job stays open as it was, or in progress."""
    reading = Reading(Status.IN_PROGRESS, "paused", known=False)
    for before, after in [
        (Status.QUEUED, Status.QUEUED),
        (Status.SUBMITTING, Status.IN_PROGRESS),
    ]:
        job = JOB._replace(status=before)
        told = update.heard(job, reading, now=NOW, limits=limits)
        assert (after, "paused") == (told.status, told.raw_status)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_never_changes_the_status(kind: FaultKind) -> None:
    """Rule 2 of the contract: a failure to hear says nothing of the job."""
    told = update.unheard(JOB, Fault(kind, "it broke"), now=NOW)
    assert JOB._replace(last_error="it broke") == told


def test_a_404_is_an_answer() -> None:
    """An endpoint that says 404 was heard, though it is not believed at once."""
    told = update.unheard(JOB, GONE, now=NOW)
    assert JOB._replace(last_error="no such response", checked_at=NOW) == told


@pytest.mark.parametrize(
    ("expires", "told"), [(None, False), (NOW + 1, False), (NOW - 1, True)]
)
def test_a_lost_job_says_why(expires: float | None, told: bool) -> None:
    """A job that is gone is lost, and past its retention that is said to be why."""
    lost = update.lost(JOB._replace(expires_at=expires), GONE, now=NOW)
    assert (Status.LOST, NOW) == (lost.status, lost.checked_at)
    assert "no such response" in str(lost.last_error)
    assert told is ("kept too long" in str(lost.last_error))


def test_a_finished_job_is_never_lost() -> None:
    """What became of a job is known even when the endpoint forgets it."""
    done = JOB._replace(status=Status.COMPLETED)
    assert done._replace(checked_at=NOW) == update.lost(done, GONE, now=NOW)
    assert done._replace(checked_at=NOW) == update.deleted(done, now=NOW)


@pytest.mark.parametrize(
    ("expires", "checked", "now", "worth"),
    [
        *((None, None, 3700.0, True), (None, 200.0, 3799.0, False)),
        *((None, 200.0, 3800.0, True), (None, 200.0, 86499.0, True)),
        *((None, 200.0, 86500.0, False), (9000.0, 200.0, 8999.0, True)),
        *((9000.0, 200.0, 9000.0, False), (1e6, 200.0, 99e4, True)),
    ],
)
def test_a_lost_job_is_asked_about_for_a_time(
    expires: float | None, checked: float | None, now: float, worth: bool
) -> None:
    """A lost job is asked about in each pass, or never again, or for ever."""
    job = JOB._replace(status=Status.LOST, expires_at=expires, checked_at=checked)
    assert worth is update.may_come_back(job, now=now)


def test_the_start_is_when_it_was_first_seen_running(limits: Limits) -> None:
    """A queued job has not started; later news does not move the start, nor lose it."""
    queued = update.heard(JOB, _reading(Status.QUEUED), now=NOW, limits=limits)
    assert queued.started_at is None
    odd = _reading(Status.IN_PROGRESS, known=False)
    assert update.heard(JOB, odd, now=NOW, limits=limits).started_at is None
    running = update.heard(JOB, _reading(Status.IN_PROGRESS), now=NOW, limits=limits)
    again = update.heard(
        running, _reading(Status.IN_PROGRESS), now=300.0, limits=limits
    )
    assert (NOW, NOW) == (running.started_at, again.started_at)
    assert NOW == update.merge(running, JOB._replace(status=Status.QUEUED)).started_at
    later = running._replace(started_at=250.0)
    assert NOW == update.merge(running, later).started_at


_RECORDS = st.builds(
    BUILD_JOB,
    st.just("k"),
    st.sampled_from(Status),
    id=st.none() | st.just("resp_1"),
    cursor=st.none() | st.integers(0, 9),
    started_at=st.none() | st.just(110.0),
    cancel_requested_at=st.none() | st.just(120.0),
    extra=st.dictionaries(st.sampled_from("ab"), st.integers(0, 1)),
)


@given(st.lists(_RECORDS, min_size=1, max_size=5))
def test_what_was_known_is_not_forgotten(records: list[Job]) -> None:
    """A later record takes back an id, a rank, a cursor or the request to cancel."""
    held = records[0]
    for new in records[1:]:
        old, held = held, update.merge(held, new)
        taken = new.status.rank >= old.status.rank
        known = [old, new] if taken else [old]
        assert held.status is (new if taken else old).status
        assert held.id == next((one.id for one in known if one.id), None)
        seen = [one.cursor for one in known if isinstance(one.cursor, int)]
        assert held.cursor == max(seen, default=None)
        for name in ("started_at", "cancel_requested_at"):
            told = [getattr(one, name) for one in known]
            assert getattr(held, name) == next((at for at in told if at), None)
        assert {**old.extra, **(new.extra if taken else {})} == held.extra
        assert update.merge(held, new) == held


@pytest.mark.parametrize(
    ("passes", "after", "alone", "believed"),
    [
        *((1, 59.0, True, False), (1, 60.0, True, True)),
        *((2, 9999.0, False, False), (3, 599.0, False, False)),
        (3, 600.0, False, True),
    ],
)
def test_when_a_404_is_believed(
    passes: int, after: float, alone: bool, believed: bool
) -> None:
    """A job is lost for one 404, or several are for fewer than three passes."""
    job = Job("k", status=Status.QUEUED)
    gone = Fault(FaultKind.GONE, "No such response.", http_status=404)
    for _ in range(passes):
        job = update.missed(job, gone, now=1000.0)
    assert believed is update.is_believed(job, now=1000.0 + after, alone=alone)
