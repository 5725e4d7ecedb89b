"""Ask one endpoint about jobs, each once, at its pace; believe a 404 only repeated."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from bgresp.api.client import Api
from bgresp.core.model import Job
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.engine.list_poll import ListPoller
from bgresp.engine.rate_limit import RateLimiter
from bgresp.engine.recorder import Recorder

YOUNG: Final = 60.0
LOOKS: Final = 3
BETWEEN: Final = 5.0
# What an endpoint may ask us to wait within one round; longer, and it is left alone.
PATIENCE: Final = 60.0
BROKEN: Final = 5
FRESH: Final = 600.0


@dataclass(frozen=True, slots=True)
class News:
    """What one question came to: a job before and now; a fault where none was heard.

    `asked` is false where the endpoint was left alone.
    """

    before: Job
    job: Job
    fault: Fault | None = None
    asked: bool = True


@dataclass(slots=True)
class JobPoller:
    """One round of questions to one endpoint; `tell` hears each answer as it comes.

    `patient`: ask again after a 429 or a 5xx. `thrifty`: a mere repetition is not
    worth a line of the ledger.
    """

    api: Api
    recorder: Recorder
    tell: Callable[[News], None]
    patient: bool = False
    thrifty: bool = False
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    closed: Fault | None = None
    skipped: int = 0
    _limiter: RateLimiter = field(init=False)
    _broken: int = 0

    def __post_init__(self) -> None:
        """Take the endpoint's pace."""
        self._limiter = RateLimiter(self.api.endpoint.dialect.limits.rate)

    async def all(self, jobs: Iterable[Job]) -> None:
        """Ask about jobs in their order; those worth it up to three times.

        Raises LedgerError.
        """
        waiting = await self._listed(list(jobs)) if self.thrifty else list(jobs)
        for look in range(1, LOOKS + 1):
            if look > 1:
                await self.sleep(BETWEEN)
            waiting = await self._round(waiting, last=look == LOOKS)
            if not waiting:
                return

    async def _listed(self, jobs: list[Job]) -> list[Job]:
        """Believe the endpoint's list of many jobs that are open; return the others."""
        poller = ListPoller(self.api, self._limiter)
        if not poller.suits(len(jobs)):
            return jobs
        left = {str(job.id): job for job in jobs}

        def is_open(id_: str, snapshot: Snapshot) -> None:
            job = left.pop(id_)
            self.tell(News(job, self._heard(job, snapshot)))

        await poller.call(dict(left), is_open)
        return list(left.values())

    async def _round(self, jobs: list[Job], *, last: bool) -> list[Job]:
        """Ask a few at a time; return those to ask again."""
        again: list[Job] = []
        line = iter(jobs)

        async def worker() -> None:
            for job in line:
                news = await self._ask(job, last=last)
                if news is None:
                    again.append(job)
                else:
                    self.tell(news)

        connections = self.api.endpoint.dialect.limits.connections
        await asyncio.gather(*(worker() for _ in jobs[:connections]))
        return again

    async def _ask(self, job: Job, *, last: bool) -> News | None:
        """Ask about one job; None means: ask again."""
        if self.closed is None:
            await self._limiter.turn()
        if self.closed is not None:
            self.skipped += 1
            return News(job, job, self.closed, asked=False)
        answer = await self.api.retrieve(str(job.id))
        if not isinstance(answer, Fault):
            self._broken = 0
            self._give_way(answer)
            return News(job, self._heard(job, answer))
        self._weigh(answer)
        if not last and self.closed is None and self._worth_again(job, answer):
            return None
        if answer.kind is FaultKind.GONE and not self.is_young(job):
            return News(job, self.recorder.lost(job, answer))
        return News(job, self.recorder.unheard(job, answer), answer)

    def is_young(self, job: Job) -> bool:
        """Say whether the endpoint may not know a job yet."""
        start = job.submitted_at
        return start is not None and self.recorder.now() - start < YOUNG

    def _worth_again(self, job: Job, fault: Fault) -> bool:
        if fault.kind is FaultKind.GONE:
            return job.status.is_open and not self.is_young(job)
        answered = (fault.http_status or 0) >= 500
        return self.patient and (answered or fault.kind is FaultKind.RATE_LIMITED)

    def _weigh(self, fault: Fault) -> None:
        """Give way to an endpoint that asks for it, leave alone one that is not there.

        RELIABILITY.md 4: five failed connections in a row.
        """
        self._broken = 0 if fault.http_status is not None else self._broken + 1
        if self._broken >= BROKEN:
            self.closed = fault
        else:
            self._give_way(fault)

    def _give_way(self, answer: Snapshot | Fault) -> None:
        asked = answer.retry_after or 0.0
        if asked <= PATIENCE:
            self._limiter.hold(asked)
        elif isinstance(answer, Fault):
            self.closed = answer
        else:
            said = f"its rate limit is spent for {asked:.0f} s"
            self.closed = Fault(FaultKind.RATE_LIMITED, said, retry_after=asked)

    def _heard(self, job: Job, answer: Snapshot) -> Job:
        reading = answer.reading
        same = reading.status is job.status and reading.raw_status == job.raw_status
        known = same and job.status.is_open and job.last_error is None
        age = abs(self.recorder.now() - (job.checked_at or 0.0))
        if self.thrifty and known and age < FRESH:
            return job
        return self.recorder.heard(job, answer, self.api.endpoint.dialect)
