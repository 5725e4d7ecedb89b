"""The machine that follows one job: signals in, actions out; total and without I/O.

What decides a transition stands in the TABLE; what a table cannot say (budgets, a job's
age) stands in `_guarded`.
"""

from dataclasses import replace

from bgresp.core import schedule
from bgresp.core.model import Job, Status
from bgresp.core.notes import is_stale, noted
from bgresp.core.signals import (
    Action,
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
    is_overdue,
    is_untold,
    overdue,
)


def begin(job: Job, policy: Policy) -> tuple[Follow, Action]:
    """Start following a job from its cursor; a job that ended is done at once."""
    follow = Follow(
        *(State.POLLING, job.status, job.raw_status, job.cursor), expect=job.expect
    )
    if job.started_at is not None and job.submitted_at is not None:
        follow = replace(follow, started=job.started_at - job.submitted_at)
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
    if follow.state is State.ENDED or (kind is Kind.EVENT and is_stale(follow, signal)):
        return follow, None
    if isinstance(signal, Event) and follow.state is not State.STREAMING:
        return follow, None
    after = noted(follow, signal, kind, now)
    target = _guarded(follow, after, kind, (policy, now))
    if target is State.ENDED and is_untold(after, signal, policy):
        target = State.STREAMING
    moved = replace(after, state=target)
    return moved, _act(follow, moved, signal, (policy, jitter, now))


def _ruled_out(job: Job, policy: Policy) -> str | None:
    if policy.mode == "poll":
        return "asked to poll"
    if policy.attach == "never":
        return f"{policy.name} cannot stream a running job"
    if job.streamable is False and policy.attach != "any":
        return "not created streamable"
    return None


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
    if is_overdue(follow, policy, now):
        ended = kind is Kind.OPEN_SNAPSHOT
        return State.ENDED if ended else _asked_once(target)
    if _changed_while_polling(before, follow, kind):
        return State.STREAMING if policy.mode == "auto" else target
    opens = target is State.STREAMING and kind is not Kind.EVENT
    return State.POLLING if opens and _streams_spent(follow, policy) else target


def _asked_once(target: State) -> State:
    """Leave a stream that goes on too long: only a reply says whether the job does."""
    return State.CHECKING if target is State.STREAMING else target


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
        return _done(after, signal, how[0])
    if isinstance(signal, Event):
        return None if after.state is before.state else Poll()
    if isinstance(signal, Fault):
        return _after_fault(before, after, signal, jitter)
    if after.state is State.STREAMING:
        return Wait(schedule.backoff(after.cuts - 1, jitter), Stream(after.cursor))
    return Wait(_pace(after, how), Poll())


def _done(follow: Follow, signal: Signal, policy: Policy) -> Done:
    if isinstance(signal, Snapshot) and signal.reading.status.is_open:
        if policy.mode != "stream" or follow.streams_ruled_out is None:
            return Done(fault=overdue(follow, policy))
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


def _pace(follow: Follow, how: tuple[Policy, float, float]) -> float:
    policy, jitter, now = how
    if policy.interval is not None:
        return schedule.upward(policy.interval, jitter)
    pace = schedule.pace(
        now, bounds=policy.poll, expect=follow.expect, tiers=policy.tiers
    )
    return schedule.upward(pace, jitter)
