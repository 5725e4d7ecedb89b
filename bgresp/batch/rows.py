"""Send a batch's rows: some at a time, each once, and follow them where asked.

May import core, ledger, engine and the other modules of this package. What a row came
to is told at once; ids are told in the order of the rows.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from bgresp.batch.crew import Crew
from bgresp.batch.plan import Desk, Plan, Tally
from bgresp.batch.standing import Standing
from bgresp.core.errors import BgrespError, ExitCode, LedgerError, UsageError
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind, Wait
from bgresp.engine.draft import Draft
from bgresp.engine.keyed import Keyed
from bgresp.engine.outcome import OF_ONE, Submitted, error_of
from bgresp.engine.submit import hold
from bgresp.engine.tracker import Tracker
from bgresp.ledger.checkpoint import is_kept

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
    _posting: int = 0
    _doubts: int = 0
    _posts: asyncio.Semaphore = field(init=False)
    _polls: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Take the plan's widths."""
        self.crew = Crew(self.plan.in_flight)
        self._posts = asyncio.Semaphore(self.plan.posts)
        self._polls = asyncio.Semaphore(self.plan.posts)

    async def run(self, drafts: AsyncGenerator[Draft, None]) -> None:
        """Send the drafts, which name their group and row.

        Raises UsageError for a row that may not be sent, LedgerError, OSError; first
        the requests that are on their way get their ids.
        """
        try:
            try:
                async with aclosing(drafts):
                    async for draft in drafts:
                        await self._begin(draft)
                        if self.crew.stopping or self.tally.sent == self.plan.limit:
                            break
            except (BgrespError, OSError) as error:
                self.crew.stop(error)
            await self.crew.rest()
        except asyncio.CancelledError:
            if self._posting:
                self.desk.leaving(self._posting)
            await self.crew.leave()
            raise
        if self.crew.error is not None:
            raise self.crew.error

    # ---- one row -----------------------------------------------------------

    async def _begin(self, draft: Draft) -> None:
        """Give a row its place in the order, and start what it needs."""
        ledger, job = self.keyed.submitter.books.ledger, draft.job
        earlier = ledger.by_row(str(job.group), str(job.row))
        standing = self.plan.rules.standing(earlier, job)
        if standing is Standing.CHANGED:
            raise changed(job)
        while len(self._order) >= WINDOW:
            await asyncio.wait([self._order[0]])
        place: Place = asyncio.get_running_loop().create_future()
        self._order.append(place)
        if earlier is None or standing is Standing.SEND:
            self.tally.sent += 1
            again = replace(job, retry_of=_retried(earlier))
            await self.crew.start(self._send(replace(draft, job=again), place))
        elif standing is Standing.KEEP:
            self.tally.kept += 1
            self._put(place, earlier)
            tracker = await self._to_follow(earlier) if is_kept(earlier) else None
            if tracker is not None:
                await self.crew.start(self._follow(tracker))
        elif earlier.status is Status.SUBMITTING:  # by a process that may be at work
            await self.crew.start(self._send(draft, place))
        else:
            self._put(place, None)
            error = error_of(Submitted(earlier, fault=_UNSURE))
            self.desk.failed(earlier, error)
            self.tally.codes.add(int(error.code))  # no failure of this run

    async def _to_follow(self, job: Job) -> Tracker | None:
        """Return who follows a job where somebody waits; tell of one that is over."""
        if self.plan.track is None:
            return None
        tracker = await self.plan.track(job)
        if tracker is None:
            self._over(job)
        return tracker

    async def _send(self, draft: Draft, place: Place) -> None:
        """Send a row, tell what came of it, and follow it where somebody waits."""
        job: Job | None = None
        try:
            async with self._posts:
                if not self.crew.stopping:
                    job = await self._posted(draft)
        finally:
            self._put(place, job)
        tracker = None if job is None else await self._to_follow(job)
        if tracker is not None and not self.crew.stopping:
            await self._follow(tracker)

    async def _posted(self, draft: Draft) -> Job | None:
        """Post a row; return its job where there is one."""
        self._posting += 1
        try:
            submitted = await self.keyed.submit(draft)
        except LedgerError:
            raise
        except BgrespError as error:
            self._failed(draft.job, error)
            return None
        finally:
            self._posting -= 1
        job, fault = submitted.job, submitted.fault
        if fault is not None:
            if job.status is Status.UNKNOWN or not submitted.interrupted:
                self._refused(submitted, fault)
            return None
        self._doubts = 0
        self.tally.accepted += 1
        if submitted.signals is not None:
            await hold(submitted.signals)
        if submitted.rescued is not None:
            hint = "make room, then: bgresp doctor --fix"
            self._failed(job, LedgerError(submitted.rescued, hint=hint))
        return job

    async def _follow(self, tracker: Tracker) -> None:
        """Follow a job to its end; a task each, as only so many rows are in flight."""
        try:
            with self.crew.idle():
                tracker.begin()
                while not tracker.done:
                    if isinstance(tracker.action, Wait):
                        await asyncio.sleep(tracker.action.seconds)
                    tracker.resume()
                    async with self._polls:
                        await tracker.turn()
        finally:
            if not tracker.done:
                tracker.detach()
        job, fault = tracker.job, tracker.fault
        if job.status.is_open and fault is not None:
            refused = Submitted(replace(job, status=Status.REJECTED), fault=fault)
            of_one = fault.http_status in OF_ONE
            self._failed(job, error_of(refused), of_one=of_one)
        else:
            self._over(job)

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
        self._doubts += submitted.job.status is Status.UNKNOWN
        if self._doubts >= DOUBTS:
            self.crew.stop()

    def _failed(self, job: Job, error: BgrespError, *, of_one: bool = False) -> None:
        self.desk.failed(job, error)
        self._count(error.code)
        if error.code in _OF_ALL and not of_one:
            self.crew.stop()

    def _over(self, job: Job) -> None:
        self.desk.ended(job)
        if job.status.exit_code:
            self._count(job.status.exit_code)

    def _count(self, code: ExitCode) -> None:
        self.tally.failures += 1
        self.tally.codes.add(int(code))
        if self.tally.failures == self.plan.max_failures:
            self.tally.codes.add(int(ExitCode.STOPPED_EARLY))
            self.crew.stop()


_UNSURE: Final = Fault(FaultKind.AMBIGUOUS, "an earlier run lost its reply")


def changed(job: Job) -> UsageError:
    """Return the error of a row that was submitted with another request."""
    return UsageError(
        f"row {job.row!r} was submitted with another request, or elsewhere",
        hint="--changed skip keeps that job, --changed resubmit sends the row anew",
    )


def _retried(earlier: Job | None) -> str | None:
    """Return which job a new one is a retry of: a rejected one was none."""
    if earlier is None or earlier.status is Status.REJECTED:
        return None
    return earlier.key
