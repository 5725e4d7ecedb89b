"""T14: every fault of a proxy, at every place of a reply, in every exchange."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Final

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.dialect import Dialect
from bgresp.core.machine import Policy
from bgresp.core.model import Job, Status
from bgresp.core.request import Draft
from bgresp.engine.cancel import cancelled
from bgresp.engine.endpoints import RateLimiter
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.shown_text import ShownText
from bgresp.engine.submit import Submitter
from bgresp.engine.tracker import Tools, Tracker
from tests.endpoint import dialect, endpoint
from tests.fakeserver import FakeServer
from tests.fakewire import FOX
from tests.faultproxy import FaultProxy, Kind, Place
from tests.proof.conftest import Figure
from tests.scripted import EPOCH, Heard

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

OPERATIONS: Final = ("create", "get", "stream", "cancel")
BODY: Final = {"model": "m", "input": "x", "stream": False}
ACCEPTED, UNKNOWN = frozenset({"accepted"}), frozenset({"unknown"})
EITHER = ACCEPTED | UNKNOWN
TRUTH = frozenset({"truth"})
# A byte that lies passes where nothing checks it: then the saved answer must be right.
TOLD = frozenset({"truth", "saved, and said"})


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one place of one exchange."""

    operation: str
    kind: Kind
    place: Place

    @property
    def expected(self) -> frozenset[str]:
        """Return what may come of it."""
        if self.operation == "create":
            return self._of_a_create
        flipped = (self.operation, self.kind) == ("stream", Kind.FLIP)
        return TOLD if flipped and self.place is Place.IN_BODY else TRUTH

    @property
    def _of_a_create(self) -> frozenset[str]:
        """Return whether a create is accepted; its reply is whole after its body."""
        if self.kind in {Kind.DELAY, Kind.DRIP, Kind.ONE_BYTE}:
            return ACCEPTED
        if self.kind is Kind.FLIP:
            inside = self.place in {Place.IN_HEADERS, Place.IN_BODY}
            return EITHER if inside else UNKNOWN
        if self.place is not Place.BETWEEN_EVENTS:
            return UNKNOWN
        return EITHER if self.kind is Kind.RST else ACCEPTED

    @property
    def spoken(self) -> Dialect:
        """Return a dialect that gives up soon where the cell is about silence.

        Elsewhere never: this machine may be slow.
        """
        silent = self.kind in {Kind.HALF_OPEN, Kind.FLIP}
        dripping = self.kind is Kind.DRIP and self.place is Place.BETWEEN_EVENTS
        timers = {
            "idle_bytes": 1.0 if silent else 60.0,
            "idle_events": 1.0 if dripping else 60.0,
        }
        return dialect(streaming=timers, limits={"rate": 0})


CELLS: Final = [Cell(*cell) for cell in product(OPERATIONS, Kind, Place)]


@dataclass(slots=True)
class Bench:
    """One cell at work: an endpoint behind the proxy, and a recorder of its own."""

    server: FakeServer
    api: Api
    recorder: Recorder
    heard: Heard

    async def create(self) -> str:
        """Submit once; follow what was accepted to its end."""
        submitter = Submitter(self.api, self.recorder, lambda _: None, jitter=lambda: 0)
        draft = Job("", profile="test", base_url="", dialect="openai")
        draft = draft._replace(submitted_at=self.recorder.now())
        outcome = await submitter.submit(Draft(draft, dict(BODY)))
        if outcome.signals is not None:
            await outcome.signals.aclose()
        if outcome.job.status is Status.UNKNOWN:
            return "unknown"
        if outcome.job.status is Status.REJECTED:
            return f"not sent: {outcome.job.error}"
        if outcome.job.id in self.server.jobs:  # a flipped id leads nowhere
            assert await self.followed(outcome.job, "poll") == "truth"
        return "accepted"

    async def followed(self, job: Job, mode: str) -> str:
        """Follow a job to its end and compare with what the server holds."""
        policy = Policy(mode=mode, poll=(0.01, 0.01))
        tools = Tools(
            self.api, self.recorder, self.heard, RateLimiter(0), policy, lambda: 0
        )
        tracker = Tracker(job, tools, ShownText(self.recorder.progress(job.key)))
        await Scheduler(1).run([tracker])
        saved = self.recorder.answers.text(job.key, self.api.endpoint.dialect)
        if (Status.COMPLETED, FOX) != (tracker.job.status, saved):
            return f"{tracker.job.status} {saved!r} {self.heard.notes}"
        if self.heard.shown.get(job.key) == FOX:
            return "truth"
        said = any("not how the answer begins" in note for note in self.heard.notes)
        return "saved, and said" if said else f"shown {self.heard.shown}"

    async def cancelled(self, job: Job) -> str:
        """Cancel a job and compare with what the server holds."""
        verdict = await cancelled(self.api, self.recorder, job)
        theirs = self.server.jobs[str(job.id)]
        told = (verdict.job.status, verdict.code, theirs)
        return "truth" if told == (Status.CANCELLED, 0, "cancelled") else f"{told}"


async def outcome(cell: Cell, server: FakeServer, state: Path, number: int) -> str:
    """Let one cell happen; return what came of it."""
    job = Job(
        f"01K{number:023d}",
        Status.QUEUED,
        raw_status="queued",
        id=f"resp_{number:032x}",
        submitted_at=EPOCH,
        dialect="openai",
        streamable=True,
    )
    async with FaultProxy(server.address, cell.kind, cell.place) as proxy:
        api = Api(endpoint(proxy.base_url, spoken=cell.spoken))
        bench = Bench(server, api, Recorder.at(state / str(number)), Heard())
        try:
            match cell.operation:
                case "create":
                    came = await bench.create()
                case "cancel":
                    came = await bench.cancelled(bench.recorder.ledger.record(job))
                case _:
                    mode = {"get": "poll", "stream": "auto"}[cell.operation]
                    came = await bench.followed(job, mode)
        finally:
            await api.aclose()
        return came if proxy.spoiled else "the proxy was never asked"


async def made(server: FakeServer, many: int) -> None:
    """Make jobs at the server, which numbers them from 1."""
    api = Api(endpoint(server.base_url))
    for number in range(many):
        body = json.dumps(BODY).encode()
        async for _ in api.create(body, key=f"k{number}", stream=False, sent=Sent()):
            pass


async def matrix(server: FakeServer, state: Path) -> dict[Cell, str]:
    """Let all cells happen, a few at a time."""
    await made(server, len(CELLS))
    permits = asyncio.Semaphore(6)

    async def one(cell: Cell, number: int) -> str:
        async with permits:
            return await outcome(cell, server, state, number)

    came = await asyncio.gather(*(one(cell, n) for n, cell in enumerate(CELLS, 1)))
    return dict(zip(CELLS, came, strict=True))


def test_every_fault_at_every_place(state: Path, figure: Figure) -> None:
    """Some fault on the way costs an answer, tells a lie, or sends a create twice."""
    started = perf_counter()
    with FakeServer(tell=FOX) as server:
        came = asyncio.run(matrix(server, state))
        posts = len(server.creates) - len(CELLS)
    wrong = {cell: it for cell, it in came.items() if it not in cell.expected}
    kinds = Counter(f"{cell.operation} {it}" for cell, it in came.items())
    figure(
        f"T14: {len(CELLS)} cells of a fault proxy, {perf_counter() - started:.0f} s, "
        f"{len(wrong)} other than expected: "
        + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    )
    assert {} == wrong
    assert len(Kind) * len(Place) == posts
