"""Many jobs: followed at once by few connections, or gone over once (a sync).

Followed jobs that wait are entries of a heap; only one that does I/O has a task. Jobs
may join while others are followed. A pass settles, refreshes, saves, and leaves.
"""

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from bgresp.api.client import Api
from bgresp.config.settings import Settings
from bgresp.core import update
from bgresp.core.errors import BgrespError, ConfigError, RefusedError
from bgresp.core.machine import Done, Poll, Wait
from bgresp.core.model import Job
from bgresp.core.selection import Selector
from bgresp.core.signals import Fault, FaultKind, Snapshot, exit_code
from bgresp.engine.endpoints import Endpoints
from bgresp.engine.polling import ENOUGH, JobPoller, ListPoller, News
from bgresp.engine.recorder import Recorder
from bgresp.engine.settle import Settling, can_settle, candidates
from bgresp.engine.tracker import Tools, Tracker


@dataclass(slots=True)
class Scheduler:
    """Trackers that share connections.

    `stop` hears of each that is done, and ends the rest early when it says so.
    """

    connections: int
    stop: Callable[[Tracker], bool] = lambda _: False
    _heap: list[tuple[float, int, Tracker]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _members: dict[Tracker, None] = field(default_factory=dict)
    _sizes: Counter[int] = field(default_factory=Counter)
    _due: "dict[int, DueJobs]" = field(default_factory=dict)
    _tasks: dict[asyncio.Task[None], Sequence[Tracker]] = field(default_factory=dict)
    _saving: dict[asyncio.Task[None], Tracker] = field(default_factory=dict)
    _ended: list[asyncio.Task[None]] = field(default_factory=list)
    _woken: "asyncio.Future[None] | None" = None
    _is_open: bool = True
    _refused: set[int] = field(default_factory=set)

    def join(self, tracker: Tracker) -> None:
        """Let one more be followed; call within the running loop."""
        self._members[tracker] = None
        tracker.begin()
        self._push(tracker)
        self._gather(tracker)
        self._wake()

    def close(self) -> None:
        """Let nobody join any more: `follow` ends when all are done."""
        self._is_open = False
        self._wake()

    async def run(self, trackers: Iterable[Tracker]) -> None:
        """Follow all to their end; whatever happens, each is detached cleanly."""
        for tracker in trackers:
            self.join(tracker)
        self.close()
        await self.follow()

    async def follow(self) -> None:
        """Follow who has joined and who will, until it is closed and all are done."""
        try:
            while self._members or self._is_open:
                self._start_due()
                if await self._one_round():
                    return
        finally:
            await self._abandon()
            self._detach()

    @property
    def _is_full(self) -> bool:
        """Say whether none is to be asked now: too many are, or are not saved yet."""
        return max(len(self._tasks), len(self._saving)) >= self.connections

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _gather(self, tracker: Tracker) -> None:
        """Make a place for the due jobs of an endpoint with many jobs and a list."""
        tools = tracker.tools
        self._sizes[id(tools)] += 1
        if self._sizes[id(tools)] == ENOUGH and id(tools) not in self._due:
            poller = ListPoller(tools.api, tools.limiter)
            if poller.useful:
                self._due[id(tools)] = DueJobs(poller)

    def _push(self, tracker: Tracker) -> None:
        now = asyncio.get_running_loop().time()
        action = tracker.action
        due = now + (action.seconds if isinstance(action, Wait) else 0.0)
        heapq.heappush(self._heap, (due, next(self._order), tracker))

    def _start_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            together = self._due.get(id(self._heap[0][2].tools))
            if together is None and self._is_full:
                break
            tracker = heapq.heappop(self._heap)[2]
            tracker.resume()
            if together is None:
                self._start(tracker.turn(), [tracker])
            else:
                together.waiting.append(tracker)
        for together in self._due.values():
            while not self._is_full and (group := together.take(now)):
                self._start(together.ask(group), group)

    def _start(self, work: Coroutine[None, None, None], for_: list[Tracker]) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = for_
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._ended.append(task)
        self._wake()

    async def _one_round(self) -> bool:
        """Wait until something ends, joins or is due; say whether to stop."""
        if not self._ended:
            self._woken = asyncio.get_running_loop().create_future()
            # Not for the tasks: of many that would cost each round their number.
            await asyncio.wait([self._woken], timeout=self._wait())
        stop, ended = False, self._ended
        self._ended = []
        for task in ended:
            saved = self._saving.pop(task, None)
            trackers = self._tasks.pop(task, ())
            task.result()
            if saved is not None:
                stop |= self._over(saved)
            for tracker in trackers:
                if not isinstance(tracker.action, Done):
                    self._push(tracker)
                elif tracker.done:
                    stop |= self._over(tracker)
                else:
                    self._save(tracker)
        return stop

    def _save(self, tracker: Tracker) -> None:
        """Let a job's last word be saved, with others: that needs no connection."""
        task = asyncio.create_task(tracker.finish())
        self._saving[task] = tracker
        task.add_done_callback(self._has_ended)

    def _over(self, tracker: Tracker) -> bool:
        """Tell of a job that is done; say whether to stop."""
        self._leave(tracker)
        if tracker.tools.first.refused is not None:
            self._make_due(tracker.tools)
        return self.stop(tracker)

    def _leave(self, tracker: Tracker) -> None:
        del self._members[tracker]
        self._sizes[id(tracker.tools)] -= 1

    def _make_due(self, tools: Tools) -> None:
        """Let nobody wait for a turn at an endpoint that refuses the key."""
        if id(tools) not in self._refused:
            self._refused.add(id(tools))
            self._heap = [
                (0.0 if tracker.tools is tools else due, order, tracker)
                for due, order, tracker in self._heap
            ]
            heapq.heapify(self._heap)

    def _wait(self) -> float | None:
        """Return how long nothing is due; None while no connection is free."""
        if self._is_full:
            return None
        due = [self._heap[0][0]] if self._heap else []
        due += [jobs.free_at() for jobs in self._due.values() if jobs.waiting]
        return max(0.0, min(due) - asyncio.get_running_loop().time()) if due else None

    async def _abandon(self) -> None:
        """Ask nobody any more; what was answered is saved all the same, and told."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for trackers in self._tasks.values():
            for tracker in trackers:
                if isinstance(tracker.action, Done) and not tracker.done:
                    self._save(tracker)
        self._tasks.clear()
        while self._saving:
            ended, _ = await asyncio.wait(self._saving)
            for task in ended:
                tracker = self._saving.pop(task)
                if task.exception() is None:
                    self._over(tracker)

    def _detach(self) -> None:
        for tracker in self._members:
            if not tracker.done:
                tracker.detach()


@dataclass(slots=True)
class DueJobs:
    """Due jobs of one endpoint that wait to be asked about, together or one by one.

    Nobody here has a slot of the rate limit yet: a list spares most of them.
    """

    poller: ListPoller
    waiting: deque[Tracker] = field(default_factory=deque)
    _unlisted: set[int] = field(default_factory=set)
    _is_calling: bool = False

    def free_at(self) -> float:
        """Return the moment at which the next may be asked about."""
        return self.poller.limiter.free_at()

    def take(self, now: float) -> list[Tracker]:
        """Take those to ask about now: one, or all whom the list may know."""
        if not self.waiting or self.free_at() > now:
            return []
        if not self._is_calling:
            taken = self._take_listable()
            if taken:
                return taken
        tracker = self.waiting.popleft()
        tracker.reserve()
        return [tracker]

    def _take_listable(self) -> list[Tracker]:
        """Take those whom the list may know, if they are worth a list."""
        if not self.poller.suits(len(self.waiting) - len(self._unlisted)):
            return []
        listable = [t for t in self.waiting if self._may_be_listed(t)]
        if not self.poller.suits(len(listable)):
            return []
        taken = set(map(id, listable))
        self.waiting = deque(t for t in self.waiting if id(t) not in taken)
        self._is_calling = True
        return listable

    async def ask(self, trackers: list[Tracker]) -> None:
        """Ask about one job, or about all of them by the list."""
        if len(trackers) == 1:
            self._unlisted.discard(id(trackers[0]))
            await trackers[0].turn()
            return
        by_id = {str(tracker.job.id): tracker for tracker in trackers}
        self._unlisted |= set(map(id, trackers))

        def is_open(id_: str, snapshot: Snapshot) -> None:
            self._unlisted.discard(id(by_id[id_]))
            by_id[id_].hear(snapshot)

        jobs = {id_: tracker.job for id_, tracker in by_id.items()}
        try:
            refused = await self.poller.call(jobs, is_open)
        finally:
            self._is_calling = False
        if refused is not None:
            trackers[0].tools.first.came(refused)
            for tracker in trackers:
                await tracker.turn()
        for tracker in trackers:
            await tracker.synced()

    def _may_be_listed(self, tracker: Tracker) -> bool:
        """Say whether a poll is due that the list was not asked instead of before."""
        due = isinstance(tracker.action, Poll) or not tracker.tools.streams.free
        return due and id(tracker) not in self._unlisted


@dataclass(slots=True)
class Sync:
    """One pass of one process; `tell` is given each job as it was and as it is.

    `say` is told what went wrong beside the jobs, `codes` has an exit code for it;
    `unheard` has the jobs that were not heard of, and why.
    """

    recorder: Recorder
    tell: Callable[[Job, Job], None]
    say: Callable[[str], None]
    codes: list[int] = field(default_factory=list)
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    unheard: list[tuple[Job, Fault]] = field(default_factory=list)

    async def run(self, api: Api, jobs: Iterable[Job]) -> None:
        """Settle what is unsettled, then ask about the rest, soonest to expire first.

        Raises LedgerError.
        """
        some = list(jobs)
        await self._settle(api, [job for job in some if job.status.is_unsettled])
        poller = JobPoller(
            api, self.recorder, self._take, patient=True, thrifty=True, sleep=self.sleep
        )
        rest = [job for job in some if not job.status.is_unsettled and job.id]
        await poller.all(sorted(rest, key=_urgency))
        if poller.doubt is not None:
            self.say(poller.doubt)

    async def everywhere(
        self,
        endpoints: Endpoints,
        jobs: Iterable[Job],
        failed: Callable[[list[Job], BgrespError], None],
    ) -> None:
        """Go over jobs at all their endpoints at once.

        `failed` is told of jobs whose endpoint could not be opened. Raises LedgerError.
        """

        async def at(settings: Settings, some: list[Job]) -> None:
            if not can_settle(settings.dialect):
                # Nobody can tell what became of them: what died is recorded.
                await self._settle(None, [j for j in some if j.status.is_unsettled])
                some = [job for job in some if not job.status.is_unsettled]
            if not some:
                return
            try:
                async with endpoints.open(settings) as api:
                    await self.run(api, some)
            except (ConfigError, RefusedError) as error:
                failed(some, error)

        groups = endpoints.grouped(jobs, failed)
        await asyncio.gather(*(at(*group) for group in groups))

    async def _settle(self, api: Api | None, jobs: list[Job]) -> None:
        able = api if api is not None and can_settle(api.endpoint.dialect) else None
        settling = Settling(able, self.recorder, self.say)
        before = {job.key: job for job in jobs}
        for job in await settling.settle(jobs):
            self.tell(before[job.key], job)
        self.codes += [int(exit_code(fault)) for fault in settling.faults]

    def _take(self, news: News) -> None:
        self.tell(news.before, news.job)
        fault = news.fault
        if fault is None or fault.kind is FaultKind.GONE:
            return  # it is not believed yet: the next pass asks again
        self.unheard.append((news.job, fault))


def due(recorder: Recorder, selector: Selector) -> Iterator[Job]:
    """Yield the selected jobs that a pass is about: open ones, unsettled submits.

    And lost ones that were not asked about for an hour: they may come back.
    """
    yield from (job for job in recorder.ledger.open_jobs() if selector.matches(job))
    anyway = selector._replace(open=False)
    now = recorder.now()
    for job in recorder.ledger.lost():
        if anyway.matches(job) and update.may_come_back(job, now=now):
            yield job
    yield from (job for job in candidates(recorder) if anyway.matches(job))


def _urgency(job: Job) -> tuple[bool, float, str]:
    return job.expires_at is None, job.expires_at or 0.0, job.key
