"""The machine that follows one job: signals in, actions out; total and without I/O.

May import core.model, core.schedule, core.signals and core.states. What decides a
transition stands in the TABLE; what a table cannot say (budgets, a job's age) stands in
`_guarded`.
"""

from dataclasses import replace

from bgresp.core import schedule
from bgresp.core.model import Job, Status
from bgresp.core.signals import (
    Action,
    Cursor,
    Done,
    Event,
    Fault,
    FaultKind,
    Poll,
    Signal,
    Snapshot,
    Stream,
    Wait,
)
from bgresp.core.states import (
    TABLE,
    Follow,
    Kind,
    Policy,
    State,
    classify,
    is_untold,
)


def begin(job: Job, policy: Policy) -> tuple[Follow, Action]:
    """Start following a job from its cursor; a job that ended is done at once."""
    follow = Follow(State.POLLING, job.status, job.raw_status, job.cursor)
    if not job.status.is_open:
        return replace(follow, state=State.ENDED), Done(status=job.status)
    reason = _ruled_out(job, policy)
    if reason and policy.mode == "stream":
        fault = Fault(FaultKind.NOT_STREAMABLE, reason)
        return replace(follow, state=State.ENDED), Done(fault=fault)
    if reason:
        return replace(follow, streams_ruled_out=reason), Poll()
    return replace(follow, state=State.STREAMING), Stream(job.cursor)


def step(
    follow: Follow, signal: Signal, policy: Policy, jitter: float, now: float
) -> tuple[Follow, Action | None]:
    """Answer one signal; None means: go on reading what is open.

    `now` is the job's age in seconds, `jitter` a number in [0, 1).
    """
    kind = classify(signal)
    if follow.state is State.ENDED or (kind is Kind.EVENT and _stale(follow, signal)):
        return follow, None
    if isinstance(signal, Event) and follow.state is not State.STREAMING:
        return follow, None
    noted = _noted(follow, signal, kind)
    target = _guarded(follow, noted, kind, (policy, now))
    if target is State.ENDED and is_untold(noted, signal, policy):
        target = State.STREAMING
    moved = replace(noted, state=target)
    return moved, _act(follow, moved, signal, (policy, jitter, now))


def _ruled_out(job: Job, policy: Policy) -> str | None:
    if policy.mode == "poll":
        return "asked to poll"
    if not policy.attach:
        return "this endpoint cannot stream a running job"
    if job.streamable is False:
        return "not created streamable"
    return None


def _stale(follow: Follow, signal: Signal) -> bool:
    """Say whether an event was seen before; a number at or below the cursor was."""
    if not isinstance(signal, Event) or signal.sequence is None:
        return False
    if isinstance(signal.sequence, int) and isinstance(follow.cursor, int):
        return signal.sequence <= follow.cursor
    return signal.sequence == follow.cursor


def _noted(follow: Follow, signal: Signal, kind: Kind) -> Follow:
    """Write down what the signal says, before deciding what it leads to.

    A stream that ended without telling anything sure is a cut, whatever ended it.
    """
    noted = _noted_signal(follow, signal, kind)
    if (
        follow.state is State.STREAMING
        and TABLE[kind][State.STREAMING] is State.CHECKING
    ):
        cuts = 1 if follow.progressed else follow.cuts + 1
        return replace(noted, cuts=cuts, progressed=False)
    return noted


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
    if _stale(follow, event) or classify(event) is Kind.DOUBTFUL_EVENT:
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
    return isinstance(event.sequence, int) and not _stale(follow, event)


def _gap(cursor: Cursor | None, sequence: Cursor | None) -> int:
    if not isinstance(sequence, int):
        return 0
    if cursor is None:
        return int(sequence > 1)  # servers number from 0 or from 1
    return int(isinstance(cursor, int) and sequence > cursor + 1)


def _guarded(
    before: Follow, follow: Follow, kind: Kind, how: tuple[Policy, float]
) -> State:
    """Look the target up, then let budgets and age overrule it."""
    policy, now = how
    target = TABLE[kind][follow.state]
    if kind is Kind.GONE and _is_lost(follow, policy, now):
        return State.ENDED
    if kind is Kind.UNREADABLE and follow.unreadable > policy.faults:
        return State.ENDED
    if policy.mode == "stream" and follow.streams_ruled_out is not None:
        return State.ENDED
    if _changed_while_polling(before, follow, kind):
        return State.STREAMING if policy.mode == "auto" else target
    opens = target is State.STREAMING and kind is not Kind.EVENT
    return State.POLLING if opens and _streams_spent(follow, policy) else target


def _changed_while_polling(before: Follow, after: Follow, kind: Kind) -> bool:
    """Say whether a stream is worth another try: budgets spent, but the job moved."""
    polled = kind is Kind.OPEN_SNAPSHOT and before.state is State.POLLING
    return (
        polled and after.status is not before.status and after.streams_ruled_out is None
    )


def _is_lost(follow: Follow, policy: Policy, now: float) -> bool:
    return now >= policy.young and follow.gone >= policy.gone


def _streams_spent(follow: Follow, policy: Policy) -> bool:
    if policy.mode == "stream":
        return False
    spent = follow.cuts > policy.cuts or follow.faults > policy.faults
    return spent or follow.streams_ruled_out is not None


def _act(
    before: Follow, after: Follow, signal: Signal, how: tuple[Policy, float, float]
) -> Action | None:
    _, jitter, _ = how
    if after.state is State.ENDED:
        return _done(after, signal)
    if isinstance(signal, Event):
        return None if after.state is before.state else Poll()
    if isinstance(signal, Fault):
        return _after_fault(before, after, signal, jitter)
    if after.state is State.STREAMING:
        return Wait(schedule.backoff(after.cuts - 1, jitter), Stream(after.cursor))
    return Wait(_pace(how), Poll())


def _done(follow: Follow, signal: Signal) -> Done:
    if isinstance(signal, Snapshot) and signal.reading.status.is_open:
        reason = follow.streams_ruled_out or "cannot be streamed"
        return Done(fault=Fault(FaultKind.NOT_STREAMABLE, reason))
    if not isinstance(signal, Fault):
        return Done(status=follow.status, final=signal)
    lost = Status.LOST if signal.kind is FaultKind.GONE else None
    return Done(status=lost, fault=signal)


def _after_fault(before: Follow, after: Follow, fault: Fault, jitter: float) -> Action:
    stream = after.state is State.STREAMING
    then: Stream | Poll = Stream(after.cursor) if stream else Poll()
    left_stream = before.state is State.STREAMING and not stream
    if fault.retry_after is None and left_stream:
        return Poll()
    own = schedule.backoff(after.faults - 1, jitter)
    if fault.kind is FaultKind.GONE:
        own = schedule.upward(5.0, jitter)
    # An endpoint that asks for 0 s each time must not set the pace.
    asked = min(fault.retry_after or 0.0, schedule.RETRY_AFTER_CAP)
    return Wait(max(own, schedule.told(asked, jitter)), then)


def _pace(how: tuple[Policy, float, float]) -> float:
    policy, jitter, now = how
    if policy.interval is not None:
        return schedule.upward(policy.interval, jitter)
    pace = schedule.pace(now, bounds=policy.poll, expect=policy.expect)
    return schedule.upward(pace, jitter)
