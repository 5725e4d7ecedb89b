"""T10: random stream histories; machine, transcript and text hold the answer exactly."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from time import perf_counter
from typing import cast

import pytest

from bgresp.api import replies
from bgresp.core.dialect import Dialect
from bgresp.core.machine import (
    Action,
    Done,
    Follow,
    Policy,
    Poll,
    Stream,
    Wait,
    begin,
    step,
)
from bgresp.core.model import Job, Status
from bgresp.core.reading import event_reader, read_response
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot
from bgresp.engine.shown_text import ShownText
from bgresp.ledger.saved import Progress, Shown
from tests.endpoint import dialect
from tests.proof.conftest import Figure
from tests.proof.streams import LOSSY, History, Server, deaths, draw

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

MANY, FULL = 10_000, 200_000
CLOSED = Fault(FaultKind.CLOSED, "the stream ended")
OPENAI: Dialect = dialect()


@lru_cache(maxsize=4096)
def read(data: str) -> Event | None:
    """Read an event's data as the client does."""
    return replies.event(event_reader(OPENAI), "", data)


@dataclass(slots=True)
class Notes:
    """Stands where a progress file stands; what was noted survives a death."""

    shown: Shown = field(default_factory=Shown)

    def begin(self, shown: Shown) -> None:
        self.shown = shown

    def note(
        self,
        added: str,
        cursor: Cursor | None,
        *,
        item: int | None = None,
        refused: str = "",
        sync: bool = False,
    ) -> None:
        told = self.shown.refusal + refused
        self.shown = Shown(self.shown.text + added, cursor, item=item, refusal=told)

    def end(self, length: int) -> None:
        self.shown = Shown(self.shown.text, self.shown.cursor, ended=True)


@dataclass(slots=True)
class Watcher:
    """What `watch --resume` does to one history, dying after some events."""

    server: Server
    dies: frozenset[int]
    notes: Notes = field(default_factory=Notes)
    printed: list[str] = field(default_factory=list)
    taken: int = 0
    lost: bool = False
    follow: Follow = field(init=False)
    shown: ShownText = field(init=False)

    def run(self) -> Done:
        """Start again after each death, with what was noted, until done."""
        while True:
            done = self._once()
            if done is not None:
                return done
            if self.server.rng.random() < 0.5:
                self.shown.flush(sync=True)  # a signal; else kill -9
            else:
                self.printed = [self.notes.shown.text]

    def _once(self) -> Done | None:
        cursor = self.notes.shown.cursor
        self.shown = ShownText(
            cast("Progress", self.notes), self.notes.shown, lambda: 0.0
        )
        job = Job("k", Status.IN_PROGRESS, id="resp_1", cursor=cursor)
        self.follow, first = begin(job, Policy())
        action: Action | None = first
        fresh = True
        while not isinstance(action, Done):
            if isinstance(action, Wait):
                action = action.then
            if isinstance(action, Poll):
                action = self._step(self._snapshot())
            elif isinstance(action, Stream):
                if fresh or action.starting_after is None:
                    self.shown.restart(replayed=action.starting_after is None)
                fresh = False
                action = self._read(action.starting_after)
            if action is None:
                return None
        return action

    def _snapshot(self) -> Snapshot:
        reading = read_response(OPENAI, self.server.poll())
        assert reading is not None
        return Snapshot(reading)

    def _read(self, after: Cursor | None) -> Action | None:
        assert not isinstance(after, str)
        for data in self.server.stream(after):
            event = read(data)
            if event is None:
                continue
            before = self.follow
            answer = self._step(event)
            if self.follow.seen > before.seen:
                self._take(event, gap=self.follow.gaps > before.gaps)
                if answer is None and self.taken in self.dies:
                    return None
            if answer is not None:
                return answer
        return self._step(CLOSED)

    def _step(self, signal: Signal) -> Action | None:
        self.follow, answer = step(
            self.follow, signal, policy=Policy(), jitter=0.5, now=100.0
        )
        return answer

    def _take(self, event: Event, *, gap: bool) -> None:
        self.taken += 1
        if gap:
            self.shown.missed()
        fresh = self.shown.take([event], self.follow.cursor)
        if fresh:
            self.printed.append(fresh)
            self.shown.wrote(fresh)
            shown = "".join(self.printed)
            assert self.server.history.truth.startswith(shown), f"showed {shown!r}"


def check(history: History, rng: Random) -> Watcher:
    """Watch a history to its end and hold the rules of RELIABILITY.md 3.3."""
    watcher = Watcher(Server(history, rng), deaths(rng, history.told))
    done = watcher.run()
    assert done.final is not None
    assert done.final.reading is not None
    assert history.final["status"] == done.status
    assembled = done.final.reading.text or watcher.shown.transcript.text
    live = "".join(watcher.printed)
    rest = watcher.shown.settle(assembled)
    assert rest is not None, f"showed {live!r}, which is no beginning"
    assert history.truth == assembled
    assert history.truth == live + rest
    return watcher


def test_histories(figure: Figure, *, full: bool) -> None:
    """Some history makes the answer, or what was shown of it, differ from the truth."""
    wrong: list[str] = []
    traits: Counter[str] = Counter()
    streams, many, started = 0, FULL if full else MANY, perf_counter()
    for seed in range(many):
        rng = Random(seed)
        history = draw(rng)
        traits.update([*history.traits, *(b.name.lower() for b in history.behaviours)])
        try:
            streams += check(history, rng).server.streams
        except AssertionError as error:
            wrong.append(f"seed {seed} {sorted(history.traits)}: {error}")
    seconds = perf_counter() - started
    figure(
        f"T10: {many} stream histories, {streams} connections, "
        f"{sum(traits[b.name.lower()] for b in LOSSY)} lossy, {seconds:.0f} s: "
        f"{len(wrong)} wrong"
    )
    assert [] == wrong[:10]
