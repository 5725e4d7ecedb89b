"""Send a batch's rows: some at a time, each once, and follow them where asked.

What a row came to is told at once; ids are told in the order of the rows.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from bgresp.batch.crew import Crew
from bgresp.batch.plan import Desk, Plan, Tally
from bgresp.batch.standing import Standing, changed, look_up, retried
from bgresp.core.errors import BgrespError, ExitCode, LedgerError
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind
from bgresp.engine.created import hold
from bgresp.engine.draft import Draft
from bgresp.engine.keyed import Keyed
from bgresp.engine.outcome import OF_ONE, Submitted, error_of
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.tracker import Tracker

WINDOW: Final = 4096  # rows that may wait for an earlier one's id to be told
DOUBTS: Final = 5
_OF_ALL: Final = frozenset(
    {ExitCode.INTERNAL, ExitCode.CONFIG, ExitCode.REFUSED, ExitCode.UNREACHABLE}
)
Place = asyncio.Future[Job | None]


@dataclass(slots=True)
class Rows:
    """The rows of one run."""

    keyed: Keyed
    desk: Desk
    plan: Plan
    tally: Tally = field(default_factory=Tally)
    crew: Crew = field(init=False)
    _order: deque[Place] = field(default_factory=deque)
    _sending: set[Place] = field(default_factory=set)
    _unsure: int = 0
    _doubts: int = 0
    _posts: asyncio.Semaphore = field(init=False)
    _scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        """Take the plan's widths."""
        self.crew = Crew(self.plan.in_flight)
        self.keyed.submitter.idle = self.crew.idle
        self._posts = asyncio.Semaphore(self.plan.posts)
        self._scheduler = Scheduler(self.plan.posts, self._followed)

    async def run(self, drafts: AsyncGenerator[Draft, None]) -> None:
        """Send the drafts, which name their group and row.

        Raises UsageError for a row that may not be sent, LedgerError, OSError; first
        the requests that are on their way get their ids.
        """
        following = self.crew.start(self._follow())
        self.crew.start(self._begin_all(drafts))
        try:
            await self.crew.rest(but=following)
            self._scheduler.close()
            await self.crew.rest()
        except asyncio.CancelledError:
            if posting := self.keyed.submitter.posting:
                self.desk.leaving(posting)
            await self.crew.disband()
            raise
        if self.crew.error is not None:
            raise self.crew.error

    # ---- one row -----------------------------------------------------------

    async def _begin_all(self, drafts: AsyncGenerator[Draft, None]) -> None:
        """Begin rows as they come, until the crew stops or the limit is reached."""
        async with aclosing(drafts):
            while not self.crew.stopping and await self._within_limit():
                with self.crew.idle():
                    draft = await anext(drafts, None)
                if draft is None:
                    return
                await self._begin(draft)

    async def _within_limit(self) -> bool:
        """Wait until the limit surely lets one more be sent; say whether it does.

        A row that was refused is none of those that it counts.
        """
        while self.plan.limit is not None:
            spent = self.tally.accepted + self._unsure
            if spent >= self.plan.limit:
                return False
            if spent + len(self._sending) < self.plan.limit:
                break
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def _begin(self, draft: Draft) -> None:
        """Give a row its place in the order, and start what it needs."""
        books, job = self.keyed.submitter.books, draft.job
        standing, earlier = look_up(books, self.plan.rules, job)
        if standing is Standing.CHANGED:
            raise changed(job)
        while len(self._order) >= WINDOW:
            await asyncio.wait([self._order[0]])
        place: Place = asyncio.get_running_loop().create_future()
        self._order.append(place)
        if earlier is None or standing is Standing.SEND:
            again = replace(job, retry_of=retried(earlier))
            await self._start(replace(draft, job=again), place)
        elif standing is Standing.KEEP:
            self.tally.kept += 1
            self._put(place, earlier)
            tracker = None
            if not earlier.is_forgotten:
                tracker = await self._to_follow(earlier, before=True)
            if tracker is not None:
                await self.crew.enter()
                self._scheduler.join(tracker)
        elif earlier.status is Status.SUBMITTING:  # by a process that may be at work
            await self._start(draft, place)
        else:
            self._put(place, None)
            error = error_of(Submitted(earlier, fault=_UNSURE))
            self.desk.failed(earlier, error)
            self.tally.codes.add(int(error.code))  # no failure of this run

    async def _to_follow(self, job: Job, *, before: bool = False) -> Tracker | None:
        """Return who follows a job where somebody waits; tell of one that is over.

        `before`: an earlier run submitted it.
        """
        if self.plan.track is None:
            return None
        tracker = await self.plan.track(job)
        if tracker is None:
            self._over(job, before=before)
        return tracker

    async def _start(self, draft: Draft, place: Place) -> None:
        await self.crew.enter()
        self._sending.add(place)
        self.crew.start(self._send(draft, place))

    async def _send(self, draft: Draft, place: Place) -> None:
        """Send a row, tell what came of it, and follow it where somebody waits."""
        job: Job | None = None
        try:
            async with self._posts:
                if not self.crew.stopping:
                    job = await self._posted(draft)
        finally:
            self._sending.discard(place)
            self._put(place, job)
        tracker = None if job is None else await self._to_follow(job)
        if tracker is None:
            self.crew.leave()
        else:
            self._scheduler.join(tracker)

    async def _posted(self, draft: Draft) -> Job | None:
        """Post a row; return its job where there is one."""
        try:
            submitted = await self.keyed.submit(draft)
        except LedgerError:
            raise
        except BgrespError as error:
            self._failed(draft.job, error)
            return None
        job, fault = submitted.job, submitted.fault
        if fault is not None:
            if job.status is Status.UNKNOWN or not submitted.interrupted:
                self._refused(submitted, fault)
            return None
        self._doubts = 0
        self.tally.accepted += submitted.posted
        self.tally.kept += not submitted.posted  # another process did, meanwhile
        if submitted.signals is not None:
            await hold(submitted.signals)
        if submitted.rescued is not None:
            hint = "make room, then: bgresp doctor --fix"
            self._failed(job, LedgerError(submitted.rescued, hint=hint))
        return job

    async def _follow(self) -> None:
        """Follow the rows that have their jobs, until the crew stops."""
        with self.crew.idle():
            await self._scheduler.follow()

    def _followed(self, tracker: Tracker) -> bool:
        """Take what following a row came to; the others are followed on."""
        self.crew.leave()
        job, fault = tracker.job, tracker.fault
        if job.status.is_open and fault is not None:
            refused = Submitted(replace(job, status=Status.REJECTED), fault=fault)
            of_one = fault.http_status in OF_ONE
            self._failed(job, error_of(refused), of_one=of_one)
        else:
            self._over(job)
        return False

    # ---- what came of it ---------------------------------------------------

    def _put(self, place: Place, job: Job | None) -> None:
        """Settle a row's place, and tell the ids whose turn has come."""
        place.set_result(job)
        while self._order and self._order[0].done():
            first = self._order.popleft().result()
            if first is not None:
                self.desk.accepted(first)

    def _refused(self, submitted: Submitted, fault: Fault) -> None:
        """Count a row that got no id; an endpoint that swallows them gets no more."""
        of_one = fault.http_status in OF_ONE
        self._failed(submitted.job, error_of(submitted), of_one=of_one)
        self._unsure += submitted.job.status is Status.UNKNOWN
        self._doubts += submitted.job.status is Status.UNKNOWN
        if self._doubts >= DOUBTS:
            self.crew.stop()

    def _failed(self, job: Job, error: BgrespError, *, of_one: bool = False) -> None:
        self.desk.failed(job, error)
        self._count(error.code, has_job=job.id is not None)
        if error.code in _OF_ALL and not of_one:
            self.crew.stop()

    def _over(self, job: Job, *, before: bool = False) -> None:
        self.desk.ended(job)
        if before:
            self.tally.codes.add(int(job.status.exit_code))  # no failure of this run
        elif job.status.exit_code:
            self._count(job.status.exit_code, has_job=True)

    def _count(self, code: ExitCode, *, has_job: bool) -> None:
        self.tally.fail(code, has_job=has_job)
        if self.tally.failures == self.plan.max_failures:
            self.tally.codes.add(int(ExitCode.STOPPED_EARLY))
            self.crew.stop()


_UNSURE: Final = Fault(FaultKind.AMBIGUOUS, "an earlier run lost its reply")
