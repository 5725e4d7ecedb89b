"""Answers whose response has no text: what the stream tells of them is not given up."""

from dataclasses import replace

import pytest

from bgresp.core.machine import Done, Follow, Policy, Poll, State, Stream, Wait, step
from bgresp.core.model import Status
from bgresp.core.signals import Event, Fault, FaultKind, Reading, Snapshot

CHECKING = Follow(State.CHECKING, Status.IN_PROGRESS, cursor=7, cuts=1)
EMPTY = Snapshot(Reading(Status.COMPLETED, "completed"))


def answer(follow: Follow, snapshot: Snapshot = EMPTY) -> object:
    return step(follow, snapshot, policy=Policy(), jitter=0.5, now=100.0)[1]


def test_a_stream_that_was_cut_is_heard_out() -> None:
    """A completed response without text ends a stream that was cut before its end."""
    for cuts in range(1, Policy().cuts + 1):  # as often as any stream is opened anew
        action = answer(replace(CHECKING, cuts=cuts))
        assert isinstance(action, Wait)
        assert Stream(7) == action.then


@pytest.mark.parametrize(
    "follow",
    [
        replace(CHECKING, heard_out=True),
        replace(CHECKING, cuts=6),
        replace(CHECKING, streams_ruled_out="too old"),
        replace(CHECKING, state=State.POLLING),
    ],
)
def test_where_streams_can_tell_no_more_the_answer_is_empty(follow: Follow) -> None:
    """An answer without text is asked for again although no stream could tell more."""
    assert Done(status=Status.COMPLETED, final=EMPTY) == answer(follow)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_job_without_answer_needs_no_text(status: Status) -> None:
    """A failed or cancelled job without text keeps its stream open (vLLM may hang)."""
    snapshot = Snapshot(Reading(status, status.value))
    assert Done(status=status, final=snapshot) == answer(CHECKING, snapshot)


def test_a_stream_tried_again_is_read() -> None:
    """A stream that is tried again after a change is left at its first event."""
    spent = Follow(State.POLLING, Status.QUEUED, cursor=3, cuts=6)
    running = Snapshot(Reading(Status.IN_PROGRESS, "in_progress"))
    again, action = step(spent, running, policy=Policy(), jitter=0.5, now=100.0)
    assert isinstance(action, Wait)
    assert Stream(3) == action.then
    event = Event("response.output_text.delta", sequence=4, delta="x")
    reading, action = step(again, event, policy=Policy(), jitter=0.5, now=100.0)
    assert (State.STREAMING, None) == (reading.state, action)
    cut = Fault(FaultKind.CLOSED, "the stream ended")
    assert Poll() == step(reading, cut, policy=Policy(), jitter=0.5, now=100.0)[1]
