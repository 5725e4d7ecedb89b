"""What the machine writes down of a signal, before it decides what follows from it."""

from dataclasses import replace

from bgresp.core.model import Status
from bgresp.core.signals import Cursor, Event, Fault, Signal, Snapshot
from bgresp.core.states import TABLE, Follow, Kind, State, classify


def is_stale(follow: Follow, signal: Signal) -> bool:
    """Say whether an event was seen before; a number at or below the cursor was."""
    if not isinstance(signal, Event) or signal.sequence is None:
        return False
    if isinstance(signal.sequence, int) and isinstance(follow.cursor, int):
        return signal.sequence <= follow.cursor
    return signal.sequence == follow.cursor


def noted(follow: Follow, signal: Signal, kind: Kind, now: float) -> Follow:
    """Write down what the signal says, before deciding what it leads to.

    A stream that ended without telling anything sure is a cut, whatever ended it. `now`
    is the job's age in seconds.
    """
    after = _running_since(_noted_signal(follow, signal, kind), now)
    if (
        follow.state is State.STREAMING
        and TABLE[kind][State.STREAMING] is State.CHECKING
    ):
        cuts = 1 if follow.progressed else follow.cuts + 1
        return replace(after, cuts=cuts, progressed=False)
    return after


def _running_since(follow: Follow, now: float) -> Follow:
    if follow.started is not None or follow.status is not Status.IN_PROGRESS:
        return follow
    return replace(follow, started=now)


def _noted_signal(follow: Follow, signal: Signal, kind: Kind) -> Follow:
    if isinstance(signal, Event):
        return _noted_event(follow, signal)
    if isinstance(signal, Snapshot):
        status, word = signal.reading.status, signal.reading.raw_status
        if not signal.reading.known and follow.status.is_open:
            status = follow.status
        ruled_out = follow.streams_ruled_out
        if follow.state is State.STREAMING and ruled_out is None:
            ruled_out = "the endpoint answered with JSON, not events"
        noted = replace(follow, status=status, raw_status=word, faults=0, gone=0)
        return replace(noted, unreadable=0, streams_ruled_out=ruled_out)
    return _noted_fault(follow, signal, kind)


def _noted_fault(follow: Follow, fault: Fault, kind: Kind) -> Follow:
    if kind is Kind.GONE:
        return replace(follow, gone=follow.gone + 1)
    streaming = follow.state is State.STREAMING
    if streaming and kind in {Kind.CLOSED, Kind.IDLE, Kind.AMBIGUOUS}:
        return follow
    if kind is Kind.NOT_STREAMABLE:
        follow = replace(follow, streams_ruled_out=fault.message)
    elif kind is Kind.UNREADABLE:
        follow = replace(follow, unreadable=follow.unreadable + 1)
    return replace(follow, faults=follow.faults + 1)


def _noted_event(follow: Follow, event: Event) -> Follow:
    status, word = follow.status, follow.raw_status
    if event.reading is not None:
        status = event.reading.status if event.reading.known else follow.status
        word = event.reading.raw_status
    cursor = follow.cursor if event.sequence is None else event.sequence
    if is_stale(follow, event) or classify(event) is Kind.DOUBTFUL_EVENT:
        cursor = follow.cursor  # an error may be given a number that is used again
    return replace(
        follow,
        status=status,
        raw_status=word,
        cursor=cursor,
        seen=follow.seen + 1,
        gaps=follow.gaps + _gap(follow.cursor, event.sequence),
        faults=0,
        gone=0,
        unreadable=0,
        progressed=follow.progressed or _is_new(follow, event),
        heard_out=follow.heard_out or event.terminal,
    )


def _is_new(follow: Follow, event: Event) -> bool:
    """Say whether an event is surely new: only numbers tell it from a replay."""
    return isinstance(event.sequence, int) and not is_stale(follow, event)


def _gap(cursor: Cursor | None, sequence: Cursor | None) -> int:
    if not isinstance(sequence, int):
        return 0
    if cursor is None:
        return int(sequence > 1)  # servers number from 0 or from 1
    return int(isinstance(cursor, int) and sequence > cursor + 1)
