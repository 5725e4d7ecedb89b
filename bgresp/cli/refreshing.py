"""Ask once about jobs, for the verbs that do not wait: status, list --refresh, get."""

import asyncio
from dataclasses import dataclass, field

from bgresp.api.client import Api
from bgresp.cli.context import Context
from bgresp.config.settings import Settings
from bgresp.core.errors import ExitCode
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind
from bgresp.engine.gate import Gate

YOUNG = 60.0
LOOKS = 3
BETWEEN = 5.0


async def refreshed(context: Context, jobs: list[Job]) -> tuple[list[Job], list[int]]:
    """Ask the endpoints once about each job that may have changed.

    Returns the records that hold now, and an exit code for each that was not heard of.
    """
    asking = Asking(context)
    groups: dict[str, tuple[Settings, list[int]]] = {}
    found = list(jobs)
    for index, job in enumerate(jobs):
        if not asking.worth(job):
            continue
        settings = context.settings_of(job)
        name = settings.identity
        groups.setdefault(name, (settings, []))[1].append(index)
    for settings, indices in groups.values():
        async with context.api(settings) as api:
            news = await asking.all(api, [jobs[index] for index in indices])
        for index, job in zip(indices, news, strict=True):
            found[index] = job
    return found, asking.codes


@dataclass(slots=True)
class Asking:
    """One round of questions."""

    context: Context
    codes: list[int] = field(default_factory=list)

    def worth(self, job: Job) -> bool:
        """Say whether the endpoint may have news: not of what is over and saved."""
        if job.id is None:
            return False
        if job.status in {Status.CANCELLED, Status.LOST} or job.status.is_open:
            return True
        return not self.context.books.answers.response_path(job.key).exists()

    async def all(self, api: Api, jobs: list[Job]) -> list[Job]:
        """Ask about jobs of one endpoint, a few at a time."""
        limits = api.endpoint.dialect.limits
        gate, permits = Gate(limits.rate), asyncio.Semaphore(limits.connections)

        async def one(job: Job) -> Job:
            async with permits:
                await gate.turn()
                return await self.one(api, job)

        return list(await asyncio.gather(*(one(job) for job in jobs)))

    async def one(self, api: Api, job: Job) -> Job:
        """Ask about one job; believe a 404 only when it is repeated."""
        books = self.context.books
        answer = await api.retrieve(str(job.id))
        for _ in range(LOOKS - 1):
            if not isinstance(answer, Fault) or answer.kind is not FaultKind.GONE:
                break
            if job.status is Status.LOST or self._is_young(job):
                break
            await asyncio.sleep(BETWEEN)
            answer = await api.retrieve(str(job.id))
        if not isinstance(answer, Fault):
            return books.heard(job, answer, api.endpoint.dialect)
        if answer.kind is FaultKind.GONE and not self._is_young(job):
            return books.lost(job, answer)
        self.context.say(f"{job.ref}: {answer.message}")
        self.codes.append(int(exit_code(answer)))
        return books.unheard(job, answer)

    def _is_young(self, job: Job) -> bool:
        start = job.submitted_at
        return start is not None and self.context.now - start < YOUNG


def exit_code(fault: Fault) -> ExitCode:
    """Return the exit code of a question that was not answered."""
    http = fault.http_status or 0
    if http in {401, 403} or 300 <= http < 400:
        return ExitCode.CONFIG
    if fault.kind in {FaultKind.REFUSED, FaultKind.UNREADABLE}:
        return ExitCode.REFUSED
    return ExitCode.UNREACHABLE
