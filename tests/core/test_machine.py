"""The machine is total: it answers every signal in every state, and absorbs the end."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.dialect import ATTACH
from bgresp.core.machine import (
    TABLE,
    Done,
    Follow,
    Policy,
    SignalKind,
    State,
    Stream,
    Wait,
    begin,
    classify,
    goes_on,
    gone_on,
    is_next_delta,
    step,
    step_in_full,
)
from bgresp.core.model import Status
from bgresp.core.schedule import RETRY_AFTER_CAP
from bgresp.core.signals import Event, Fault, FaultKind, Reading, Signal, Snapshot
from tests.core.samples import (
    BARE,
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

EXAMPLES: dict[SignalKind, Signal] = {
    SignalKind.EVENT: DELTA,
    SignalKind.FINAL_EVENT: DONE,
    SignalKind.DOUBTFUL_EVENT: BARE,
    SignalKind.ERROR_EVENT: ERROR,
    SignalKind.OPEN_SNAPSHOT: OPEN,
    SignalKind.FINAL_SNAPSHOT: FINAL,
    **{SignalKind(kind.value): fault(kind) for kind in FaultKind},
}

_READINGS = st.builds(
    partial(Reading),
    st.sampled_from(Status),
    st.text(max_size=3),
    text=st.none() | st.text(max_size=2),
    known=st.booleans(),
)
_SEQUENCES = st.none() | st.integers(-2, 20) | st.sampled_from(["", "a", "b"])
_EVENTS = st.builds(
    partial(Event),
    st.text(max_size=3),
    sequence=_SEQUENCES,
    reading=st.none() | _READINGS,
    terminal=st.booleans(),
)
_DELTAS = st.builds(
    partial(Event),
    st.just("delta"),
    sequence=st.integers(0, 20),
    delta=st.text(max_size=2),
)
_FAULTS = st.builds(
    partial(Fault),
    st.sampled_from(FaultKind),
    st.just("it broke"),
    retry_after=st.none() | st.floats(0, 1e9),
)
SIGNALS = _EVENTS | st.builds(partial(Snapshot), _READINGS) | _FAULTS
COUNTS = st.integers(0, 10)
FOLLOWS = st.builds(
    Follow,
    st.sampled_from(State),
    st.sampled_from(Status),
    cursor=_SEQUENCES,
    cuts=COUNTS,
    faults=COUNTS,
    gone=COUNTS,
    unreadable=COUNTS,
    progressed=st.booleans(),
    expect=st.none() | st.floats(0, 1e6),
    started=st.none() | st.floats(0, 1e6),
    streams_ruled_out=st.none() | st.just("why"),
)
POLICIES = st.builds(
    Policy,
    mode=st.sampled_from(["auto", "stream", "poll"]),
    interval=st.none() | st.floats(0.1, 60),
    max_run=st.just(0) | st.floats(1, 1e4),
    attach=st.sampled_from(ATTACH),
)
JITTER = st.floats(0, 1, exclude_max=True)
AGES = st.floats(-10, 1e7)
LONGEST: Final = RETRY_AFTER_CAP + 30.0


def test_the_table_has_an_answer_for_everything() -> None:
    """Every kind of signal has a target in every state, and the end is the end."""
    assert set(SignalKind) == set(TABLE)
    assert all(set(State) == set(row) for row in TABLE.values())
    assert {State.ENDED} == {row[State.ENDED] for row in TABLE.values()}
    assert set(SignalKind) == {classify(signal) for signal in EXAMPLES.values()}


@pytest.mark.parametrize("kind", SignalKind)
@pytest.mark.parametrize("state", State)
def test_the_machine_does_what_the_table_says(kind: SignalKind, state: State) -> None:
    """Within its budgets the machine goes exactly where the table points."""
    before = replace(STREAMING, state=state, status=Status.IN_PROGRESS)
    follow, _ = step_of(before, EXAMPLES[kind])
    assert TABLE[kind][state] is follow.state


_RARELY = st.sampled_from([0, 0, 0, 1])
_OFTEN = st.sampled_from([True, True, True, False])
_STEADY = st.builds(
    Follow,
    st.just(State.STREAMING),
    st.sampled_from([Status.IN_PROGRESS, Status.IN_PROGRESS, Status.QUEUED]),
    cursor=st.integers(0, 3),
    seen=COUNTS,
    gaps=COUNTS,
    answered=_OFTEN,
    faults=_RARELY,
    gone=_RARELY,
    unreadable=_RARELY,
    gone_since=st.sampled_from([None, None, 1.0]),
    progressed=_OFTEN,
    started=st.sampled_from([None, 0.0, 5.0, 5.0]),
    streams_ruled_out=st.sampled_from([None, None, "why"]),
)


@given(
    FOLLOWS | _STEADY,
    st.lists(_DELTAS | _DELTAS | SIGNALS, max_size=6),
    st.builds(
        Policy,
        mode=st.sampled_from(["auto", "stream"]),
        max_run=st.sampled_from([0.0, 1.0, 1e4]),
    ),
    JITTER,
    st.lists(st.floats(0, 200), min_size=6, max_size=6),
)
def test_the_short_way_is_the_long_way(
    follow: Follow,
    signals: list[Signal],
    policy: Policy,
    jitter: float,
    ages: list[float],
) -> None:
    """An event that only continues a stream leaves another state than the long way."""
    for signal, now in zip(signals, ages, strict=False):
        said = step(follow, signal, policy=policy, jitter=jitter, now=now)
        assert said == step_in_full(
            follow, signal, policy=policy, jitter=jitter, now=now
        )
        follow = said[0]


@given(_STEADY, st.integers(0, 5), st.integers(1, 5), JITTER)
def test_deltas_that_follow_each_other_are_one_step(
    follow: Follow, first: int, count: int, jitter: float
) -> None:
    """Deltas that are taken together leave another state than one by one."""
    policy, now = Policy(), 100.0
    deltas = [DELTA._replace(sequence=first + n) for n in range(count)]
    if not goes_on(follow, deltas[0], policy=policy, now=now):
        return
    assert all(is_next_delta(later, d.sequence) for d, later in pairwise(deltas))
    together = gone_on(follow, deltas)
    for delta in deltas:
        follow, answer = step_in_full(
            follow, delta, policy=policy, jitter=jitter, now=now
        )
        assert answer is None
    assert together == follow


@pytest.mark.parametrize(
    "other",
    [
        *(DELTA._replace(sequence=number) for number in (4, 6, None, "5")),
        *(DELTA._replace(sequence=5, error=ERROR.error), DONE, ERROR),
        *(DELTA._replace(sequence=5, item={}), DELTA._replace(sequence=5, delta=None)),
        DELTA._replace(sequence=5, reading=DONE.reading),
        *(
            DELTA._replace(sequence=5, refusal="n"),
            DELTA._replace(sequence=5, refused="n"),
        ),
    ],
    ids=str,
)
def test_only_deltas_are_taken_together(other: Event) -> None:
    """What is more than the next delta is taken as if it were no more."""
    assert is_next_delta(DELTA._replace(sequence=5), 4)
    assert not is_next_delta(other, 4)


def test_an_error_is_no_mere_continuation() -> None:
    """An `error` event whose dialect goes on after it is forgotten."""
    follow = replace(STREAMING, answered=True, progressed=True, started=0.0)
    error = ERROR._replace(sequence=4, terminal=False)
    assert not goes_on(follow, error, policy=Policy(), now=100.0)
    assert error.error == step_of(follow, error)[0].error


@pytest.mark.parametrize("mode", ["auto", "stream"])
@pytest.mark.parametrize("max_run", [0.0, 1.0])
@pytest.mark.parametrize(
    "changes",
    [
        *({}, {"answered": False}, {"progressed": False}, {"started": None}),
        *({"faults": 1}, {"gone": 1}, {"unreadable": 1}, {"gone_since": 1.0}),
        *({"streams_ruled_out": "why"}, {"cursor": None}, {"cursor": 9}),
        *({"cursor": "a"}, {"state": State.POLLING}, {"held": DONE}, {"cuts": 9}),
        *({"status": Status.QUEUED, "started": None}, {"heard_out": True}),
    ],
    ids=str,
)
def test_no_state_leads_astray(
    changes: dict[str, Any], max_run: float, mode: str
) -> None:
    """Wherever a stream runs less than well, the short way is the long one."""
    steady = replace(STREAMING, answered=True, progressed=True, started=0.0)
    follow = replace(steady, status=Status.IN_PROGRESS)
    follow = replace(follow, **changes)
    how: Any = {"policy": Policy(mode=mode, max_run=max_run), "jitter": 0.5}
    for event in (DELTA, DELTA._replace(sequence=7), ERROR, DONE):
        said = step(follow, event, now=100.0, **how)
        assert said == step_in_full(follow, event, now=100.0, **how)


@given(FOLLOWS, SIGNALS, POLICIES, JITTER, AGES)
def test_every_signal_in_every_state_has_an_answer(
    follow: Follow, signal: Signal, policy: Policy, jitter: float, now: float
) -> None:
    """No signal in any state raises; only open streams go on without an action."""
    after, action = step(follow, signal, policy=policy, jitter=jitter, now=now)
    assert isinstance(action, Done) is (
        after.state is State.ENDED and follow.state is not State.ENDED
    )
    if not isinstance(signal, Event) and follow.state is not State.ENDED:
        assert action is not None
    if isinstance(action, Wait):
        assert 0 < action.seconds <= LONGEST
        assert isinstance(action.then, Stream) is (after.state is State.STREAMING)
    if policy.mode == "poll" and follow.state is not State.STREAMING:
        follow = replace(follow, streams_ruled_out="asked to poll")
        after, _ = step(follow, signal, policy=policy, jitter=jitter, now=now)
        assert after.state is not State.STREAMING


@given(FOLLOWS, st.lists(SIGNALS, max_size=5), POLICIES, JITTER, AGES)
def test_the_end_absorbs(
    follow: Follow, signals: list[Signal], policy: Policy, jitter: float, now: float
) -> None:
    """After the end nothing is answered and nothing changes."""
    ended = replace(follow, state=State.ENDED)
    for signal in signals:
        assert (ended, None) == step(
            ended, signal, policy=policy, jitter=jitter, now=now
        )


@given(FOLLOWS, SIGNALS, POLICIES, JITTER)
def test_retry_after_is_never_undercut(
    follow: Follow, signal: Signal, policy: Policy, jitter: float
) -> None:
    """An endpoint that asks for a wait gets it, up to an hour, whatever the state."""
    _, action = step(follow, signal, policy=policy, jitter=jitter, now=100.0)
    asked = signal.retry_after if isinstance(signal, Fault) else None
    if asked is not None and action is not None and not isinstance(action, Done):
        assert isinstance(action, Wait)
        assert action.seconds >= min(asked, RETRY_AFTER_CAP)


@given(st.none() | st.integers(-1, 9), st.lists(_EVENTS | _FAULTS, max_size=20))
def test_the_cursor_never_falls(start: int | None, signals: list[Signal]) -> None:
    """Whatever numbers arrive in whatever order, the cursor only grows."""
    follow = replace(STREAMING, cursor=start)
    for signal in signals:
        if isinstance(signal, Event) and isinstance(signal.sequence, str):
            continue
        before, (follow, _) = follow.cursor, step_of(follow, signal)
        if before is not None:
            assert follow.cursor is not None
            assert int(follow.cursor) >= int(before)


@given(FOLLOWS, _EVENTS.filter(lambda event: event.sequence is not None), POLICIES)
def test_a_duplicate_changes_nothing(
    follow: Follow, event: Event, policy: Policy
) -> None:
    """An event that comes twice is as one that came once."""
    once, _ = step_of(follow, event, policy)
    assert (once, None) == step_of(once, event, policy)


@given(st.lists(st.integers(0, 6), max_size=12))
def test_old_numbers_count_for_nothing(numbers: list[int]) -> None:
    """Events count once each, in rising order; what is below the cursor is dropped."""
    follow = replace(STREAMING, cursor=None)
    expected: list[int] = []
    for number in numbers:
        follow, action = step_of(follow, Event("x", sequence=number))
        assert action is None
        if not expected or number > expected[-1]:
            expected.append(number)
    assert len(expected) == follow.seen
    pairs = zip([0, *expected], expected, strict=False)
    assert follow.gaps == sum(now > before + 1 for before, now in pairs)


def test_what_never_let_a_request_through_ends_the_following() -> None:
    """A wrong certificate is asked again for ever, or ends what had been answered."""
    wrong = fault("unreachable")._replace(setup="see SSL_CERT_FILE")
    for mode in ("auto", "poll"):
        policy = Policy(mode=mode)
        follow, _ = begin(JOB, policy)
        ended, action = step_of(follow, wrong, policy)
        assert (State.ENDED, Done(fault=wrong)) == (ended.state, action)
        tried, _ = step_of(follow, fault("unreachable"), policy)
        assert State.ENDED is not tried.state
        assert State.ENDED is step_of(tried, wrong, policy)[0].state
        heard, _ = step_of(follow, QUEUED if mode == "auto" else OPEN, policy)
        assert State.ENDED is not step_of(heard, wrong, policy)[0].state
