"""Ask one endpoint about jobs, each once, at its pace; doubt a 404 (core.update).

The pace is one rate limit an endpoint, for every job of the process; what the endpoint
asks to wait holds everybody. Of many jobs its own list of responses is asked, page by
page. A list is advice: it may lag and leave jobs out. What it shows as ended, or does
not show, is asked for one by one.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from bgresp.api.client import PAGE, Api
from bgresp.core import update
from bgresp.core.dialect import Dialect, first_at
from bgresp.core.model import Job
from bgresp.core.observer import not_found
from bgresp.core.reading import read_id, read_response
from bgresp.core.schedule import RETRY_AFTER_CAP, YOUNG
from bgresp.core.signals import Fault, FaultKind, Signal, Snapshot
from bgresp.core.times import unix
from bgresp.engine.endpoints import RateLimiter
from bgresp.engine.recorder import GroupCommit, Recorder

ALONE: Final = 5.0  # seconds that the first question may take before others are asked
ENOUGH: Final = 2 * PAGE  # jobs to ask about at once that are worth a list
WORTH: Final = 0.5  # the share of them that a list must show to be asked again
SEARCHED: Final = 10  # pages that are looked through for lost submissions
SLACK: Final = 3600.0  # an endpoint's clock may differ from ours by so much

_NO_LIST: Final = frozenset({FaultKind.GONE, FaultKind.REFUSED, FaultKind.UNREADABLE})

Items = list[Mapping[str, Any]]
LOOKS: Final = 3  # questions about a job in one round, at most
BETWEEN: Final = 5.0  # seconds between them
# What an endpoint may ask us to wait within one round; longer, and it is left alone.
PATIENCE: Final = 60.0
BROKEN: Final = 5  # failed connections in a row, after which it is left alone
FRESH: Final = 600.0  # seconds within which a mere repetition is not worth a line


@dataclass(slots=True)
class FirstAnswer:
    """What an endpoint says to the first question holds for the others, if at all.

    A key that it refuses it refuses for every job: until it has answered once, nobody
    else asks; not for ever, the first may be a slow one. One that was good before may
    be refused to one job by accident.
    """

    refused: Fault | None = None
    _was_good: bool = False
    _asked: bool = False
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def turn(self) -> Fault | None:
        """Wait until one may ask; return the refusal where that is of no use."""
        if self._asked and not self._came.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(ALONE):
                    await self._came.wait()
        self._asked = True
        return self.refused

    def came(self, signal: Signal) -> None:
        """Take what a question came to."""
        is_of_key = isinstance(signal, Fault) and signal.is_of_key
        self._was_good |= not is_of_key
        if self._was_good:
            self.refused = None
        elif isinstance(signal, Fault):
            self.refused = signal
        self._came.set()


@dataclass(slots=True)
class Semaphore:
    """How many may do something at the same time; nobody waits for it."""

    free: float = math.inf

    def try_acquire(self) -> bool:
        """Take one, if there is one."""
        if self.free < 1:
            return False
        self.free -= 1
        return True

    def release(self) -> None:
        """Give one back."""
        self.free += 1


@dataclass(slots=True)
class ListPoller:
    """One endpoint's list as a means to ask; `useful` until it proves to be none."""

    api: Api
    limiter: RateLimiter
    useful: bool = True

    def __post_init__(self) -> None:
        """Be of use only where there is a list."""
        self.useful = self.api.can("list")

    def suits(self, count: int) -> bool:
        """Say whether so many jobs are better asked about together."""
        return self.useful and count >= ENOUGH

    async def call(
        self, jobs: Mapping[str, Job], is_open: Callable[[str, Snapshot], None]
    ) -> Fault | None:
        """Page through the list; tell of each job that is still open, by its id.

        Goes on until every job was seen, or what is older than all of them. Returns why
        no job can be asked about with this key, where the list was refused to it.
        """
        dialect, seen = self.api.endpoint.dialect, set[str]()
        since = min(job.submitted_at or 0.0 for job in jobs.values())
        most = 2 * len(jobs) // PAGE + 2
        async with aclosing(
            pages(self.api, self.limiter, since=since, most=most)
        ) as some:
            async for items in some:
                if isinstance(items, Fault):
                    self._failed(items)
                    return items if items.is_of_key else None
                for item in items:
                    reading = read_response(dialect, item)
                    id_ = reading.id if reading else None
                    if reading is None or id_ is None or id_ in seen or id_ not in jobs:
                        continue
                    seen.add(id_)
                    if reading.known and reading.status.is_open:
                        is_open(id_, Snapshot(reading))
                if len(seen) == len(jobs):
                    break
        self.useful = len(seen) >= WORTH * len(jobs)
        return None

    def _failed(self, fault: Fault) -> None:
        """Give a busy endpoint its time; do not ask again one that has no list."""
        if fault.retry_after is not None:
            self.limiter.hold(min(fault.retry_after, RETRY_AFTER_CAP))
        if fault.kind in _NO_LIST:
            self.useful = False


@dataclass(slots=True)
class Tagged:
    """Ids by the key that they carry; the fault that ended the search too early."""

    ids: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None


async def find_by_metadata(api: Api, jobs: Mapping[str, Job]) -> Tagged:
    """Look through the list, newest first, for responses that carry our keys.

    Stops before what is older than every submission, and after ten pages.
    """
    dialect, found = api.endpoint.dialect, Tagged()
    since = min(job.submitted_at or 0.0 for job in jobs.values())
    limiter = RateLimiter(dialect.limits.rate)
    async with aclosing(pages(api, limiter, since=since, most=SEARCHED)) as source:
        async for items in source:
            if isinstance(items, Fault):
                found.fault = items
                break
            for item in items:
                key = first_at(item, dialect.reads.key)
                id_ = read_id(dialect, item)
                if isinstance(key, str) and key in jobs and id_ is not None:
                    found.ids.setdefault(key, id_)
            if len(found.ids) == len(jobs):
                break
    return found


async def pages(
    api: Api, limiter: RateLimiter, *, since: float, most: int
) -> AsyncGenerator[Items | Fault]:
    """Yield the responses a page, until they are older than `since` by far.

    At most so many pages; a Fault is the last that comes.
    """
    dialect = api.endpoint.dialect
    after: str | None = None
    for _ in range(most):
        await limiter.turn()
        page = await api.list(after)
        if isinstance(page, Fault):
            yield page
            return
        items = [item for item in page["data"] if isinstance(item, Mapping)]
        yield items
        after = _next(dialect, page, after)
        if after is None or _reaches(items, since - SLACK, dialect):
            return


def _reaches(items: Items, since: float, dialect: Dialect) -> bool:
    """Say whether a page goes back before all we look for."""
    moments = [unix(first_at(item, dialect.reads.created)) for item in items]
    return any(moment is not None and moment < since for moment in moments)


def _next(dialect: Dialect, page: Mapping[str, Any], after: str | None) -> str | None:
    """Return the id to go on after; None at the end of the list."""
    items = page["data"]
    if not items or not page.get("has_more", True):
        return None
    last = page.get("last_id") or read_id(dialect, items[-1])
    return last if isinstance(last, str) and last != after else None


@dataclass(frozen=True, slots=True)
class News:
    """What one question came to: a job before and now; a fault where none was heard.

    It may be another job's, after which the endpoint was left alone. A fault "gone"
    says that the endpoint has no such job, and that this is not believed yet.
    """

    before: Job
    job: Job
    fault: Fault | None = None


@dataclass(slots=True)
class JobPoller:
    """One round of questions to one endpoint; `tell` hears each answer as it comes.

    `patient`: ask again after a 429 or a 5xx. `thrifty`: a mere repetition is not
    worth a line of the ledger. `doubt` is what to say where it has none of several.
    A key that is refused is refused for all: one question finds that out. What is
    recorded of several is synced together.
    """

    api: Api
    recorder: Recorder
    tell: Callable[[News], None]
    patient: bool = False
    thrifty: bool = False
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    closed: Fault | None = None
    doubt: str | None = None
    _gone: list[tuple[Job, Fault]] = field(default_factory=list)
    _limiter: RateLimiter = field(init=False)
    _group: GroupCommit | None = None
    _broken: int = 0
    _heard_once: bool = False

    def __post_init__(self) -> None:
        """Take the endpoint's pace."""
        self._limiter = RateLimiter(self.api.endpoint.dialect.limits.rate)

    async def all(self, jobs: Iterable[Job]) -> None:
        """Ask about jobs in their order; those worth it up to three times.

        Raises LedgerError.
        """
        waiting = list(jobs)
        if len(waiting) > 1:
            self._group = GroupCommit(self.recorder.ledger.path)
        waiting = await self._listed(waiting) if self.thrifty else waiting
        for look in range(1, LOOKS + 1):
            if look > 1:
                self.api.waits(BETWEEN, self.api.endpoint.host)
                await self.sleep(BETWEEN)
            waiting = await self._round(waiting, last=look == LOOKS)
            if not waiting:
                break
        self._weigh_gone()

    async def _listed(self, jobs: list[Job]) -> list[Job]:
        """Believe the endpoint's list of many jobs that are open; return the others."""
        poller = ListPoller(self.api, self._limiter)
        if not poller.suits(len(jobs)):
            return jobs
        left = {str(job.id): job for job in jobs}

        def is_open(id_: str, snapshot: Snapshot) -> None:
            job = left.pop(id_)
            self.tell(News(job, self._record(job, snapshot)))

        self.closed = await poller.call(dict(left), is_open)
        return list(left.values())

    async def _round(self, jobs: list[Job], *, last: bool) -> list[Job]:
        """Ask a few at a time; return those to ask again."""
        again: list[Job] = []
        line = iter(jobs)

        async def worker() -> None:
            for job in line:
                worth = await self._ask(job, last=last)
                again.extend([job] if worth else [])

        for job in islice(line, 0 if self._heard_once else 1):
            again.extend([job] if await self._ask(job, last=last) else [])
        self._heard_once = True
        connections = self.api.endpoint.dialect.limits.connections
        await asyncio.gather(*(worker() for _ in jobs[:connections]))
        return again

    async def _ask(self, job: Job, *, last: bool) -> bool:
        """Ask about one job and tell what came; say whether to ask again."""
        if self.closed is None:
            await self._limiter.turn()
        if self.closed is not None:
            self.tell(News(job, job, self.closed))
            return False
        answer = await self.api.retrieve(str(job.id), job.include)
        if not isinstance(answer, Fault):
            self._broken = 0
            self._give_way(answer)
            self.tell(News(job, await self._recorded(job, answer)))
            return False
        if answer.kind is FaultKind.GONE:
            endpoint = self.api.endpoint
            answer = self.recorder.another_key(job, endpoint, answer) or answer
        self._weigh(answer)
        if not last and self.closed is None and self._worth_again(job, answer):
            return True
        if answer.kind is not FaultKind.GONE or self.is_young(job):
            self.tell(News(job, self.recorder.unheard(job, answer), answer))
        elif job.status.is_open:
            self._gone.append((job, answer))
        else:
            self.tell(News(job, self.recorder.lost(job, answer)))
        return False

    def _weigh_gone(self) -> None:
        """Record which of the jobs that the endpoint has not are lost, at the end.

        Of several it is rather the key, the project or the base URL that is wrong.
        """
        alone, doubted = len(self._gone) == 1, 0
        for job, fault in self._gone:
            now = self.recorder.now()
            missed = update.missed(job, fault, now=now)
            if update.is_believed(missed, now=now, alone=alone):
                self.tell(News(job, self.recorder.lost(missed, fault)))
                continue
            doubted += 1
            self.tell(News(job, self.recorder.missed(job, fault), fault))
        if doubted > 1:
            self.doubt = not_found(doubted, self.api.endpoint.host)

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
        if self._broken >= BROKEN or fault.is_of_key:
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

    def _is_known(self, job: Job, answer: Snapshot) -> bool:
        """Say whether an answer is not worth a line."""
        reading = answer.reading
        same = reading.status is job.status and reading.raw_status == job.raw_status
        known = same and job.status.is_open and job.last_error is None
        age = abs(self.recorder.now() - (job.checked_at or 0.0))
        return self.thrifty and known and age < FRESH

    def _record(self, job: Job, answer: Snapshot) -> Job:
        if self._is_known(job, answer):
            return job
        return self.recorder.heard(job, answer, self.api.endpoint.dialect)

    async def _recorded(self, job: Job, answer: Snapshot) -> Job:
        """Record an answer with those of others."""
        if self._group is None or self._is_known(job, answer):
            return self._record(job, answer)
        dialect = self.api.endpoint.dialect
        return await self.recorder.heard_with(self._group, job, answer, dialect)
