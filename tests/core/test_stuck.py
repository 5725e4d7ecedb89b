"""An endpoint that never gets anywhere is left alone: hours of virtual time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from bgresp.core.machine import Action, Done, Policy, Stream, Wait, begin, step
from bgresp.core.model import Status
from bgresp.core.signals import Event, Signal
from tests.core.samples import ERROR, JOB, OPEN, QUEUED, fault

HOUR: Final = 3600.0
Timed = tuple[float, Signal]


@dataclass(slots=True)
class Stuck:
    """A server without progress: what each stream brings, and what a poll says."""

    stream: Sequence[Timed] = ((0.0, fault("closed")),)
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
    job = JOB._replace(cursor=None, status=Status.IN_PROGRESS)
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
            follow, answer = step(follow, signal, policy=policy, jitter=jitter, now=now)
            if answer is not None:
                break
        assert answer is not None, "a request was left without a next action"
        action = answer
    return action


CLOSED: Final = (0.0, fault("closed"))
BOTH: Final = {
    kind: {"stream": ((0.0, fault(kind)),), "poll": ((0.0, fault(kind)),)}
    for kind in ("closed", "unreachable", "rate_limited", "ambiguous")
}
ASKED: Final = fault("rate_limited", retry_after=0.0)
STUCK: Final[dict[str, dict[str, Any]]] = {
    "empty streams": {},
    "closes every connection": BOTH["closed"],
    "unreachable": BOTH["unreachable"],
    "rate limited": BOTH["rate_limited"],
    "rate limited, asks for 0 s": {"stream": ((0.0, ASKED),), "poll": ((0.0, ASKED),)},
    "rate limited polls, empty streams": {"poll": ((0.0, ASKED),)},
    "unsure of everything": BOTH["ambiguous"],
    "idle streams": {"stream": ((180.0, fault("idle")),)},
    "silent": {"stream": ((60.0, fault("idle")),), "poll": ((60.0, fault("idle")),)},
    "silent, but at once": {"poll": ((0.0, fault("idle")),)},
    "unreadable streams": {"stream": ((0.0, fault("unreadable")),)},
    "streams are gone": {"stream": ((0.0, fault("gone")),)},
    "not streamable": {"stream": ((0.0, fault("not_streamable")),)},
    "polls are not streamable": {"poll": ((0.0, fault("not_streamable")),)},
    "json instead of events": {"stream": ((0.0, OPEN),)},
    "error event each time": {"stream": ((0.0, ERROR), CLOSED)},
    "error event, then silence": {"stream": ((0.0, ERROR), (5.0, fault("idle")))},
    "unnumbered error each time": {
        "stream": ((0.0, ERROR._replace(sequence=None)), CLOSED)
    },
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
    "every other poll cannot be read": {"poll": ((0.0, OPEN), (0.0, fault("gone")))},
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
    server = Stuck(stream=((0.0, fault(kind)),), poll=((0.0, fault(kind)),))
    action = _live(server, Policy(), 0.5)
    assert Done(status=status, fault=fault(kind)) == action
    assert server.polls <= polls


def test_a_long_retry_after_is_kept_to_an_hour() -> None:
    """An endpoint that asks for a week is asked again after an hour."""
    asked = fault("rate_limited", retry_after=7 * 86400.0)
    server = Stuck(stream=((0.0, asked),), poll=((0.0, asked),))
    _live(server, Policy(), 0.5)
    assert 1 == len(server.waits)
    assert HOUR <= server.waits[0] <= HOUR + 30
