"""The machine answers everything, absorbs the end, and leaves endpoints alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.follow import (
    TABLE,
    Follow,
    Kind,
    Policy,
    State,
    begin,
    classify,
    step,
)
from bgresp.core.model import Job, Status
from bgresp.core.schedule import RETRY_AFTER_CAP
from bgresp.core.signals import (
    Action,
    Done,
    Event,
    Fault,
    FaultKind,
    Poll,
    Reading,
    Signal,
    Snapshot,
    Stream,
    Wait,
)

HOUR: Final = 3600.0
JOB: Final = Job("k", Status.QUEUED, id="resp_1", cursor=3)
STREAMING: Final = Follow(State.STREAMING, Status.QUEUED, cursor=3)
OPEN: Final = Snapshot(Reading(Status.IN_PROGRESS, "in_progress"))
QUEUED: Final = Snapshot(Reading(Status.QUEUED, "queued"))
FINAL: Final = Snapshot(Reading(Status.COMPLETED, "completed", text="x"))
DONE: Final = Event(
    "response.completed", sequence=9, reading=FINAL.reading, terminal=True
)
ERROR: Final = Event("error", sequence=9, terminal=True)
DELTA: Final = Event("response.output_text.delta", sequence=4, delta="x")


def _fault(kind: str, retry_after: float | None = None) -> Fault:
    return Fault(FaultKind(kind), "it broke", retry_after=retry_after)


EXAMPLES: dict[Kind, Signal] = {
    Kind.EVENT: DELTA,
    Kind.FINAL_EVENT: DONE,
    Kind.DOUBTFUL_EVENT: ERROR,
    Kind.OPEN_SNAPSHOT: OPEN,
    Kind.FINAL_SNAPSHOT: FINAL,
    **{Kind(kind.value): _fault(kind) for kind in FaultKind},
}

_READINGS = st.builds(
    Reading,
    st.sampled_from(Status),
    st.text(max_size=3),
    text=st.none() | st.text(max_size=2),
    known=st.booleans(),
)
_SEQUENCES = st.none() | st.integers(-2, 20) | st.sampled_from(["", "a", "b"])
_EVENTS = st.builds(
    Event,
    st.text(max_size=3),
    sequence=_SEQUENCES,
    reading=st.none() | _READINGS,
    terminal=st.booleans(),
)
_FAULTS = st.builds(
    Fault,
    st.sampled_from(FaultKind),
    st.just("it broke"),
    retry_after=st.none() | st.floats(0, 1e9),
)
SIGNALS = _EVENTS | st.builds(Snapshot, _READINGS) | _FAULTS
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
    streams_ruled_out=st.none() | st.just("why"),
)
POLICIES = st.builds(
    Policy,
    mode=st.sampled_from(["auto", "stream", "poll"]),
    interval=st.none() | st.floats(0.1, 60),
    expect=st.none() | st.floats(0, 1e6),
    attach=st.booleans(),
)
JITTER = st.floats(0, 1, exclude_max=True)
AGES = st.floats(-10, 1e7)
LONGEST: Final = RETRY_AFTER_CAP + 30.0


def _step(
    follow: Follow, signal: Signal, policy: Policy | None = None, now: float = 100.0
) -> tuple[Follow, Action | None]:
    return step(follow, signal, policy or Policy(), 0.5, now)


def test_the_table_has_an_answer_for_everything() -> None:
    """Every kind of signal has a target in every state, and the end is the end."""
    assert set(Kind) == set(TABLE)
    assert all(set(State) == set(row) for row in TABLE.values())
    assert {State.ENDED} == {row[State.ENDED] for row in TABLE.values()}
    assert set(Kind) == {classify(signal) for signal in EXAMPLES.values()}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("state", State)
def test_the_machine_does_what_the_table_says(kind: Kind, state: State) -> None:
    """Within its budgets the machine goes exactly where the table points."""
    before = replace(STREAMING, state=state, status=Status.IN_PROGRESS)
    follow, _ = _step(before, EXAMPLES[kind])
    assert TABLE[kind][state] is follow.state


@given(FOLLOWS, SIGNALS, POLICIES, JITTER, AGES)
def test_every_signal_in_every_state_has_an_answer(
    follow: Follow, signal: Signal, policy: Policy, jitter: float, now: float
) -> None:
    """No signal in any state raises; only open streams go on without an action."""
    after, action = step(follow, signal, policy, jitter, now)
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
        after, _ = step(follow, signal, policy, jitter, now)
        assert after.state is not State.STREAMING


@given(FOLLOWS, st.lists(SIGNALS, max_size=5), POLICIES, JITTER, AGES)
def test_the_end_absorbs(
    follow: Follow, signals: list[Signal], policy: Policy, jitter: float, now: float
) -> None:
    """After the end nothing is answered and nothing changes."""
    ended = replace(follow, state=State.ENDED)
    for signal in signals:
        assert (ended, None) == step(ended, signal, policy, jitter, now)


@given(FOLLOWS, SIGNALS, POLICIES, JITTER)
def test_retry_after_is_never_undercut(
    follow: Follow, signal: Signal, policy: Policy, jitter: float
) -> None:
    """An endpoint that asks for a wait gets it, up to an hour, whatever the state."""
    _, action = step(follow, signal, policy, jitter, 100.0)
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
        before, (follow, _) = follow.cursor, _step(follow, signal)
        if before is not None:
            assert follow.cursor is not None
            assert int(follow.cursor) >= int(before)


@given(FOLLOWS, _EVENTS.filter(lambda event: event.sequence is not None), POLICIES)
def test_a_duplicate_changes_nothing(
    follow: Follow, event: Event, policy: Policy
) -> None:
    """An event that comes twice is as one that came once."""
    once, _ = _step(follow, event, policy)
    assert (once, None) == _step(once, event, policy)


@given(st.lists(st.integers(0, 6), max_size=12))
def test_old_numbers_count_for_nothing(numbers: list[int]) -> None:
    """Events count once each, in rising order; what is below the cursor is dropped."""
    follow = replace(STREAMING, cursor=None)
    expected: list[int] = []
    for number in numbers:
        follow, action = _step(follow, Event("x", sequence=number))
        assert action is None
        if not expected or number > expected[-1]:
            expected.append(number)
    assert len(expected) == follow.seen
    pairs = zip([0, *expected], expected, strict=False)
    assert follow.gaps == sum(now > before + 1 for before, now in pairs)


@pytest.mark.parametrize(
    ("job", "policy", "state", "action"),
    [
        (JOB, Policy(), State.STREAMING, Stream(3)),
        (replace(JOB, cursor=None), Policy(), State.STREAMING, Stream(None)),
        (JOB, Policy(mode="stream"), State.STREAMING, Stream(3)),
        (JOB, Policy(mode="poll"), State.POLLING, Poll()),
        (JOB, Policy(attach=False), State.POLLING, Poll()),
        (replace(JOB, streamable=False), Policy(), State.POLLING, Poll()),
        (replace(JOB, streamable=True), Policy(), State.STREAMING, Stream(3)),
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
    follow, action = begin(replace(JOB, status=status), Policy())
    assert State.ENDED is follow.state
    assert Done(status=status) == action


@pytest.mark.parametrize(
    ("job", "policy"),
    [
        (replace(JOB, streamable=False), Policy(mode="stream")),
        (JOB, Policy(mode="stream", attach=False)),
    ],
)
def test_a_stream_that_cannot_be_is_said_so(job: Job, policy: Policy) -> None:
    """`--mode stream` on a job that cannot be streamed ends with the reason."""
    follow, action = begin(job, policy)
    assert State.ENDED is follow.state
    assert isinstance(action, Done)
    assert action.fault is not None
    assert FaultKind.NOT_STREAMABLE is action.fault.kind


@pytest.mark.parametrize("signal", [OPEN, _fault("not_streamable")])
def test_a_stream_that_is_refused_ends_mode_stream(signal: Signal) -> None:
    """`--mode stream` never falls back to polling when the endpoint says no."""
    _, action = _step(STREAMING, signal, Policy(mode="stream"))
    assert isinstance(action, Done)
    assert action.fault is not None
    assert FaultKind.NOT_STREAMABLE is action.fault.kind
    assert action.final is None


@pytest.mark.parametrize("mode", ["auto", "stream"])
def test_json_instead_of_a_stream_is_the_answer(mode: str) -> None:
    """A finished response where a stream was asked for is the end, in any mode."""
    _, action = _step(STREAMING, FINAL, Policy(mode=mode))
    assert Done(status=Status.COMPLETED, final=FINAL) == action


def test_json_instead_of_a_stream_rules_streams_out() -> None:
    """An endpoint that answers a stream with an open response is polled from then."""
    follow, action = _step(STREAMING, OPEN)
    assert (State.POLLING, True) == (follow.state, bool(follow.streams_ruled_out))
    assert isinstance(action, Wait)
    assert Poll() == action.then


def test_a_terminal_event_is_the_end() -> None:
    """A terminal response in an event ends following, and is handed on."""
    follow, action = _step(STREAMING, DONE)
    assert Done(status=Status.COMPLETED, final=DONE) == action
    assert 9 == follow.cursor


@pytest.mark.parametrize(
    "event",
    [ERROR, Event("response.completed", terminal=True), replace(DONE, sequence=1)],
)
def test_a_terminal_event_counts_even_when_it_is_old(event: Event) -> None:
    """An end is never dropped for its number: it is believed, or checked."""
    follow, action = _step(replace(STREAMING, cursor=20), event)
    assert action in (Poll(), Done(status=Status.COMPLETED, final=event))
    assert 20 == follow.cursor


def test_a_completed_event_without_text_is_checked() -> None:
    """An end that names no text is confirmed by one retrieve; a failure needs none."""
    empty = replace(FINAL.reading, text=None)
    follow, action = _step(STREAMING, replace(DONE, reading=empty))
    assert (State.CHECKING, Poll()) == (follow.state, action)
    failed = replace(empty, status=Status.FAILED, raw_status="failed")
    event = replace(DONE, reading=failed)
    assert Done(status=Status.FAILED, final=event) == _step(STREAMING, event)[1]


@pytest.mark.parametrize("kind", ["closed", "idle", "ambiguous", "unreadable", "gone"])
def test_a_stream_that_ends_untold_is_checked(kind: str) -> None:
    """End of stream and silence are no success: ask once, then believe the answer."""
    follow, action = _step(STREAMING, _fault(kind))
    assert (State.CHECKING, Poll(), 1) == (follow.state, action, follow.cuts)
    assert Done(status=Status.COMPLETED, final=FINAL) == _step(follow, FINAL)[1]
    follow, action = _step(follow, OPEN)
    assert isinstance(action, Wait)
    assert Stream(3) == action.then


def test_progress_renews_the_budget_of_cuts() -> None:
    """A stream that brought a new event may be cut as often as it likes."""
    follow = STREAMING
    for number in range(4, 40):
        follow, _ = _step(follow, Event("x", sequence=number))
        follow, _ = _step(follow, _fault("closed"))
        follow, action = _step(follow, OPEN)
        assert isinstance(action, Wait)
        assert Stream(number) == action.then
    assert 1 == follow.cuts


def test_an_unknown_word_leaves_the_last_open_status() -> None:
    """A word that nobody knows is kept as it is, and the job stays what it was."""
    paused = Reading(Status.IN_PROGRESS, "paused", known=False)
    for signal in (Snapshot(paused), Event("x", sequence=9, reading=paused)):
        follow, _ = _step(STREAMING, signal)
        assert (Status.QUEUED, "paused") == (follow.status, follow.raw_status)
    told, _ = _step(STREAMING, Event("x", sequence=9, reading=OPEN.reading))
    assert Status.IN_PROGRESS is told.status


def test_a_change_while_polling_is_worth_another_stream() -> None:
    """A job that leaves the queue is streamed again, unless streams are ruled out."""
    spent = replace(STREAMING, state=State.POLLING, cuts=6)
    follow, action = _step(spent, OPEN)
    assert State.STREAMING is follow.state
    assert isinstance(action, Wait)
    assert Stream(3) == action.then
    assert State.POLLING is _step(spent, QUEUED)[0].state
    ruled_out = replace(spent, streams_ruled_out="why")
    assert State.POLLING is _step(ruled_out, OPEN)[0].state
    assert State.POLLING is _step(spent, OPEN, Policy(mode="stream"))[0].state


def test_a_job_is_lost_after_three_404_once_it_is_old_enough() -> None:
    """A 404 of a young job proves nothing; three of an old one mean that it is gone."""
    young = old = replace(STREAMING, state=State.POLLING)
    for _ in range(9):
        young, action = _step(young, _fault("gone"), now=59.9)
        assert isinstance(action, Wait)
        assert action.seconds >= 5
    for _ in range(2):
        old, action = _step(old, _fault("gone"), now=60.0)
        assert isinstance(action, Wait)
    assert 0 == _step(old, OPEN)[0].gone
    _, action = _step(old, _fault("gone"), now=60.0)
    assert Done(status=Status.LOST, fault=_fault("gone")) == action


def test_what_cannot_be_read_for_good_ends_with_the_reason() -> None:
    """An endpoint that never speaks the protocol is given up, not asked for ever."""
    follow = replace(STREAMING, state=State.POLLING)
    for _ in range(Policy().faults):
        follow, action = _step(follow, _fault("unreadable"))
        assert isinstance(action, Wait)
    assert Done(fault=_fault("unreadable")) == _step(follow, _fault("unreadable"))[1]
    assert 0 == _step(follow, OPEN)[0].unreadable


def test_one_bad_page_after_a_long_outage_ends_nothing() -> None:
    """Coming back on line through a captive portal does not end the watch."""
    follow = replace(STREAMING, state=State.POLLING)
    for _ in range(50):
        follow, _ = _step(follow, _fault("unreachable"))
    follow, action = _step(follow, _fault("unreadable"))
    assert State.POLLING is follow.state
    assert isinstance(action, Wait)


def test_a_refusal_ends_with_its_reason() -> None:
    """What the endpoint refuses is not asked again."""
    assert Done(fault=_fault("refused")) == _step(STREAMING, _fault("refused"))[1]


def test_the_interval_overrules_the_pace() -> None:
    """`--interval` sets the pace; otherwise the job's age and expected length do."""
    polling = replace(STREAMING, state=State.POLLING, streams_ruled_out="why")
    waits = []
    for policy in (Policy(interval=8), Policy(), Policy(expect=9000)):
        _, action = step(polling, QUEUED, policy, 0.0, 100.0)
        assert isinstance(action, Wait)
        waits.append(action.seconds)
    assert [8.0, 5.0, 60.0] == waits


# --- An endpoint that never gets anywhere, over an hour of virtual time -----------

Timed = tuple[float, Signal]


@dataclass(slots=True)
class Stuck:
    """A server without progress: what each stream brings, and what a poll says."""

    stream: Sequence[Timed] = ((0.0, _fault("closed")),)
    poll: Sequence[Timed] = ((0.0, OPEN),)
    streams: int = 0
    polls: int = 0
    waits: list[float] = field(default_factory=list)

    def answers(self, action: Action) -> Iterator[Timed]:
        """Tell what the request brings, each signal with the seconds it took."""
        if isinstance(action, Stream):
            self.streams += 1
            yield from self.stream
        else:
            self.polls += 1
            yield self.poll[self.polls % len(self.poll)]


def _live(server: Stuck, policy: Policy, jitter: float) -> Action:
    """Perform the machine's actions for a virtual hour; return the last of them."""
    job = replace(JOB, cursor=None, status=Status.IN_PROGRESS)
    follow, action = begin(job, policy)
    now = 0.0
    while now < HOUR and not isinstance(action, Done):
        assert server.streams + server.polls < 20_000, "requests without end"
        if isinstance(action, Wait):
            server.waits.append(action.seconds)
            now += action.seconds
            action = action.then
            continue
        answer: Action | None = None
        for seconds, signal in server.answers(action):
            now += seconds
            follow, answer = step(follow, signal, policy, jitter, now)
            if answer is not None:
                break
        assert answer is not None, "a request was left without a next action"
        action = answer
    return action


CLOSED: Final = (0.0, _fault("closed"))
BOTH: Final = {
    kind: {"stream": ((0.0, _fault(kind)),), "poll": ((0.0, _fault(kind)),)}
    for kind in ("closed", "unreachable", "rate_limited", "ambiguous")
}
ASKED: Final = _fault("rate_limited", retry_after=0.0)
STUCK: Final[dict[str, dict[str, Any]]] = {
    "empty streams": {},
    "closes every connection": BOTH["closed"],
    "unreachable": BOTH["unreachable"],
    "rate limited": BOTH["rate_limited"],
    "rate limited, asks for 0 s": {"stream": ((0.0, ASKED),), "poll": ((0.0, ASKED),)},
    "rate limited polls, empty streams": {"poll": ((0.0, ASKED),)},
    "unsure of everything": BOTH["ambiguous"],
    "idle streams": {"stream": ((180.0, _fault("idle")),)},
    "silent": {"stream": ((60.0, _fault("idle")),), "poll": ((60.0, _fault("idle")),)},
    "silent, but at once": {"poll": ((0.0, _fault("idle")),)},
    "unreadable streams": {"stream": ((0.0, _fault("unreadable")),)},
    "streams are gone": {"stream": ((0.0, _fault("gone")),)},
    "not streamable": {"stream": ((0.0, _fault("not_streamable")),)},
    "polls are not streamable": {"poll": ((0.0, _fault("not_streamable")),)},
    "json instead of events": {"stream": ((0.0, OPEN),)},
    "error event each time": {"stream": ((0.0, ERROR),)},
    "unnumbered error each time": {"stream": ((0.0, replace(ERROR, sequence=None)),)},
    "unnumbered replays": {
        "stream": ((0.0, Event("response.created")), (0.0, Event("x")), CLOSED)
    },
    "named replays": {
        "stream": (
            *((0.0, Event("x", sequence=name)) for name in ("a", "b", "c")),
            CLOSED,
        )
    },
    "every other poll fails": {"poll": ((0.0, OPEN), CLOSED)},
    "every other poll cannot be read": {"poll": ((0.0, OPEN), (0.0, _fault("gone")))},
}


@pytest.mark.parametrize(("jitter", "polls"), [(0.0, 1300), (0.5, 400), (0.999, 400)])
@pytest.mark.parametrize("name", STUCK)
def test_a_server_without_progress_is_left_alone(
    name: str, jitter: float, polls: int
) -> None:
    """In an hour it gets at most six streams and a few hundred polls.

    Jitter that is always 0 shortens full jitter's waits to a tenth: no real run.
    """
    server = Stuck(**STUCK[name])
    action = _live(server, Policy(), jitter)
    assert not isinstance(action, Done)
    assert server.streams <= 6
    assert server.polls < polls
    assert all(0 < wait <= 75 for wait in server.waits)


@pytest.mark.parametrize("name", STUCK)
def test_mode_stream_does_not_hammer_either(name: str) -> None:
    """With `--mode stream`, which never falls back, both together stay below 900."""
    server = Stuck(**STUCK[name])
    _live(server, Policy(mode="stream"), 0.5)
    assert server.streams + server.polls < 900


def test_polling_an_open_job_for_an_hour() -> None:
    """A job that stays open is asked about two hundred times in its first hour."""
    server = Stuck()
    _live(server, Policy(mode="poll"), 0.5)
    assert 0 == server.streams
    assert 100 < server.polls < 200


def test_replays_are_a_cut_the_second_time() -> None:
    """A server that replays everything and closes made progress once."""
    events = [(0.0, Event("x", sequence=n)) for n in range(5)]
    server = Stuck(stream=(*events, CLOSED))
    _live(server, Policy(), 0.5)
    assert server.streams <= 7
    assert server.polls < 400


def test_a_job_that_changes_its_mind_is_not_hammered() -> None:
    """A status that flaps at every poll brings streams back, slowly."""
    server = Stuck(poll=((0.0, OPEN), (0.0, QUEUED)))
    _live(server, Policy(), 0.5)
    assert server.streams + server.polls < 1000


@pytest.mark.parametrize(
    ("kind", "status", "polls"), [("gone", Status.LOST, 20), ("unreadable", None, 10)]
)
def test_what_leads_nowhere_ends(kind: str, status: Status | None, polls: int) -> None:
    """A job that is gone is lost; an endpoint that cannot be read is given up."""
    server = Stuck(stream=((0.0, _fault(kind)),), poll=((0.0, _fault(kind)),))
    action = _live(server, Policy(), 0.5)
    assert Done(status=status, fault=_fault(kind)) == action
    assert server.polls <= polls


def test_a_long_retry_after_is_kept_to_an_hour() -> None:
    """An endpoint that asks for a week is asked again after an hour."""
    asked = _fault("rate_limited", retry_after=7 * 86400.0)
    server = Stuck(stream=((0.0, asked),), poll=((0.0, asked),))
    _live(server, Policy(), 0.5)
    assert 1 == len(server.waits)
    assert HOUR <= server.waits[0] <= LONGEST
