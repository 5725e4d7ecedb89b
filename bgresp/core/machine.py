"""The machine that follows one job: signals in, actions out; total and without I/O.

A signal is classified, written down, looked up in the TABLE of transitions, and
answered. What a table cannot say (budgets, a job's age) stands in `_guarded`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bgresp.core import schedule
from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.schedule import TIERS, YOUNG, Tiers
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot

GRACE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Stream:
    """Open the event stream after this cursor; None asks from the start."""

    starting_after: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """Retrieve the response once."""


POLL: Final = Poll()  # many jobs wait for one: it is held once


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `seconds` pass, then do what follows."""

    seconds: float
    then: Stream | Poll = POLL


@dataclass(frozen=True, slots=True)
class Done:
    """Stop following: `final` holds the last word, or `fault` why there is none."""

    status: Status | None = None
    final: Event | Snapshot | None = None
    fault: Fault | None = None


Action = Stream | Poll | Wait | Done


class State(StrEnum):
    """Where the machine stands."""

    STREAMING = "streaming"  # a stream is open, or about to be
    CHECKING = "checking"  # the stream told nothing sure: ask once, then decide
    POLLING = "polling"  # asking at the pace of the job's age
    ENDED = "ended"


class SignalKind(StrEnum):
    """What a signal means to the machine."""

    EVENT = "event"
    FINAL_EVENT = "final event"
    DOUBTFUL_EVENT = "doubtful end"
    ERROR_EVENT = "error event"
    OPEN_SNAPSHOT = "open snapshot"
    FINAL_SNAPSHOT = "final snapshot"
    CLOSED = "closed"
    IDLE = "idle"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    UNREADABLE = "unreadable"
    NOT_STREAMABLE = "not_streamable"
    GONE = "gone"
    REFUSED = "refused"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user and the dialect allow: mode, pace and budgets.

    `poll` is the range of the pace in seconds and `tiers` its steps by age; `interval`
    overrides both. `max_run` is how long the endpoint lets a job run; 0: unknown.
    `attach` says which jobs it streams after their creation: if_streamed, any, never.
    A job is lost after `gone` replies that it is not there, over `gone_over` seconds.
    """

    mode: str = "auto"
    poll: tuple[float, float] = (1.0, 60.0)
    tiers: Tiers = TIERS
    interval: float | None = None
    max_run: float = 0.0
    attach: str = "if_streamed"
    name: str = "this endpoint"
    cuts: int = 5
    faults: int = 5
    young: float = YOUNG
    gone: int = 3
    gone_over: float = 60.0


@dataclass(frozen=True, slots=True)
class Follow:
    """What is known while following one job.

    `answered`: the endpoint did, once. `seen` counts the events that were new; `cuts`
    the streams that ended without one; `faults` the failures since the last good reply,
    `unreadable` those of them that could not be read; `gaps` the holes in the
    numbering; `uncounted` that text came without a number: then none of them says how
    far a stream was read. `heard_out`: one came to its own end. `expect` is how long
    the job may take, `started` its age in seconds when it was first seen running,
    `gone_since` when it was first told to be not there without any other word since.
    `held` is a terminal event without text: the last word, unless the endpoint tells
    more when it is asked. `error` is what an `error` event said: the reason of a job
    that failed, where its response tells none.
    """

    state: State
    status: Status
    raw_status: str | None = None
    cursor: Cursor | None = None
    answered: bool = False
    seen: int = 0
    gaps: int = 0
    uncounted: bool = False
    cuts: int = 0
    faults: int = 0
    gone: int = 0
    gone_since: float | None = None
    unreadable: int = 0
    progressed: bool = False
    heard_out: bool = False
    expect: float | None = None
    started: float | None = None
    streams_ruled_out: str | None = None
    held: Event | None = None
    error: ResponseError | None = None


_S, _C, _P, _E = State.STREAMING, State.CHECKING, State.POLLING, State.ENDED
TABLE: Final[dict[SignalKind, dict[State, State]]] = {
    SignalKind.EVENT: {_S: _S, _C: _C, _P: _P, _E: _E},
    SignalKind.FINAL_EVENT: {_S: _E, _C: _C, _P: _P, _E: _E},
    SignalKind.DOUBTFUL_EVENT: {_S: _C, _C: _C, _P: _P, _E: _E},
    SignalKind.ERROR_EVENT: {_S: _S, _C: _C, _P: _P, _E: _E},
    SignalKind.OPEN_SNAPSHOT: {_S: _P, _C: _S, _P: _P, _E: _E},
    SignalKind.FINAL_SNAPSHOT: {_S: _E, _C: _E, _P: _E, _E: _E},
    SignalKind.CLOSED: {_S: _C, _C: _C, _P: _P, _E: _E},
    SignalKind.IDLE: {_S: _C, _C: _C, _P: _P, _E: _E},
    SignalKind.UNREACHABLE: {_S: _S, _C: _C, _P: _P, _E: _E},
    SignalKind.RATE_LIMITED: {_S: _S, _C: _C, _P: _P, _E: _E},
    SignalKind.UNREADABLE: {_S: _C, _C: _C, _P: _P, _E: _E},
    SignalKind.NOT_STREAMABLE: {_S: _P, _C: _P, _P: _P, _E: _E},
    SignalKind.GONE: {_S: _C, _C: _C, _P: _P, _E: _E},
    SignalKind.REFUSED: {_S: _E, _C: _E, _P: _E, _E: _E},
    SignalKind.AMBIGUOUS: {_S: _C, _C: _C, _P: _P, _E: _E},
}


_GOES_ON: Final = frozenset({SignalKind.EVENT, SignalKind.ERROR_EVENT})
_UNSURE: Final = frozenset({SignalKind.DOUBTFUL_EVENT, SignalKind.ERROR_EVENT})


def begin(job: Job, policy: Policy) -> tuple[Follow, Action]:
    """Start following a job from its cursor; a job that ended is done at once."""
    follow = Follow(
        state=State.POLLING,
        status=job.status,
        raw_status=job.raw_status,
        cursor=job.cursor,
        expect=job.expect,
    )
    if job.started_at is not None and job.submitted_at is not None:
        ran = job.started_at - job.submitted_at  # below 0 where a clock was set back
        follow = replace(follow, started=max(0.0, ran))
    if not job.status.is_open:
        return replace(follow, state=State.ENDED), Done(status=job.status)
    reason = _ruled_out(job, policy)
    if reason and policy.mode == "stream":
        fault = Fault(FaultKind.NOT_STREAMABLE, reason)
        return replace(follow, state=State.ENDED), Done(fault=fault)
    if reason:
        return replace(follow, streams_ruled_out=reason), POLL
    return replace(follow, state=State.STREAMING), Stream(job.cursor)


def step(
    follow: Follow, signal: Signal, *, policy: Policy, jitter: float, now: float
) -> tuple[Follow, Action | None]:
    """Answer one signal; None means: go on reading what is open.

    `now` is the job's age in seconds, `jitter` a number in [0, 1).
    """
    if isinstance(signal, Event) and goes_on(follow, signal, policy=policy, now=now):
        return gone_on(follow, [signal]), None
    return step_in_full(follow, signal, policy=policy, jitter=jitter, now=now)


def step_in_full(
    follow: Follow, signal: Signal, *, policy: Policy, jitter: float, now: float
) -> tuple[Follow, Action | None]:
    """Answer one signal as `step` does, without its short way."""
    kind = classify(signal)
    if kind is SignalKind.UNREACHABLE and _is_set_up_wrong(follow, signal):
        kind = SignalKind.REFUSED
    if follow.state is State.ENDED:
        return follow, None
    if kind is SignalKind.EVENT and _is_stale(follow, signal):
        return follow, None
    if isinstance(signal, Event) and follow.state is not State.STREAMING:
        return follow, None
    after = _noted(follow, signal, kind, now=now)
    if after.held is not None and not isinstance(signal, Event):
        target = _with_answer(after, signal, kind, policy)
    else:
        target = _guarded(follow, after, kind, policy=policy, now=now)
    if target is State.ENDED and _is_untold(after, signal, policy):
        target = State.STREAMING
    moved = replace(after, state=target)
    answer = _answer(follow, moved, signal, policy=policy, jitter=jitter, now=now)
    return moved, answer


def goes_on(follow: Follow, event: Event, *, policy: Policy, now: float) -> bool:
    """Say whether an event only continues a stream that runs well: most of all do.

    Then nothing changes but how far the stream was read. `now` is the job's age.
    """
    cursor, number = follow.cursor, event.sequence
    return (
        follow.state is State.STREAMING
        and event.reading is None
        and event.error is None
        and not event.terminal
        and isinstance(cursor, int)
        and isinstance(number, int)
        and number > cursor
        and follow.answered
        and follow.progressed
        and not (follow.faults or follow.gone or follow.unreadable)
        and follow.gone_since is None
        and (follow.started is not None or follow.status is not Status.IN_PROGRESS)
        and follow.streams_ruled_out is None
        and not _is_overdue(follow, policy, now)
    )


def is_next_delta(event: Event, cursor: Cursor | None) -> bool:
    """Say whether an event tells text and no more, and is the one after a cursor."""
    number = event.sequence
    return (
        event.delta is not None
        and isinstance(number, int)
        and isinstance(cursor, int)
        and number == cursor + 1
        and event.reading is None
        and event.error is None
        and event.item is None
        and event.refusal is None
        and event.refused is None
        and not event.terminal
    )


def gone_on(follow: Follow, events: Sequence[Event]) -> Follow:
    """Return what is known after events that go on, each with the next number."""
    gaps = follow.gaps + _gap(follow.cursor, events[0].sequence)
    seen = follow.seen + len(events)
    return replace(follow, cursor=events[-1].sequence, seen=seen, gaps=gaps)


def _ruled_out(job: Job, policy: Policy) -> str | None:
    if policy.mode == "poll":
        return "asked to poll"
    if policy.attach == "never":
        return f"{policy.name} cannot stream a running job"
    if job.streamable is False and policy.attach != "any":
        return "not created streamable"
    return None


def classify(signal: Signal) -> SignalKind:
    """Say what a signal means to the machine."""
    if isinstance(signal, Fault):
        return SignalKind(signal.kind.value)
    if isinstance(signal, Snapshot):
        terminal = signal.reading.status.is_terminal
        return SignalKind.FINAL_SNAPSHOT if terminal else SignalKind.OPEN_SNAPSHOT
    if signal.error is not None and signal.reading is None:
        return SignalKind.ERROR_EVENT  # the object that follows is the end
    if not signal.terminal:
        return SignalKind.EVENT
    return SignalKind.FINAL_EVENT if _is_sure(signal) else SignalKind.DOUBTFUL_EVENT


def _is_sure(event: Event) -> bool:
    """Say whether an event is the last word: a completed answer has to have text."""
    reading = event.reading
    if reading is None or not reading.status.is_terminal:
        return False
    return reading.text is not None or reading.status is not Status.COMPLETED


def _is_set_up_wrong(follow: Follow, signal: Signal) -> bool:
    """Say whether this machine's configuration never let a request through.

    A network that asked for a password on the way may have stopped to, and a laptop may
    be in a train: once the endpoint has answered, its job is asked for again.
    """
    return (
        isinstance(signal, Fault) and signal.setup is not None and not follow.answered
    )


def _is_stale(follow: Follow, signal: Signal) -> bool:
    """Say whether an event was seen before; a number at or below the cursor was."""
    if not isinstance(signal, Event) or signal.sequence is None:
        return False
    if isinstance(signal.sequence, int) and isinstance(follow.cursor, int):
        return signal.sequence <= follow.cursor
    return signal.sequence == follow.cursor


def _noted(follow: Follow, signal: Signal, kind: SignalKind, *, now: float) -> Follow:
    """Write down what the signal says, before deciding what it leads to.

    A stream that ended without telling anything sure is a cut, whatever ended it. `now`
    is the job's age in seconds.
    """
    after = _gone_since(_noted_signal(follow, signal, kind), now)
    after = _running_since(after, now)
    if (
        follow.state is State.STREAMING
        and TABLE[kind][State.STREAMING] is State.CHECKING
    ):
        cuts = 1 if follow.progressed else follow.cuts + 1
        return replace(after, cuts=cuts, progressed=False)
    return after


def _gone_since(follow: Follow, now: float) -> Follow:
    if not follow.gone:
        return replace(follow, gone_since=None)
    since = now if follow.gone_since is None else follow.gone_since
    return replace(follow, gone_since=since)


def _running_since(follow: Follow, now: float) -> Follow:
    if follow.started is not None or follow.status is not Status.IN_PROGRESS:
        return follow
    return replace(follow, started=now)


def _noted_signal(follow: Follow, signal: Signal, kind: SignalKind) -> Follow:
    if not isinstance(signal, Fault) and not follow.answered:
        follow = replace(follow, answered=True)
    if isinstance(signal, Event):
        return _noted_event(follow, signal)
    if isinstance(signal, Snapshot):
        if follow.held is not None and kind is SignalKind.OPEN_SNAPSHOT:
            return replace(follow, faults=follow.faults + 1)  # it lags behind
        status, word = signal.reading.status, signal.reading.raw_status
        if not signal.reading.known and follow.status.is_open:
            status = follow.status
        ruled_out = follow.streams_ruled_out
        if follow.state is State.STREAMING and ruled_out is None:
            ruled_out = "the endpoint answered with JSON, not events"
        noted = replace(follow, status=status, raw_status=word, faults=0, gone=0)
        return replace(noted, unreadable=0, streams_ruled_out=ruled_out)
    return _noted_fault(follow, signal, kind)


def _noted_fault(follow: Follow, fault: Fault, kind: SignalKind) -> Follow:
    if kind is SignalKind.GONE:
        return replace(follow, gone=follow.gone + 1)
    streaming = follow.state is State.STREAMING
    if streaming and kind in {SignalKind.CLOSED, SignalKind.IDLE, SignalKind.AMBIGUOUS}:
        return follow
    if kind is SignalKind.NOT_STREAMABLE:
        follow = replace(follow, streams_ruled_out=fault.message)
    elif kind is SignalKind.UNREADABLE:
        follow = replace(follow, unreadable=follow.unreadable + 1)
    return replace(follow, faults=follow.faults + 1)


def _noted_event(follow: Follow, event: Event) -> Follow:
    status, word = follow.status, follow.raw_status
    if event.reading is not None:
        status = event.reading.status if event.reading.known else follow.status
        word = event.reading.raw_status
    cursor = follow.cursor if event.sequence is None else event.sequence
    unsure = classify(event) in _UNSURE
    if unsure or _is_stale(follow, event):
        cursor = follow.cursor  # an error may be given a number that is used again
    uncounted = follow.uncounted or (event.sequence is None and _adds(event))
    if uncounted:
        cursor = None  # what goes on after a number would tell that text again
    return replace(
        follow,
        status=status,
        raw_status=word,
        cursor=cursor,
        seen=follow.seen + 1,
        gaps=follow.gaps + (0 if uncounted else _gap(follow.cursor, event.sequence)),
        uncounted=uncounted,
        faults=0,
        gone=0,
        unreadable=0,
        progressed=follow.progressed or (not unsure and _is_new(follow, event)),
        heard_out=follow.heard_out or event.terminal,
        held=event if _is_held(event) else follow.held,
        error=event.error or follow.error,
    )


def _is_held(event: Event) -> bool:
    """Say whether an event brought the last word, though maybe not all of it."""
    return event.reading is not None and event.reading.status.is_terminal


def _adds(event: Event) -> bool:
    """Say whether an event adds to the answer: taken twice, it would be there twice."""
    pieces = (event.delta, event.refusal, event.grown)
    return any(piece is not None for piece in pieces)


def _is_new(follow: Follow, event: Event) -> bool:
    """Say whether an event is surely new: only numbers tell it from a replay."""
    numbered = isinstance(event.sequence, int) and not follow.uncounted
    return numbered and not _is_stale(follow, event)


def _gap(cursor: Cursor | None, sequence: Cursor | None) -> int:
    if not isinstance(sequence, int):
        return 0
    if cursor is None:
        return int(sequence > 1)  # servers number from 0 or from 1
    return int(isinstance(cursor, int) and sequence > cursor + 1)


def _guarded(
    before: Follow, follow: Follow, kind: SignalKind, *, policy: Policy, now: float
) -> State:
    """Look the target up, then let budgets and age overrule it."""
    target = TABLE[kind][follow.state]
    if kind is SignalKind.GONE and _is_lost(follow, policy, now):
        return State.ENDED
    if kind is SignalKind.UNREADABLE and follow.unreadable > policy.faults:
        return State.ENDED
    if policy.mode == "stream" and follow.streams_ruled_out is not None:
        return State.ENDED
    if _is_overdue(follow, policy, now):
        ended = kind is SignalKind.OPEN_SNAPSHOT
        return State.ENDED if ended else _asked_once(target)
    if _changed_while_polling(before, follow, kind):
        return State.STREAMING if policy.mode == "auto" else target
    opens = target is State.STREAMING and kind not in _GOES_ON
    return State.POLLING if opens and _streams_spent(follow, policy) else target


def _with_answer(
    follow: Follow, signal: Snapshot | Fault, kind: SignalKind, policy: Policy
) -> State:
    """Say whether to ask once more, though a terminal event is in hand already.

    Nothing that comes later takes it away: an endpoint may store nothing.
    """
    spent = follow.faults > policy.faults
    long = (signal.retry_after or 0.0) > GRACE
    last = kind in {SignalKind.FINAL_SNAPSHOT, SignalKind.GONE, SignalKind.REFUSED}
    return State.ENDED if last or spent or long else State.CHECKING


def _asked_once(target: State) -> State:
    """Leave a stream that goes on too long: only a reply says whether the job does."""
    return State.CHECKING if target is State.STREAMING else target


def _changed_while_polling(before: Follow, after: Follow, kind: SignalKind) -> bool:
    """Say whether a stream is worth another try: budgets spent, but the job moved."""
    polled = kind is SignalKind.OPEN_SNAPSHOT and before.state is State.POLLING
    return (
        polled and after.status is not before.status and after.streams_ruled_out is None
    )


def _is_lost(follow: Follow, policy: Policy, now: float) -> bool:
    since = now if follow.gone_since is None else follow.gone_since
    long = now >= policy.young and now - since >= policy.gone_over
    return long and follow.gone >= policy.gone


def _streams_spent(follow: Follow, policy: Policy) -> bool:
    if policy.mode == "stream":
        return False
    spent = follow.cuts > policy.cuts or follow.faults > policy.faults
    return spent or follow.streams_ruled_out is not None


def _is_overdue(follow: Follow, policy: Policy, now: float) -> bool:
    """Say whether a job runs longer than its endpoint lets any job run.

    Some leave a job that died `in_progress` for ever. `now` is the job's age.
    """
    if not policy.max_run or follow.started is None:
        return False
    grace = max(GRACE, policy.max_run / 10)
    runs = follow.status is Status.IN_PROGRESS
    return runs and now - follow.started > policy.max_run + grace


def _overdue(follow: Follow, policy: Policy) -> Fault:
    """Return why an open job is followed no longer."""
    most = f"{policy.max_run / 60:g} min"
    word = follow.raw_status or follow.status.value
    said = f"still {word}, though no job may run over {most}: cancel it, or ask later"
    return Fault(FaultKind.IDLE, said)


def is_whole(snapshot: Snapshot) -> bool:
    """Say whether a response is the last word: ended, and its answer's text is told."""
    status, text = snapshot.reading.status, snapshot.reading.text
    told = text is not None or snapshot.unread is not None
    return status.is_terminal and (told or not status.has_answer)


def _is_untold(follow: Follow, signal: Signal, policy: Policy) -> bool:
    """Say whether only the stream that was cut may tell an answer's text.

    Some endpoints leave it out of the response (WIRE.md 2.3).
    """
    if follow.state is not State.CHECKING or not isinstance(signal, Snapshot):
        return False
    if is_whole(signal) or not signal.reading.status.has_answer:
        return False
    if follow.heard_out or follow.streams_ruled_out is not None:
        return False
    return follow.cuts <= policy.cuts


def _answer(
    before: Follow,
    after: Follow,
    signal: Signal,
    *,
    policy: Policy,
    jitter: float,
    now: float,
) -> Action | None:
    """Say what is to be done now that the machine stands where it does."""
    if after.state is State.ENDED:
        return _done(after, signal, policy)
    if isinstance(signal, Event):
        return None if after.state is before.state else POLL
    if isinstance(signal, Fault):
        return _after_fault(before, after, signal, jitter)
    return _after_reply(after, policy=policy, jitter=jitter, now=now)


def _done(follow: Follow, signal: Signal, policy: Policy) -> Done:
    if follow.held is not None and classify(signal) is not SignalKind.FINAL_SNAPSHOT:
        return Done(status=follow.status, final=follow.held)
    if isinstance(signal, Snapshot) and signal.reading.status.is_open:
        if policy.mode != "stream" or follow.streams_ruled_out is None:
            return Done(fault=_overdue(follow, policy))
        reason = follow.streams_ruled_out or "cannot be streamed"
        return Done(fault=Fault(FaultKind.NOT_STREAMABLE, reason))
    if not isinstance(signal, Fault):
        return Done(status=follow.status, final=signal)
    lost = Status.LOST if signal.kind is FaultKind.GONE else None
    return Done(status=lost, fault=signal)


def _after_fault(before: Follow, after: Follow, fault: Fault, jitter: float) -> Action:
    stream = after.state is State.STREAMING
    then: Stream | Poll = Stream(after.cursor) if stream else POLL
    left_stream = before.state is State.STREAMING and not stream
    if fault.retry_after is None and left_stream:
        return POLL
    own = schedule.backoff(after.faults - 1, jitter)
    if fault.kind is FaultKind.GONE:
        own = schedule.upward(5.0, jitter)
    # An endpoint that asks for 0 s each time must not set the pace.
    asked = min(fault.retry_after or 0.0, schedule.RETRY_AFTER_CAP)
    return Wait(max(own, schedule.spread(asked, jitter)), then)


def _after_reply(
    follow: Follow, *, policy: Policy, jitter: float, now: float
) -> Action:
    """Say when an open job is asked again, or streamed again after a cut."""
    if follow.state is State.STREAMING:
        return Wait(schedule.backoff(follow.cuts - 1, jitter), Stream(follow.cursor))
    if follow.held is not None:
        return Wait(schedule.backoff(follow.faults - 1, jitter), POLL)
    if policy.interval is not None:
        return Wait(schedule.upward(policy.interval, jitter), POLL)
    pace = schedule.pace(
        now, bounds=policy.poll, expect=follow.expect, tiers=policy.tiers
    )
    return Wait(schedule.upward(pace, jitter), POLL)
