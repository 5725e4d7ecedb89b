"""An endpoint of thousands of jobs in virtual time: each ends at its moment."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bgresp.api.client import PAGE, Api
from bgresp.core import update
from bgresp.core.dialect import Dialect
from bgresp.core.endpoint import Endpoint
from bgresp.core.model import Job
from bgresp.core.reading import read_response
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot
from tests import fakewire as fw
from tests.scripted import EPOCH, job


@dataclass(slots=True)
class ManyJobs:
    """Jobs by id with the second at which each ends; every request is dated.

    `hidden` ids are left out of the list; `lists` False answers it with a 404.
    """

    endpoint: Endpoint
    ends: dict[str, float]
    hidden: frozenset[str] = frozenset()
    lists: bool = True
    faults: int = 0  # so many lists are lost on their way
    asked: list[tuple[str, float]] = field(default_factory=list)
    polls: Counter[str] = field(default_factory=Counter)
    heard: dict[str, float] = field(default_factory=dict)
    streaming: int = 0
    most_streaming: int = 0

    @property
    def api(self) -> Api:
        """Stand where an Api stands."""
        return cast(Api, self)

    @property
    def now(self) -> float:
        """Return the virtual time."""
        return asyncio.get_running_loop().time()

    def count(self, op: str) -> int:
        """Count the requests of an operation."""
        return sum(1 for asked, _ in self.asked if asked == op)

    def waits(self, seconds: float, ref: str) -> None:
        """Tell nobody."""

    def can(self, op: str) -> bool:
        """Say whether the dialect has an operation."""
        return op in self.endpoint.dialect.ops

    async def retrieve(self, id_: str, include: Sequence[str] = ()) -> Snapshot:
        """Answer how a job stands."""
        await self._ask("get")
        self.polls[id_] += 1
        self.heard[id_] = self.now
        body = self._body(id_)
        reading = read_response(self.endpoint.dialect, body)
        assert reading is not None
        return Snapshot(reading, json.dumps(body).encode())

    def late(self) -> float:
        """Return how many seconds after its end a job was last asked about, in mean."""
        gaps = [self.heard[id_] - end for id_, end in self.ends.items()]
        return sum(gaps) / len(gaps)

    async def list(self, after: str | None = None) -> Mapping[str, Any] | Fault:
        """Answer a page, newest first."""
        await self._ask("list")
        if self.count("list") <= self.faults:
            return Fault(FaultKind.CLOSED, "the connection broke")
        if not self.lists:
            return Fault(FaultKind.GONE, "no route", http_status=404)
        ids = [id_ for id_ in reversed(self.ends) if id_ not in self.hidden]
        start = ids.index(after) + 1 if after else 0
        page = ids[start : start + PAGE]
        more = start + PAGE < len(ids)
        return {"data": [self._body(id_) for id_ in page], "has_more": more}

    async def stream(
        self, id_: str, after: Cursor | None, include: Sequence[str] = ()
    ) -> AsyncGenerator[Signal, None]:
        """Stream nothing until the job ends."""
        del after
        await self._ask("stream")
        self.streaming += 1
        self.most_streaming = max(self.streaming, self.most_streaming)
        try:
            await asyncio.sleep(max(0.0, self.ends[id_] - self.now))
            body = self._body(id_)
            reading = read_response(self.endpoint.dialect, body)
            yield Event(
                "response.completed", 0, reading=reading, response=body, terminal=True
            )
        finally:
            self.streaming -= 1

    async def _ask(self, op: str) -> None:
        self.asked.append((op, self.now))
        await asyncio.sleep(0)

    def _body(self, id_: str) -> dict[str, Any]:
        over = self.now >= self.ends[id_]
        word = "completed" if over else "in_progress"
        body = fw.response_of(word, fw.FOX if over else "", response_id=id_)
        return {**body, "created_at": EPOCH}


def many_jobs(
    place: Endpoint,
    count: int,
    *,
    median: float = 120.0,
    spread: float = 1.0,
    **rest: Any,
) -> tuple[ManyJobs, list[Job]]:
    """Make jobs of log-normal length in seconds, and their endpoint."""
    chance = random.Random(21)
    jobs = [job(n) for n in range(1, count + 1)]
    ends = {str(one.id): median * chance.lognormvariate(0.0, spread) for one in jobs}
    return ManyJobs(place, ends, **rest), jobs


@dataclass(frozen=True, slots=True)
class Memory:
    """A recorder without a disk: ten thousand answers are told, not written."""

    spoken: Dialect
    texts: dict[str, str] = field(default_factory=dict)

    def now(self) -> float:
        """Return the wall clock: the epoch and the virtual time."""
        return EPOCH + asyncio.get_running_loop().time()

    def heard(
        self,
        one: Job,
        news: Any,
        spoken: Dialect,
        *,
        text: str = "",
        group: None = None,
    ) -> Job:
        """Take news of a job."""
        self.texts[one.key] = news.reading.text or text
        return update.heard(one, news.reading, now=self.now(), limits=spoken.limits)

    def text(self, key: str, spoken: Dialect) -> str | None:
        """Return an answer."""
        return self.texts.get(key)
