"""Drop jobs from the ledger and the disk, at the endpoint too where that is asked."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    NotFinishedError,
    RefusedError,
    UnknownOutcomeError,
    worst,
)
from bgresp.core.faults import exit_code
from bgresp.core.model import Job, Status

if TYPE_CHECKING:
    from bgresp.api.client import Api


def refusal(context: Context, job: Job) -> BgrespError | None:
    """Return why a job is dropped only with --force; None where it may be."""
    if job.status.is_open:
        what = f"{job.ref} is {job.status.value}: its answer would be lost"
        return NotFinishedError(what, hint="--force drops it all the same")
    unsure = job.status is Status.UNKNOWN or context.recorder.ledger.is_dead(job)
    if unsure:
        what = f"{job.ref} may have been accepted: nothing would tell of it any more"
        hint = f"bgresp resolve {job.key}, or --force"
        return UnknownOutcomeError(what, hint=hint)
    if job.status is Status.SUBMITTING:
        return NotFinishedError(f"{job.ref} is being submitted")
    return None


@dataclass(slots=True)
class Dropping:
    """One command's jobs to drop."""

    context: Context
    remote: bool = False
    dropped: list[Job] = field(default_factory=list)
    _codes: list[int] = field(default_factory=list)

    def drop(self, jobs: list[Job]) -> int:
        """Drop jobs; one that its endpoint would not delete stays. Return a code."""
        if not self.remote:
            self._forget(jobs)
            return 0
        from bgresp.cli.running import run

        return run(self.context, self._everywhere(jobs))

    async def _everywhere(self, jobs: list[Job]) -> int:
        self._forget([job for job in jobs if job.id is None])
        known = [job for job in jobs if job.id is not None]
        for settings, some in self.context.endpoints.grouped(known, self._failed):
            try:
                async with self.context.api(settings) as api:
                    await self._at(api, some)
            except (ConfigError, RefusedError) as error:
                self._failed(some, error)
        return int(worst(self._codes))

    async def _at(self, api: "Api", jobs: list[Job]) -> None:
        """Drop jobs at their endpoint, then here.

        Raises RefusedError where it cannot.
        """
        if not api.can("delete"):
            name = api.endpoint.dialect.name
            raise RefusedError(f"a {name} endpoint cannot delete a response")
        for job in jobs:
            fault = await api.delete(str(job.id))
            if fault is None:
                self._forget([job])
            else:
                self.context.say(f"{job.ref} was not deleted: {fault.message}")
                self._codes.append(int(exit_code(fault)))

    def _failed(self, jobs: list[Job], error: BgrespError) -> None:
        self._codes.append(errors.tell_of(self.context.streams, jobs, error))

    def _forget(self, jobs: list[Job]) -> None:
        """Drop the files first: while a line is left, the same again finishes it.

        And once more behind the line: a process that follows the job may have saved its
        answer in between.
        """
        for job in jobs:
            self.context.recorder.answers.forget(job.key)
            self.context.recorder.ledger.forget(job)
            self.context.recorder.answers.forget(job.key)
            self.dropped.append(job)
