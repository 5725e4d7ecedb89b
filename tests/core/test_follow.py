"""The machine leads from each signal to the next sensible action."""

from dataclasses import replace

import pytest

from bgresp.core.machine import (
    Action,
    Done,
    Policy,
    Poll,
    State,
    Stream,
    Wait,
    begin,
    step,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import Event, FaultKind, Reading, Signal, Snapshot
from tests.core.samples import (
    DELTA,
    DONE,
    ERROR,
    FINAL,
    JOB,
    OPEN,
    QUEUED,
    STREAMING,
    fault,
    step_of,
)


@pytest.mark.parametrize(
    ("job", "policy", "state", "action"),
    [
        (JOB, Policy(), State.STREAMING, Stream(3)),
        (JOB._replace(cursor=None), Policy(), State.STREAMING, Stream(None)),
        (JOB, Policy(mode="stream"), State.STREAMING, Stream(3)),
        (JOB, Policy(mode="poll"), State.POLLING, Poll()),
        (JOB, Policy(attach="never"), State.POLLING, Poll()),
        (JOB._replace(streamable=False), Policy(), State.POLLING, Poll()),
        (JOB._replace(streamable=True), Policy(), State.STREAMING, Stream(3)),
    ],
)
def test_following_begins_where_it_left_off(
    job: Job, policy: Policy, state: State, action: Action
) -> None:
    """An open job is streamed from its cursor, or polled where it cannot be."""
    follow, first = begin(job, policy)
    assert (state, action) == (follow.state, first)
    assert (follow.streams_ruled_out is None) is (state is State.STREAMING)


@pytest.mark.parametrize("status", [s for s in Status if not s.is_open])
def test_a_job_that_is_not_open_is_done_at_once(status: Status) -> None:
    """Nobody is asked about a job that ended or never began."""
    follow, action = begin(JOB._replace(status=status), Policy())
    assert State.ENDED is follow.state
    assert Done(status=status) == action


@pytest.mark.parametrize(
    ("job", "policy"),
    [
        (JOB._replace(streamable=False), Policy(mode="stream")),
        (JOB, Policy(mode="stream", attach="never")),
    ],
)
def test_a_stream_that_cannot_be_is_said_so(job: Job, policy: Policy) -> None:
    """`--mode stream` on a job that cannot be streamed ends with the reason."""
    follow, action = begin(job, policy)
    assert State.ENDED is follow.state
    assert isinstance(action, Done)
    assert action.fault is not None
    assert FaultKind.NOT_STREAMABLE is action.fault.kind


@pytest.mark.parametrize("signal", [OPEN, fault("not_streamable")])
def test_a_stream_that_is_refused_ends_mode_stream(signal: Signal) -> None:
    """`--mode stream` never falls back to polling when the endpoint says no."""
    _, action = step_of(STREAMING, signal, Policy(mode="stream"))
    assert isinstance(action, Done)
    assert action.fault is not None
    assert FaultKind.NOT_STREAMABLE is action.fault.kind
    assert action.final is None


@pytest.mark.parametrize("mode", ["auto", "stream"])
def test_json_instead_of_a_stream_is_the_answer(mode: str) -> None:
    """A finished response where a stream was asked for is the end, in any mode."""
    _, action = step_of(STREAMING, FINAL, Policy(mode=mode))
    assert Done(status=Status.COMPLETED, final=FINAL) == action


def test_json_instead_of_a_stream_rules_streams_out() -> None:
    """An endpoint that answers a stream with an open response is polled from then."""
    follow, action = step_of(STREAMING, OPEN)
    assert (State.POLLING, True) == (follow.state, bool(follow.streams_ruled_out))
    assert isinstance(action, Wait)
    assert Poll() == action.then


def test_a_terminal_event_is_the_end() -> None:
    """A terminal response in an event ends following, and is handed on."""
    follow, action = step_of(STREAMING, DONE)
    assert Done(status=Status.COMPLETED, final=DONE) == action
    assert 9 == follow.cursor


@pytest.mark.parametrize(
    "event",
    [Event("response.completed", terminal=True), DONE._replace(sequence=1)],
)
def test_a_terminal_event_counts_even_when_it_is_old(event: Event) -> None:
    """An end is never dropped for its number: it is believed, or checked."""
    follow, action = step_of(replace(STREAMING, cursor=20), event)
    assert action in (Poll(), Done(status=Status.COMPLETED, final=event))
    assert 20 == follow.cursor


def test_a_completed_event_without_text_is_checked() -> None:
    """An end that names no text is confirmed by one retrieve; a failure needs none."""
    empty = FINAL.reading._replace(text=None)
    follow, action = step_of(STREAMING, DONE._replace(reading=empty))
    assert (State.CHECKING, Poll()) == (follow.state, action)
    failed = empty._replace(status=Status.FAILED, raw_status="failed")
    event = DONE._replace(reading=failed)
    assert Done(status=Status.FAILED, final=event) == step_of(STREAMING, event)[1]


@pytest.mark.parametrize("kind", ["closed", "idle", "ambiguous", "unreadable", "gone"])
def test_a_stream_that_ends_untold_is_checked(kind: str) -> None:
    """End of stream and silence are no success: ask once, then believe the answer."""
    follow, action = step_of(STREAMING, fault(kind))
    assert (State.CHECKING, Poll(), 1) == (follow.state, action, follow.cuts)
    assert Done(status=Status.COMPLETED, final=FINAL) == step_of(follow, FINAL)[1]
    follow, action = step_of(follow, OPEN)
    assert isinstance(action, Wait)
    assert Stream(3) == action.then


def test_progress_renews_the_budget_of_cuts() -> None:
    """A stream that brought a new event may be cut as often as it likes."""
    follow = STREAMING
    for number in range(4, 40):
        follow, _ = step_of(follow, Event("x", sequence=number))
        follow, _ = step_of(follow, fault("closed"))
        follow, action = step_of(follow, OPEN)
        assert isinstance(action, Wait)
        assert Stream(number) == action.then
    assert 1 == follow.cuts


def test_five_cuts_without_progress_are_the_budget() -> None:
    """A stream that tells nothing new is opened a sixth time, or not a fifth."""
    follow = STREAMING
    for _ in range(Policy().cuts):
        follow, _ = step_of(follow, fault("closed"))
        follow, action = step_of(follow, OPEN)
        assert isinstance(action, Wait)
        assert Stream(3) == action.then
    follow, _ = step_of(follow, fault("closed"))
    follow, action = step_of(follow, OPEN)
    assert isinstance(action, Wait)
    assert (State.POLLING, Poll()) == (follow.state, action.then)
    assert 5 == Policy().cuts


@pytest.mark.parametrize("kind", ["unreachable", "rate_limited"])
def test_five_faults_of_a_stream_are_the_budget(kind: str) -> None:
    """An endpoint that answers no stream is asked for a sixth, or not for a fifth."""
    follow = STREAMING
    for _ in range(Policy().faults):
        follow, action = step_of(follow, fault(kind))
        assert isinstance(action, Wait)
        assert Stream(3) == action.then
    follow, action = step_of(follow, fault(kind))
    assert (State.POLLING, Poll()) == (follow.state, action)
    assert 5 == Policy().faults


@pytest.mark.parametrize("sequence", [4, 9])
def test_an_error_event_leaves_the_cursor(sequence: int) -> None:
    """An error's number, which the endpoint uses again, hides the event that has it."""
    follow, action = step_of(STREAMING, ERROR._replace(sequence=sequence))
    assert (3, None, ERROR.error) == (follow.cursor, action, follow.error)
    after = step_of(follow, DELTA._replace(sequence=sequence))[0]
    assert (sequence, ERROR.error) == (after.cursor, after.error)
    failed = DONE._replace(sequence=sequence)
    assert isinstance(step_of(follow, failed)[1], Done)
    follow, action = step_of(follow, fault("closed"))
    assert (3, Poll()) == (follow.cursor, action)
    follow, action = step_of(follow, OPEN)
    assert isinstance(action, Wait)
    assert Stream(3) == action.then
    delta = DELTA._replace(sequence=sequence)
    assert sequence == step_of(follow, delta)[0].cursor


def test_an_unknown_word_leaves_the_last_open_status() -> None:
    """A word that nobody knows is kept as it is, and the job stays what it was."""
    paused = Reading(Status.IN_PROGRESS, "paused", known=False)
    for signal in (Snapshot(paused), Event("x", sequence=9, reading=paused)):
        follow, _ = step_of(STREAMING, signal)
        assert (Status.QUEUED, "paused") == (follow.status, follow.raw_status)
    told, _ = step_of(STREAMING, Event("x", sequence=9, reading=OPEN.reading))
    assert Status.IN_PROGRESS is told.status


def test_a_change_while_polling_is_worth_another_stream() -> None:
    """A job that leaves the queue is streamed again, unless streams are ruled out."""
    spent = replace(STREAMING, state=State.POLLING, cuts=6)
    follow, action = step_of(spent, OPEN)
    assert State.STREAMING is follow.state
    assert isinstance(action, Wait)
    assert Stream(3) == action.then
    assert State.POLLING is step_of(spent, QUEUED)[0].state
    ruled_out = replace(spent, streams_ruled_out="why")
    assert State.POLLING is step_of(ruled_out, OPEN)[0].state
    assert State.POLLING is step_of(spent, OPEN, Policy(mode="stream"))[0].state


def test_a_job_is_lost_after_three_404_once_it_is_old_enough() -> None:
    """A 404 of a young job proves nothing; three over a minute mean that it is gone."""
    young = old = replace(STREAMING, state=State.POLLING)
    for _ in range(9):
        young, action = step_of(young, fault("gone"), now=59.9)
        assert isinstance(action, Wait)
        assert action.seconds >= 5
    for now in (100.0, 130.0, 159.9):
        old, action = step_of(old, fault("gone"), now=now)
        assert isinstance(action, Wait)
    back = step_of(old, OPEN)[0]
    assert (0, None) == (back.gone, back.gone_since)
    _, action = step_of(old, fault("gone"), now=160.0)
    assert Done(status=Status.LOST, fault=fault("gone")) == action
    doubted = Policy(gone_over=600.0)
    for now in (160.0, 699.9):
        old, action = step_of(old, fault("gone"), doubted, now=now)
        assert isinstance(action, Wait)
    _, action = step_of(old, fault("gone"), doubted, now=700.0)
    assert Done(status=Status.LOST, fault=fault("gone")) == action


def test_an_end_without_its_text_is_asked_for_until_that_is_told() -> None:
    """The end that a stream told is lost, or asked for without pause or end."""
    bare = DONE._replace(reading=FINAL.reading._replace(text=None))
    held, _ = step_of(STREAMING, bare)
    behind, action = step_of(held, OPEN)
    assert (State.CHECKING, Wait(0.275)) == (behind.state, action)
    behind, action = step_of(behind, OPEN)
    assert (State.CHECKING, Wait(0.55)) == (behind.state, action)
    assert Done(status=Status.COMPLETED, final=FINAL) == step_of(behind, FINAL)[1]
    kept = Done(status=Status.COMPLETED, final=bare)
    for kind in ("gone", "refused"):
        assert kept == step_of(behind, fault(kind))[1]
    assert isinstance(step_of(behind, fault("rate_limited", 60.0))[1], Wait)
    assert kept == step_of(behind, fault("rate_limited", 60.5))[1]
    for _ in range(Policy().faults - 2):
        behind, action = step_of(behind, OPEN)
        assert isinstance(action, Wait)
    assert kept == step_of(behind, OPEN)[1]


def test_what_cannot_be_read_for_good_ends_with_the_reason() -> None:
    """An endpoint that never speaks the protocol is given up, not asked for ever."""
    follow = replace(STREAMING, state=State.POLLING)
    for _ in range(Policy().faults):
        follow, action = step_of(follow, fault("unreadable"))
        assert isinstance(action, Wait)
    assert Done(fault=fault("unreadable")) == step_of(follow, fault("unreadable"))[1]
    assert 0 == step_of(follow, OPEN)[0].unreadable


def test_one_bad_page_after_a_long_outage_ends_nothing() -> None:
    """Coming back on line through a captive portal does not end the watch."""
    follow = replace(STREAMING, state=State.POLLING)
    for _ in range(50):
        follow, _ = step_of(follow, fault("unreachable"))
    follow, action = step_of(follow, fault("unreadable"))
    assert State.POLLING is follow.state
    assert isinstance(action, Wait)


def test_a_refusal_ends_with_its_reason() -> None:
    """What the endpoint refuses is not asked again."""
    assert Done(fault=fault("refused")) == step_of(STREAMING, fault("refused"))[1]


def test_the_interval_overrules_the_pace() -> None:
    """`--interval` sets the pace; otherwise the job's age and expected length do."""
    polling = replace(STREAMING, state=State.POLLING, streams_ruled_out="why")
    waits = []
    slow = Policy(tiers=((90, 2.0), (3600, 7.0)))
    for policy, expect in (
        *((Policy(interval=8), None), (Policy(), None), (Policy(), 9000.0)),
        *((slow, None), (slow, 9000.0)),
    ):
        known = replace(polling, expect=expect)
        _, action = step(known, QUEUED, policy=policy, jitter=0.0, now=100.0)
        assert isinstance(action, Wait)
        waits.append(action.seconds)
    assert [8.0, 5.0, 60.0, 7.0, 60.0] == waits


def test_a_job_that_runs_longer_than_any_may_is_left() -> None:
    """Past the endpoint's longest run a poll that says `in_progress` is the last one."""
    policy = Policy(max_run=1800, poll=(2, 40))
    polling = replace(STREAMING, state=State.POLLING, streams_ruled_out="why")
    begun, _ = step(polling, OPEN, policy=policy, jitter=0.0, now=600.0)
    assert 600.0 == begun.started
    later, action = step(
        begun, OPEN, policy=policy, jitter=0.0, now=600.0 + 1800.0 + 180.0
    )
    assert (State.POLLING, Wait) == (later.state, type(action))
    ended, action = step(
        later, OPEN, policy=policy, jitter=0.0, now=600.0 + 1800.0 + 181.0
    )
    assert isinstance(action, Done)
    assert action.fault is not None
    assert (State.ENDED, FaultKind.IDLE) == (ended.state, action.fault.kind)
    said = "still in_progress, though no job may run over 30 min"
    assert said in action.fault.message
    final, action = step(later, FINAL, policy=policy, jitter=0.0, now=9999.0)
    assert (State.ENDED, Done(status=Status.COMPLETED, final=FINAL)) == (
        *(final.state, action),
    )


def test_a_job_in_the_queue_never_runs_too_long() -> None:
    """Waiting in a queue is no running, and where no limit is known there is none."""
    polling = replace(STREAMING, state=State.POLLING, streams_ruled_out="why")
    _, action = step(polling, QUEUED, policy=Policy(max_run=60), jitter=0.0, now=1e6)
    assert isinstance(action, Wait)
    running = replace(polling, started=0.0)
    _, action = step(running, OPEN, policy=Policy(), jitter=0.0, now=1e6)
    assert isinstance(action, Wait)


def test_a_stream_that_goes_on_too_long_is_checked() -> None:
    """Events without end do not hold a job that may not run so long: ask once."""
    running = replace(STREAMING, status=Status.IN_PROGRESS, started=0.0)
    for mode in ("auto", "stream"):
        policy = Policy(mode=mode, max_run=60)
        checking, action = step(running, DELTA, policy=policy, jitter=0.0, now=1000.0)
        assert (State.CHECKING, Poll()) == (checking.state, action)
        _, action = step(checking, OPEN, policy=policy, jitter=0.0, now=1000.0)
        assert isinstance(action, Done)
        assert action.fault is not None
        assert FaultKind.IDLE is action.fault.kind


def test_when_a_job_was_first_seen_running_comes_from_its_record() -> None:
    """A second watch counts from the first time, and takes the expected length."""
    job = JOB._replace(submitted_at=100.0, started_at=160.0, expect=300.0)
    follow, _ = begin(job, Policy())
    assert (60.0, 300.0) == (follow.started, follow.expect)
    set_back, _ = begin(job._replace(submitted_at=9999.0), Policy())
    assert 0.0 == set_back.started  # no run of hours, which would end the watch


@pytest.mark.parametrize(
    ("attach", "streamable", "action"),
    [
        *(("any", False, Stream(3)), ("if_streamed", False, Poll())),
        *(("if_streamed", None, Stream(3)), ("never", True, Poll())),
    ],
)
def test_which_jobs_can_be_streamed_later(
    attach: str, streamable: bool | None, action: Action
) -> None:
    """The dialect says whether a job has to be created streamable."""
    job = JOB._replace(streamable=streamable)
    assert action == begin(job, Policy(attach=attach))[1]
