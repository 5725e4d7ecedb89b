"""Send a batch's rows: some at a time, each once, and follow them where asked.

What a row came to is told at once; ids are told in the order of the rows.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Protocol

from bgresp.core.errors import BgrespError, ExitCode, LedgerError, UsageError
from bgresp.core.model import Job, Status
from bgresp.core.request import Draft
from bgresp.core.signals import Fault, FaultKind
from bgresp.engine.recorder import Recorder, check_whole
from bgresp.engine.resubmit import Keyed
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.submit import OF_ONE, Submitted, error_of, let_go
from bgresp.engine.tracker import Tracker
from bgresp.ledger.view import holding

Work = Coroutine[Any, Any, None]


@dataclass(slots=True)
class WorkerPool:
    """Runs the work of at most `size` rows; `stopping` once none is to begin."""

    size: int
    stopping: bool = False
    error: BaseException | None = None
    _permits: asyncio.Semaphore = field(init=False)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _idle: set["asyncio.Task[Any] | None"] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make its permits."""
        self._permits = asyncio.Semaphore(self.size)

    async def acquire(self) -> None:
        """Wait for room for one row; once the pool is stopping there is no wait."""
        await self._permits.acquire()

    def release(self) -> None:
        """Make room: one row is over."""
        self._permits.release()

    def start(self, work: Work) -> "asyncio.Task[None]":
        """Start work; what it raises stops the pool."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Mark the running task as one that nothing is lost with.

        Raises CancelledError where the pool is stopping.
        """
        if self.stopping:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    def stop(self, error: BaseException | None = None) -> None:
        """Let nobody begin; idle tasks leave, the others finish what they do."""
        if not self.stopping:
            for _ in range(self.size):
                self._permits.release()  # for who waits: a row that is left is not over
        self.stopping = True
        self.error = self.error or error
        for task in self._idle:
            if task is not None:
                task.cancel()

    async def wait(self, but: "asyncio.Task[None] | None" = None) -> None:
        """Wait until nobody, or only the task `but`, is at work."""
        while left := self._tasks - {but}:
            await asyncio.wait(left)

    async def cancel_all(self) -> None:
        """Ask all to leave, and wait for them; when cancelled meanwhile, ask again."""
        self.stopping = True
        self._cancel()
        while self._tasks:
            try:
                await self.wait()
            except asyncio.CancelledError:
                self._cancel()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.stop(task.exception())


class RowDecision(Enum):
    """What is to be done with a row."""

    SEND = auto()
    KEEP = auto()  # it has its job
    CHANGED = auto()  # it has a job, of another request
    UNSURE = auto()  # it may have one: nobody knows


@dataclass(frozen=True, slots=True)
class Rules:
    """What the command line says about rows that have a job."""

    changed: str = "refuse"  # or resubmit, skip
    retry_failed: bool = False

    def decision(self, earlier: Job | None, draft: Job) -> RowDecision:
        """Decide about a row whose newest job is `earlier`."""
        if earlier is None or earlier.status is Status.REJECTED:
            return RowDecision.SEND
        if earlier.status.is_unsettled:
            return RowDecision.UNSURE
        was, place = earlier.request_sha256, (draft.base_url, dict(draft.vars))
        elsewhere = (earlier.base_url, dict(earlier.vars)) != place
        if earlier.base_url is None:  # of a forgotten job that is not known
            elsewhere = False
        if elsewhere or (was is not None and was != draft.request_sha256):
            how = {"resubmit": RowDecision.SEND, "skip": RowDecision.KEEP}
            return how.get(self.changed, RowDecision.CHANGED)
        failed = earlier.status.did_not_complete and earlier.status is not Status.LOST
        if self.retry_failed and failed:  # a lost one may still answer
            return RowDecision.SEND
        return RowDecision.KEEP


def look_up(
    recorder: Recorder, rules: Rules, draft: Job
) -> tuple[RowDecision, Job | None]:
    """Decide about a row; return the job too that says so, found by group and row.

    Raises LedgerError where one that was sent before may be hidden.
    """
    group, row = str(draft.group), str(draft.row)
    submitted = list(recorder.ledger.of_row(group, row))
    earlier = holding(submitted)
    decision = rules.decision(earlier, draft)
    if decision is RowDecision.SEND:
        newest = next(iter(submitted), None)
        if newest is not None and newest.status.is_unsettled:
            return RowDecision.UNSURE, newest
        check_whole(recorder)
    return decision, earlier


def changed(job: Job) -> UsageError:
    """Return the error of a row that was submitted with another request."""
    return UsageError(
        f"row {job.row!r} was submitted with another request, or elsewhere",
        hint="--changed skip keeps that job, --changed resubmit sends the row anew",
    )


def retried(earlier: Job | None) -> str | None:
    """Return which job a new one is a retry of: a rejected one was none."""
    if earlier is None or earlier.status is Status.REJECTED:
        return None
    return earlier.key


class RowObserver(Protocol):
    """Where a batch's news goes."""

    def accepted(self, job: Job) -> None:
        """Take the job of a row, in the order of the rows."""

    def failed(self, job: Job, error: BgrespError) -> None:
        """Take why a row has no job; its record says what is known."""

    def ended(self, job: Job) -> None:
        """Take the job of a row that is over, in the order of ending."""

    def leaving(self, posting: int) -> None:
        """Take that we are asked to leave while so many requests are on their way."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How a batch is run: so many POSTs, and rows, at once.

    `track` returns who follows a job, None where that is over; without it nobody waits.
    """

    rules: Rules
    posts: int
    in_flight: int
    limit: int | None = None
    max_failures: int | None = None
    track: Callable[[Job], Awaitable[Tracker | None]] | None = None


@dataclass(slots=True)
class RowCounts:
    """What became of the rows, and an exit code for each thing that went wrong.

    `accepted` counts the rows that got their job, `kept` those that had it; of the
    `failures` those `refused` and otherwise `unsent` have none.
    """

    accepted: int = 0
    kept: int = 0
    failures: int = 0
    refused: int = 0
    unsent: int = 0
    codes: set[int] = field(default_factory=set)

    def fail(self, code: ExitCode, *, has_job: bool) -> None:
        """Count a row that went wrong."""
        self.failures += 1
        self.refused += not has_job and code is ExitCode.REFUSED
        self.unsent += not has_job and code is not ExitCode.REFUSED
        self.codes.add(int(code))


WINDOW: Final = 4096  # rows that may wait for an earlier one's id to be told
DOUBTS: Final = 5  # unknown outcomes in a row, after which no more rows are sent
_OF_ALL: Final = frozenset(
    {ExitCode.INTERNAL, ExitCode.CONFIG, ExitCode.REFUSED, ExitCode.UNREACHABLE}
)
Place = asyncio.Future[Job | None]


@dataclass(slots=True)
class Rows:
    """The rows of one run."""

    keyed: Keyed
    observer: RowObserver
    plan: BatchPlan
    counts: RowCounts = field(default_factory=RowCounts)
    pool: WorkerPool = field(init=False)
    _order: deque[Place] = field(default_factory=deque)
    _sending: set[Place] = field(default_factory=set)
    _unsure: int = 0
    _doubts: int = 0
    _posts: asyncio.Semaphore = field(init=False)
    _scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        """Take the plan's widths."""
        self.pool = WorkerPool(self.plan.in_flight)
        self.keyed.submitter.idle = self.pool.idle
        self._posts = asyncio.Semaphore(self.plan.posts)
        self._scheduler = Scheduler(self.plan.posts, self._followed)

    async def run(self, drafts: AsyncGenerator[Draft, None]) -> None:
        """Send the drafts, which name their group and row.

        Raises UsageError for a row that may not be sent, LedgerError, OSError; first
        the requests that are on their way get their ids.
        """
        following = self.pool.start(self._follow())
        self.pool.start(self._begin_all(drafts))
        try:
            await self.pool.wait(but=following)
            self._scheduler.close()
            await self.pool.wait()
        except asyncio.CancelledError:
            if posting := self.keyed.submitter.posting:
                self.observer.leaving(posting)
            await self.pool.cancel_all()
            raise
        if self.pool.error is not None:
            raise self.pool.error

    # ---- one row -----------------------------------------------------------

    async def _begin_all(self, drafts: AsyncGenerator[Draft, None]) -> None:
        """Begin rows as they come, until the pool stops or the limit is reached."""
        async with aclosing(drafts):
            while not self.pool.stopping and await self._within_limit():
                with self.pool.idle():
                    draft = await anext(drafts, None)
                if draft is None:
                    return
                await self._begin(draft)

    async def _within_limit(self) -> bool:
        """Wait until the limit surely lets one more be sent; say whether it does.

        A row that was refused is none of those that it counts.
        """
        while self.plan.limit is not None:
            spent = self.counts.accepted + self._unsure
            if spent >= self.plan.limit:
                return False
            if spent + len(self._sending) < self.plan.limit:
                break
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def _begin(self, draft: Draft) -> None:
        """Give a row its place in the order, and start what it needs."""
        recorder, job = self.keyed.submitter.recorder, draft.job
        decision, earlier = look_up(recorder, self.plan.rules, job)
        if decision is RowDecision.CHANGED:
            raise changed(job)
        while len(self._order) >= WINDOW:
            await asyncio.wait([self._order[0]])
        place: Place = asyncio.get_running_loop().create_future()
        self._order.append(place)
        if earlier is None or decision is RowDecision.SEND:
            again = job._replace(retry_of=retried(earlier))
            await self._start(draft._replace(job=again), place)
        elif decision is RowDecision.KEEP:
            self.counts.kept += 1
            self._put(place, earlier)
            tracker = None
            if not earlier.is_forgotten:
                tracker = await self._to_follow(earlier, before=True)
            if tracker is not None:
                await self.pool.acquire()
                self._scheduler.join(tracker)
        elif earlier.status is Status.SUBMITTING:  # by a process that may be at work
            await self._start(draft, place)
        else:
            self._put(place, None)
            error = error_of(Submitted(earlier, fault=_UNSURE))
            self.observer.failed(earlier, error)
            self.counts.codes.add(int(error.code))  # no failure of this run

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
        await self.pool.acquire()
        self._sending.add(place)
        self.pool.start(self._send(draft, place))

    async def _send(self, draft: Draft, place: Place) -> None:
        """Send a row, tell what came of it, and follow it where somebody waits."""
        job: Job | None = None
        turn = ExitStack()
        try:
            await self._posts.acquire()
            turn.callback(self._posts.release)
            if not self.pool.stopping:
                # Once it was replied to, what is left to be synced needs no connection.
                job = await self._posted(draft, turn.close)
        finally:
            turn.close()
            self._sending.discard(place)
            self._put(place, job)
        tracker = None if job is None else await self._to_follow(job)
        if tracker is None:
            self.pool.release()
        else:
            self._scheduler.join(tracker)

    async def _posted(self, draft: Draft, replied: Callable[[], None]) -> Job | None:
        """Post a row; return its job where there is one."""
        try:
            submitted = await self.keyed.submit(draft, replied)
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
        self.counts.accepted += submitted.posted
        self.counts.kept += not submitted.posted  # another process did, meanwhile
        await let_go(submitted, self.keyed.submitter.recorder)
        job = submitted.job
        if submitted.rescued is not None:
            self._failed(job, error_of(submitted))
        return job

    async def _follow(self) -> None:
        """Follow the rows that have their jobs, until the pool stops."""
        with self.pool.idle():
            await self._scheduler.follow()

    def _followed(self, tracker: Tracker) -> bool:
        """Take what following a row came to; the others are followed on."""
        self.pool.release()
        job, fault = tracker.job, tracker.fault
        if job.status.is_open and fault is not None:
            refused = Submitted(job._replace(status=Status.REJECTED), fault=fault)
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
                self.observer.accepted(first)

    def _refused(self, submitted: Submitted, fault: Fault) -> None:
        """Count a row that got no id; an endpoint that swallows them gets no more."""
        of_one = fault.http_status in OF_ONE
        self._failed(submitted.job, error_of(submitted), of_one=of_one)
        self._unsure += submitted.job.status is Status.UNKNOWN
        self._doubts += submitted.job.status is Status.UNKNOWN
        if self._doubts >= DOUBTS:
            self.pool.stop()

    def _failed(self, job: Job, error: BgrespError, *, of_one: bool = False) -> None:
        self.observer.failed(job, error)
        self._count(error.code, has_job=job.id is not None)
        if error.code in _OF_ALL and not of_one:
            self.pool.stop()

    def _over(self, job: Job, *, before: bool = False) -> None:
        self.observer.ended(job)
        if before:
            self.counts.codes.add(int(job.exit_code))  # no failure of this run
        elif job.status.exit_code:
            self._count(job.status.exit_code, has_job=True)
        else:
            self.counts.codes.add(int(job.exit_code))  # 14 is no failure

    def _count(self, code: ExitCode, *, has_job: bool) -> None:
        self.counts.fail(code, has_job=has_job)
        if self.counts.failures == self.plan.max_failures:
            self.counts.codes.add(int(ExitCode.STOPPED_EARLY))
            self.pool.stop()


_UNSURE: Final = Fault(FaultKind.AMBIGUOUS, "an earlier run lost its reply")
