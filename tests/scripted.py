"""An endpoint made of values, and an observer that writes down what it is told.

They stand where bgresp's Api and its renderers stand; the engine between is the real
one. Times are the running loop's.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.dialect import Dialect
from bgresp.core.endpoint import Endpoint
from bgresp.core.machine import Policy
from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress, Observer
from bgresp.core.reading import read_event, read_response
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot
from bgresp.engine.endpoints import RateLimiter
from bgresp.engine.recorder import Recorder
from bgresp.engine.shown_text import ShownText
from bgresp.engine.tracker import Tools, Tracker
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint

EPOCH = 1_700_000_000.0
REFUSED = Fault(FaultKind.UNREACHABLE, "Connection refused")
CLOSED = Fault(FaultKind.CLOSED, "the stream ended")
LOST_REPLY = Fault(FaultKind.CLOSED, "Connection reset by peer")


@dataclass(frozen=True, slots=True)
class Late:
    """A signal that comes after so many seconds."""

    seconds: float
    signal: Signal


Answer = Signal | Late
# The n-th answer of an operation on one id, and then the last one for ever.
Script = Sequence[Answer] | Callable[[str], Answer]


def event(payload: fw.Json, spoken: Dialect | None = None) -> Event:
    """Read one of fakewire's events as the client does."""
    raw = json.dumps(payload)
    return read_event(spoken or dialect(), payload, name="", raw=raw)


def events(payloads: Iterable[fw.Json]) -> list[Event]:
    """Read a history of fakewire's."""
    return [event(payload) for payload in payloads]


def snapshot(word: str, text: str = "", **fields: Any) -> Snapshot:
    """Answer a response in that status, as fakewire writes it."""
    body = fw.response_of(word, text) | fields
    reading = read_response(dialect(), body)
    assert reading is not None
    return Snapshot(reading, json.dumps(body).encode())


def refusal(status: int, kind: FaultKind, message: str = "No.", **rest: Any) -> Fault:
    """Answer an HTTP error as the client reads it."""
    return Fault(kind, message, http_status=status, **rest)


@dataclass(slots=True)
class Scripted:
    """Answers as scripted, and writes down (operation, id, time) of each request."""

    get: Script = ()
    cancels: Script = ()
    streams: Sequence[Sequence[Answer]] = ()
    creates: Sequence[Sequence[Answer]] = ()
    endpoint: Endpoint = field(default_factory=endpoint)
    asked: list[tuple[str, str, float]] = field(default_factory=list)
    afters: list[Cursor | None] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    tasks: int = 0
    closed: int = 0
    sends_first: bool = False
    at_once: bool = False  # what is not late comes without a turn of the loop between
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def api(self) -> Api:
        """Stand where an Api stands."""
        return cast(Api, self)

    def waits(self, seconds: float, ref: str) -> None:
        """Tell nobody."""

    def count(self, op: str) -> int:
        """Count the requests of an operation."""
        return sum(1 for asked, _, _ in self.asked if asked == op)

    def times(self, op: str | None = None) -> list[float]:
        """Return when requests were made."""
        return [at for asked, _, at in self.asked if op in (None, asked)]

    def can(self, op: str) -> bool:
        """Say whether the dialect has an operation."""
        return op in self.endpoint.dialect.ops

    async def retrieve(self, id_: str, include: Sequence[str] = ()) -> Snapshot | Fault:
        """Answer a retrieve."""
        return await self._one("get", id_, self.get)

    async def cancel(self, id_: str, sent: Sent | None = None) -> Snapshot | Fault:
        """Answer a cancel; of a refused connection alone nothing leaves."""
        nth, script = self._counts["cancel", id_], self.cancels
        refused = not callable(script) and script[min(nth, len(script) - 1)] == REFUSED
        if sent is not None and not refused:
            sent.leave()
        return await self._one("cancel", id_, script)

    async def stream(
        self, id_: str, after: Cursor | None, include: Sequence[str] = ()
    ) -> AsyncGenerator[Signal, None]:
        """Answer a stream; its last signal is the end."""
        self.afters.append(after)
        async for signal in self._many("stream", id_, self.streams):
            yield signal

    async def create(
        self, body: bytes, *, key: str, stream: bool, sent: Sent
    ) -> AsyncGenerator[Signal, None]:
        """Answer a create; only a refused connection leaves nothing on the way."""
        self.bodies.append(json.loads(body))
        sent.started = self.sends_first
        async for signal in self._many("create", key, self.creates):
            sent.started = signal != REFUSED
            yield signal

    def _nth(self, op: str, id_: str) -> int:
        self.tasks = max(self.tasks, len(asyncio.all_tasks()))
        self.asked.append((op, id_, asyncio.get_running_loop().time()))
        self._counts[op, id_] += 1
        return self._counts[op, id_] - 1

    async def _one(self, op: str, id_: str, script: Script) -> Snapshot | Fault:
        nth = self._nth(op, id_)
        answer = script(id_) if callable(script) else script[min(nth, len(script) - 1)]
        signal = await self._in_time(answer)
        assert not isinstance(signal, Event)
        return signal

    async def _many(
        self, op: str, id_: str, script: Sequence[Sequence[Answer]]
    ) -> AsyncGenerator[Signal, None]:
        nth = self._nth(op, id_)
        try:
            for answer in script[min(nth, len(script) - 1)]:
                yield await self._in_time(answer)
        finally:
            self.closed += 1

    async def _in_time(self, answer: Answer) -> Signal:
        if isinstance(answer, Late):
            await asyncio.sleep(answer.seconds)
            return answer.signal
        if not self.at_once:
            await asyncio.sleep(0)
        return answer


@dataclass(slots=True)
class Heard(Observer):
    """An observer that remembers."""

    shown: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    statuses: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    ends: dict[str, list[str]] = field(default_factory=dict)
    views: list[JobProgress] = field(default_factory=list)
    breaks_after: int | None = None

    def changed(self, job: Job, progress: JobProgress) -> None:
        """Remember a status."""
        self.statuses.setdefault(job.key, []).append(job.status.value)
        self.views.append(progress)

    def moved(self, job: Job, progress: JobProgress) -> None:
        """Remember a sign of life."""
        self.views.append(progress)

    def text(self, job: Job, fresh: str) -> None:
        """Remember text, or break as a closed pipe does."""
        if self.breaks_after is not None:
            if not self.breaks_after:
                raise BrokenPipeError
            self.breaks_after -= 1
        self.shown[job.key] = self.shown.get(job.key, "") + fresh

    def refusal(self, job: Job, fresh: str) -> None:
        """Remember what a refusal went on with."""
        self.refused.append(fresh)

    def event(self, job: Job, raw: str) -> None:
        """Remember an event."""
        self.raws.append(raw)

    def note(self, job: Job, message: str) -> None:
        """Remember what was said."""
        self.notes.append(message)

    def ended(self, job: Job, text: str) -> None:
        """Remember the last word."""
        self.ends.setdefault(job.key, []).append(text)


def recorder_at(state: Path, *, start: float = EPOCH) -> Recorder:
    """Return a recorder whose clock is the running loop's."""

    def now() -> float:
        try:
            return start + asyncio.get_running_loop().time()
        except RuntimeError:
            return start

    return Recorder(Ledger(state, now), Answers(state), now)


def job(number: int = 1, **fields: Any) -> Job:
    """Make a job that was accepted at the epoch; its id is fakewire's for 1."""
    known = {
        "status": Status.QUEUED,
        "raw_status": "queued",
        "id": f"resp_{number:032x}",
        "submitted_at": EPOCH,
        "dialect": "openai",
        "streamable": True,
    }
    return Job(f"01K{number:023d}", **{**known, **fields})


def tools(api: Api, recorder: Recorder, heard: Observer, **policy: Any) -> Tools:
    """Put together what trackers share, with jitter in the middle."""
    limits = api.endpoint.dialect.limits
    limiter, how = RateLimiter(limits.rate), Policy(**{"poll": limits.poll, **policy})
    return Tools(api, recorder, heard, limiter, how, jitter=lambda: 0.5)


def tracker(one: Job, shared: Tools, shown: ShownText | None = None) -> Tracker:
    """Follow one job from its beginning; without a shown text nothing is noted."""
    return Tracker(one, shared, shown)
