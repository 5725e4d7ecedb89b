"""Drop jobs from the ledger and the disk, and at their endpoints where asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    NotFinishedError,
    RefusedError,
    UnknownOutcomeError,
    worst,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import exit_code
from bgresp.engine.recorder import Recorder

if TYPE_CHECKING:
    # What drops jobs here alone need not import what speaks HTTP.
    from bgresp.api.client import Api
    from bgresp.engine.endpoints import Endpoints


def refusal(recorder: Recorder, job: Job) -> BgrespError | None:
    """Return why a job is dropped only with --force; None where it may be."""
    if job.status.is_open:
        what = f"{job.ref} is {job.status.value}: its answer would be lost"
        return NotFinishedError(what, hint="--force drops it all the same")
    unsure = job.status is Status.UNKNOWN or recorder.ledger.is_dead(job)
    if unsure:
        what = f"{job.ref} may have been accepted: nothing would tell of it any more"
        hint = f"bgresp resolve {job.key}, or --force"
        return UnknownOutcomeError(what, hint=hint)
    if job.status is Status.SUBMITTING:
        return NotFinishedError(f"{job.ref} is being submitted")
    return None


@dataclass(slots=True)
class Dropping:
    """Drops jobs, and keeps which were `dropped`.

    `say` is told of what an endpoint would not delete; `failed` of jobs whose endpoint
    could not be asked, and returns the exit code of that.
    """

    recorder: Recorder
    say: Callable[[str], None]
    failed: Callable[[list[Job], BgrespError], int]
    dropped: list[Job] = field(default_factory=list)
    _codes: list[int] = field(default_factory=list)

    def here(self, jobs: list[Job]) -> int:
        """Drop jobs and their files; return the exit code.

        The files go first: while a line is left, the same again finishes it. And once
        more behind the line: a process that follows the job may have saved its answer
        in between. Raises LedgerError.
        """
        for job in jobs:
            self.recorder.answers.forget(job.key)
            self.recorder.ledger.forget(job)
            self.recorder.answers.forget(job.key)
            self.dropped.append(job)
        return 0

    async def everywhere(self, endpoints: "Endpoints", jobs: list[Job]) -> int:
        """Drop jobs at their endpoints, then here; return the worst exit code.

        One that its endpoint would not delete stays. Raises LedgerError.
        """
        self.here([job for job in jobs if job.id is None])
        known = [job for job in jobs if job.id is not None]
        for settings, some in endpoints.grouped(known, self._failed):
            try:
                async with endpoints.open(settings) as api:
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
                self.here([job])
            else:
                self.say(f"{job.ref} was not deleted: {fault.message}")
                self._codes.append(int(exit_code(fault)))

    def _failed(self, jobs: list[Job], error: BgrespError) -> None:
        self._codes.append(self.failed(jobs, error))
