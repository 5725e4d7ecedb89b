"""One pass over jobs that are open: settle, refresh, save, and leave."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from bgresp.api.client import Api
from bgresp.config.settings import Settings
from bgresp.core import update
from bgresp.core.errors import BgrespError, ConfigError, RefusedError
from bgresp.core.model import Job
from bgresp.core.selection import Selector
from bgresp.core.signals import FaultKind, exit_code
from bgresp.engine.endpoints import Endpoints
from bgresp.engine.polling import JobPoller, News
from bgresp.engine.recorder import Recorder
from bgresp.engine.settle import Settling, can_settle, candidates


@dataclass(slots=True)
class Sync:
    """One pass of one process; `tell` is given each job as it was and as it is.

    `say` is told what went wrong, `codes` has an exit code for it.
    """

    recorder: Recorder
    tell: Callable[[Job, Job], None]
    say: Callable[[str], None]
    codes: list[int] = field(default_factory=list)
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

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
        if poller.skipped:
            self.say(
                f"{poller.skipped} jobs at {api.endpoint.host} were not asked about"
            )

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
        self.codes.append(int(exit_code(fault)))
        if news.asked:
            self.say(f"{news.job.ref}: {fault.message}")


def due(recorder: Recorder, selector: Selector) -> Iterator[Job]:
    """Yield the selected jobs that a pass is about: open ones, unsettled submits.

    And lost ones that were not asked about for an hour: they may come back.
    """
    yield from (job for job in recorder.ledger.open_jobs() if selector.matches(job))
    anyway = replace(selector, open=False)
    now = recorder.now()
    for job in recorder.ledger.lost():
        if anyway.matches(job) and update.may_come_back(job, now=now):
            yield job
    yield from (job for job in candidates(recorder) if anyway.matches(job))


def _urgency(job: Job) -> tuple[bool, float, str]:
    return job.expires_at is None, job.expires_at or 0.0, job.key
