"""One pass over the jobs of one endpoint: settle, refresh, save, and leave."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from bgresp.api.client import Api
from bgresp.core.faults import exit_code
from bgresp.core.model import Job
from bgresp.core.signals import FaultKind
from bgresp.engine.polling import JobPoller, News
from bgresp.engine.recorder import Recorder
from bgresp.engine.settle import Settling, can_settle


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
        if poller.skipped:
            self.say(
                f"{poller.skipped} jobs at {api.endpoint.host} were not asked about"
            )

    async def record_dead(self, jobs: Iterable[Job]) -> None:
        """Record which submissions died, where nobody can tell what became of them."""
        await self._settle(None, list(jobs))

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
            return  # too young to be lost: the next pass asks again
        self.codes.append(int(exit_code(fault)))
        if news.asked:
            self.say(f"{news.job.ref}: {fault.message}")


def _urgency(job: Job) -> tuple[bool, float, str]:
    return job.expires_at is None, job.expires_at or 0.0, job.key
