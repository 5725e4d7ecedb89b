"""Where the machine may stand, what moves it, and its transitions: data."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bgresp.core.model import Status
from bgresp.core.schedule import TIERS, Tiers
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot

GRACE: Final = 60.0


class State(StrEnum):
    """Where the machine stands."""

    STREAMING = "streaming"  # a stream is open, or about to be
    CHECKING = "checking"  # the stream told nothing sure: ask once, then decide
    POLLING = "polling"  # asking at the pace of the job's age
    ENDED = "ended"


class Kind(StrEnum):
    """What a signal means to the machine."""

    EVENT = "event"
    FINAL_EVENT = "final event"
    DOUBTFUL_EVENT = "doubtful end"
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
    young: float = 60.0
    gone: int = 3


@dataclass(frozen=True, slots=True)
class Follow:
    """What is known while following one job.

    `seen` counts the events that were new; `cuts` the streams that ended without one;
    `faults` the failures since the last good reply, `unreadable` those of them that
    could not be read; `gaps` the holes in the numbering; `heard_out` that a stream came
    to its own end. `expect` is how long the job may take, `started` its age in seconds
    when it was first seen running.
    """

    state: State
    status: Status
    raw_status: str | None = None
    cursor: Cursor | None = None
    seen: int = 0
    gaps: int = 0
    cuts: int = 0
    faults: int = 0
    gone: int = 0
    unreadable: int = 0
    progressed: bool = False
    heard_out: bool = False
    expect: float | None = None
    started: float | None = None
    streams_ruled_out: str | None = None


_S, _C, _P, _E = State.STREAMING, State.CHECKING, State.POLLING, State.ENDED
TABLE: Final[dict[Kind, dict[State, State]]] = {
    Kind.EVENT: {_S: _S, _C: _C, _P: _P, _E: _E},
    Kind.FINAL_EVENT: {_S: _E, _C: _C, _P: _P, _E: _E},
    Kind.DOUBTFUL_EVENT: {_S: _C, _C: _C, _P: _P, _E: _E},
    Kind.OPEN_SNAPSHOT: {_S: _P, _C: _S, _P: _P, _E: _E},
    Kind.FINAL_SNAPSHOT: {_S: _E, _C: _E, _P: _E, _E: _E},
    Kind.CLOSED: {_S: _C, _C: _C, _P: _P, _E: _E},
    Kind.IDLE: {_S: _C, _C: _C, _P: _P, _E: _E},
    Kind.UNREACHABLE: {_S: _S, _C: _C, _P: _P, _E: _E},
    Kind.RATE_LIMITED: {_S: _S, _C: _C, _P: _P, _E: _E},
    Kind.UNREADABLE: {_S: _C, _C: _C, _P: _P, _E: _E},
    Kind.NOT_STREAMABLE: {_S: _P, _C: _P, _P: _P, _E: _E},
    Kind.GONE: {_S: _C, _C: _C, _P: _P, _E: _E},
    Kind.REFUSED: {_S: _E, _C: _E, _P: _E, _E: _E},
    Kind.AMBIGUOUS: {_S: _C, _C: _C, _P: _P, _E: _E},
}


def classify(signal: Signal) -> Kind:
    """Say what a signal means to the machine."""
    if isinstance(signal, Fault):
        return Kind(signal.kind.value)
    if isinstance(signal, Snapshot):
        terminal = signal.reading.status.is_terminal
        return Kind.FINAL_SNAPSHOT if terminal else Kind.OPEN_SNAPSHOT
    if not signal.terminal:
        return Kind.EVENT
    return Kind.FINAL_EVENT if _is_sure(signal) else Kind.DOUBTFUL_EVENT


def _is_sure(event: Event) -> bool:
    """Say whether an event is the last word: a completed answer has to have text."""
    reading = event.reading
    if reading is None or not reading.status.is_terminal:
        return False
    return reading.text is not None or reading.status is not Status.COMPLETED


def is_overdue(follow: Follow, policy: Policy, now: float) -> bool:
    """Say whether a job runs longer than its endpoint lets any job run.

    Some leave a job that died `in_progress` for ever. `now` is the job's age.
    """
    if not policy.max_run or follow.started is None:
        return False
    grace = max(GRACE, policy.max_run / 10)
    runs = follow.status is Status.IN_PROGRESS
    return runs and now - follow.started > policy.max_run + grace


def overdue(follow: Follow, policy: Policy) -> Fault:
    """Return why an open job is followed no longer."""
    most = f"{policy.max_run / 60:g} min"
    word = follow.raw_status or follow.status.value
    said = f"still {word}, though no job may run over {most}: cancel it, or ask later"
    return Fault(FaultKind.IDLE, said)


def is_untold(follow: Follow, signal: Signal, policy: Policy) -> bool:
    """Say whether only the stream that was cut may tell an answer's text.

    Some endpoints leave it out of the response (WIRE.md 2.3).
    """
    if follow.state is not State.CHECKING or not isinstance(signal, Snapshot):
        return False
    whole = signal.reading.text is not None or signal.unread is not None
    done = signal.reading.status in {Status.COMPLETED, Status.INCOMPLETE}
    if whole or not done or follow.heard_out or follow.streams_ruled_out is not None:
        return False
    return follow.cuts <= policy.cuts
