"""Interrupted anywhere, the outputs of watching join to exactly the final text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.dialect import Dialect
from bgresp.core.machine import (
    Done,
    Follow,
    Policy,
    Poll,
    Stream,
    Wait,
    begin,
    step,
    step_in_full,
)
from bgresp.core.model import Job, Status
from bgresp.core.reading import read_event, read_response
from bgresp.core.signals import (
    Cursor,
    Event,
    Fault,
    FaultKind,
    Reading,
    Signal,
    Snapshot,
)
from bgresp.engine.shown_text import Transcript
from tests import fakewire as fw
from tests.strategies import Behaviour, cuts, event_lists, history

CLOSED: Final = Fault(FaultKind.CLOSED, "the stream ended")
# Few letters: what is repeated is easily taken for what was there before.
_TWINS = st.lists(
    st.lists(st.sampled_from(["a", "b", "aa", "ab", ""]), max_size=5),
    min_size=1,
    max_size=3,
).map(lambda deltas: fw.events_of(parts=deltas))
HISTORIES = event_lists() | _TWINS


def _interleaved(rng: Random) -> fw.Change:
    """Mix the messages of an answer, which begin in their order, as they come."""

    def change(events: fw.Events) -> fw.Events:
        head, tail = events[:3], events[-1:]
        items: dict[int, fw.Events] = {}
        for event in events[3:-1]:
            items.setdefault(event["output_index"], []).append(event)
        begun = [item.pop(0) for item in items.values() for _ in range(2)]
        order = [n for n, item in items.items() for _ in item]
        rng.shuffle(order)
        return fw.numbered([*head, *begun, *(items[n].pop(0) for n in order), *tail])

    return change


CHANGES = st.sampled_from([fw.unchanged, fw.kept_alive, fw.restarted(5)])
MIXED = CHANGES | st.randoms().map(_interleaved)
LOSSY: Final = {Behaviour.GAP, Behaviour.REORDER}


@dataclass(slots=True)
class Server:
    """A job's endpoint that loses connections; polls learn the end at last."""

    dialect: Dialect
    told: fw.Events
    cuts: Sequence[int]
    behaviour: Behaviour
    rng: Random
    after: Cursor | None = None
    reads: dict[int, Event] = field(default_factory=dict)
    polls: int = 0
    served: int = 0
    final: Reading = field(init=False)
    _connections: Iterator[fw.Events] = field(init=False)

    def __post_init__(self) -> None:
        final = read_response(self.dialect, fw.final_of(self.told))
        assert final is not None
        self.final = final
        self._connections = history(
            self.told,
            self.cuts,
            behaviour=self.behaviour,
            rng=self.rng,
            cursor=lambda: self.after if isinstance(self.after, int) else None,
        )

    def stream(self, after: Cursor | None) -> list[Signal]:
        self.after, self.served = after, self.served + 1
        arrived = next(self._connections, [])
        return [*map(self._event, arrived), CLOSED]

    def _event(self, event: fw.Json) -> Event:
        if id(event) not in self.reads:
            read = read_event(self.dialect, event, name="", raw="")
            self.reads[id(event)] = read
        return self.reads[id(event)]

    def poll(self) -> Snapshot:
        self.polls += 1
        if self.served > len(self.cuts) or self.polls > 20:
            return Snapshot(self.final)
        return Snapshot(Reading(Status.IN_PROGRESS, "in_progress"))


@dataclass(slots=True)
class Watch:
    """What `watch --resume` does, without a disk: it may die after an event."""

    server: Server
    deaths: frozenset[int] = frozenset()
    printed: list[str] = field(default_factory=list)
    cursor: Cursor | None = None
    item: int | None = None
    taken: int = 0
    live: str = ""

    @property
    def shown(self) -> str:
        return "".join(self.printed)

    def to_the_end(self) -> Done:
        """Start again after each death, with what was saved, until done."""
        while (done := self.once()) is None:
            pass
        return done

    def once(self) -> Done | None:
        """Perform the machine's actions; None when the process died."""
        job = Job("k", Status.IN_PROGRESS, id="resp_1", cursor=self.cursor)
        follow, action = begin(job, Policy())
        known, item, fresh = self.shown, self.item, True
        transcript = Transcript(known, item=item)
        while not isinstance(action, Done):
            if isinstance(action, Wait):
                action = action.then
            if isinstance(action, Poll):
                follow, answer = _step(follow, self.server.poll())
            elif isinstance(action, Stream):
                if fresh or action.starting_after is None:
                    replayed = action.starting_after is None
                    transcript.restart(*(() if replayed else (known, item)))
                fresh = False
                follow, answer = self._read(follow, transcript, action)
                if answer is None:
                    return None
            assert answer is not None
            action = answer
        self.live = self.shown
        assert action.final is not None
        assert action.final.reading is not None
        rest = transcript.settle(action.final.reading.text or "")
        assert rest is not None, "what was shown is no beginning of the final text"
        self.printed.append(rest)
        return action

    def _read(self, follow: Follow, transcript: Transcript, action: Stream) -> Any:
        for signal in self.server.stream(action.starting_after):
            before, (follow, answer) = follow, _step(follow, signal)
            if isinstance(signal, Event) and follow.seen > before.seen:
                if follow.gaps > before.gaps:
                    transcript.missed()
                self._show(transcript.add(signal), transcript, follow)
                if answer is None and self.taken in self.deaths:
                    return follow, None
            if answer is not None:
                return follow, answer
        raise AssertionError("the end of a stream was left without an answer")

    def _show(self, fresh: str, transcript: Transcript, follow: Follow) -> None:
        self.taken += 1
        self.printed.append(fresh)
        assert (self.server.final.text or "").startswith(self.shown)
        if transcript.is_level:
            self.cursor, self.item = follow.cursor, transcript.item
        elif fresh:
            self.cursor = None


def _step(follow: Follow, signal: Signal) -> Any:
    short = step(follow, signal, policy=Policy(), jitter=0.5, now=100.0)
    assert short == step_in_full(follow, signal, policy=Policy(), jitter=0.5, now=100.0)
    return short


def _server(
    dialect: Dialect, data: st.DataObject, changes: st.SearchStrategy[fw.Change]
) -> Server:
    told = data.draw(changes)(data.draw(HISTORIES))
    behaviour = data.draw(st.sampled_from(Behaviour))
    rng = data.draw(st.randoms())
    return Server(dialect, told, data.draw(cuts(len(told))), behaviour, rng)


@given(st.data())
def test_resuming_at_any_cuts_equals_the_uninterrupted_run(
    openai: Dialect, data: st.DataObject
) -> None:
    """Cut anywhere, however the server resumes: each part is shown once, in order."""
    server = _server(openai, data, MIXED)
    watch = Watch(server)
    assert Status.COMPLETED is watch.to_the_end().status
    assert (server.final.text or "") == watch.shown
    if server.behaviour not in LOSSY:
        assert watch.shown == watch.live


@given(st.data())
def test_outputs_of_interrupted_watches_join_to_the_whole(
    openai: Dialect, data: st.DataObject
) -> None:
    """Killed after any events and resumed, the outputs join to exactly the text."""
    server = _server(openai, data, CHANGES)
    moments = st.integers(1, 2 * len(server.told))
    deaths = data.draw(st.frozensets(moments, max_size=6))
    watch = Watch(server, deaths)
    assert Status.COMPLETED is watch.to_the_end().status
    assert (server.final.text or "") == watch.shown


@given(st.data(), HISTORIES, st.sampled_from([1, 2, 5]), st.randoms())
def test_an_endpoint_without_numbers_is_replayed(
    openai: Dialect, data: st.DataObject, told: fw.Events, left: int, rng: Random
) -> None:
    """Where events have no numbers each stream starts over, and nothing shows twice.

    Also where only some have none, one of `left`.
    """
    at = data.draw(cuts(len(told)))
    told = [e if rng.randrange(left) else fw.unnumbered([e])[0] for e in told]
    server = Server(openai, told, at, Behaviour.REPLAY, rng)
    deaths = data.draw(st.frozensets(st.integers(1, 2 * len(told)), max_size=4))
    watch = Watch(server, deaths)
    assert Status.COMPLETED is watch.to_the_end().status
    assert (server.final.text or "") == watch.shown


def test_every_single_cut_of_a_long_answer(openai: Dialect) -> None:
    """RELIABILITY.md case 58: cut after event k, for every k of 200."""
    told = fw.events_of(" ".join([fw.FOX] * 22))
    assert len(told) > 200
    reads: dict[int, Event] = {}
    for k in range(len(told)):
        server = Server(openai, told, (k,), Behaviour.EXCLUSIVE, Random(k), reads=reads)
        watch = Watch(server, frozenset({k + 1}) if k % 2 else frozenset())
        watch.to_the_end()
        assert server.final.text == watch.shown == watch.live
