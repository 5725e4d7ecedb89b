"""Send drafts one after the other, print ids, and wait where it was asked for."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.cli.context import Context
from bgresp.cli.following import Following, Plan
from bgresp.cli.settling import settled
from bgresp.core.errors import BgrespError, LedgerError, worst
from bgresp.core.model import Job
from bgresp.engine.keyed import Keyed
from bgresp.engine.outcome import Submitted, error_of
from bgresp.engine.settle import Settling
from bgresp.engine.submit import Draft, Submitter, hold

AFTER_RESCUE: Final = "make room, then: bgresp doctor --fix"


@dataclass(slots=True)
class Sending:
    """One command's submits."""

    context: Context
    plan: Plan
    waits: bool
    ids_to_stderr: bool
    unique: bool = False
    _accepted: list[Submitted] = field(default_factory=list)
    _errors: list[BgrespError] = field(default_factory=list)

    async def run(self, drafts: list[Draft], *, single: bool) -> int:
        """Send all; return the exit code."""
        settings = self.context.settings(model=drafts[0].job.model)
        async with self.context.api(settings) as api:
            await settled(self.context, at=settings)
            submitter = Submitter(api, self.context.books, self.context.say)
            settling = Settling(api, self.context.books, self.context.say)
            keyed = Keyed(submitter, settling, unique=self.unique)
            for draft in drafts:
                submitted = await keyed.submit(draft)
                self._take(submitted)
                if submitted.interrupted:
                    self._report()
                    raise asyncio.CancelledError
                if submitted.fault is not None and not _goes_on(submitted):
                    break
            self.context.report_ledger()
            jobs = [accepted.job for accepted in self._accepted]
            if not self.waits or not jobs:
                await self._let_go()
                return self._finish(jobs, single)
            following = Following(self.context, self.plan, single)
            opened = None if self.plan.silent else self._accepted[0].signals
            if opened is None:
                await self._let_go()
            code = await following.run(jobs, opened)
        return int(worst([code, *self._report()]))

    def _take(self, submitted: Submitted) -> None:
        if submitted.fault is not None:
            self._errors.append(error_of(submitted))
            return
        self._accepted.append(submitted)
        if submitted.rescued is not None:
            self._errors.append(LedgerError(submitted.rescued, hint=AFTER_RESCUE))
        self._print_id(submitted.job)

    def _print_id(self, job: Job) -> None:
        common = self.context.common
        if self.ids_to_stderr:
            self.context.say(f"submitted {job.ref}")
        elif common.jsonl and not self.waits:
            self.context.show_jobs([job], single=True)
        elif not self.context.is_json:
            self.context.streams.line(job.ref)

    async def _let_go(self) -> None:
        """Leave creating streams only when their jobs run."""
        held = [s.signals for s in self._accepted if s.signals is not None]
        await asyncio.gather(*(hold(signals) for signals in held))

    def _finish(self, jobs: list[Job], single: bool) -> int:
        if self.context.common.json and jobs:
            records = [self._record(job) for job in jobs]
            self.context.show_records(records, single)
        return int(worst(self._report()))

    def _record(self, job: Job) -> dict[str, Any]:
        record = job.to_record()
        wanted = self.context.common.wanted_fields()
        return {name: record.get(name) for name in wanted} if wanted else record

    def _report(self) -> list[int]:
        """Tell of every submit that failed but the last, which is raised."""
        if not self._errors:
            return []
        from bgresp.cli.errors import show

        for error in self._errors:
            show(self.context.streams, error, as_json=self.context.is_json)
        return [int(error.code) for error in self._errors]


def _goes_on(submitted: Submitted) -> bool:
    """Say whether other submits may fare better: a refusal may be of one prompt."""
    http = submitted.fault.http_status if submitted.fault else None
    return http in {400, 413, 415, 422}
