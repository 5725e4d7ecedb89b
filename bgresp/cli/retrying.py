"""Send retries at the endpoints of the old jobs, and print the new ids."""

import asyncio
from dataclasses import dataclass, field

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.cli.endpoints import by_endpoint
from bgresp.core.errors import BgrespError, LedgerError, NoSuchJobError, worst
from bgresp.core.model import Job
from bgresp.engine import retry
from bgresp.engine.outcome import Submitted, error_of
from bgresp.engine.submit import Draft, Submitter, hold

# A refusal of these may be of one request; any other is of the endpoint.
_OF_ONE = frozenset({400, 413, 415, 422})


@dataclass(slots=True)
class Retrying:
    """One command's retries."""

    context: Context
    single: bool
    codes: list[int] = field(default_factory=list)
    _accepted: list[Job] = field(default_factory=list)

    def drafts(self, jobs: list[Job], *, failed: bool) -> list[tuple[Job, Draft]]:
        """Return a draft for each job; nothing was sent yet.

        Raises the reason why a named job cannot be retried; of many, it is told.
        """
        books = self.context.books
        found = []
        for job in retry.failed(books, jobs) if failed else jobs:
            reason = retry.refusal(books, job)
            if reason is not None:
                raise reason
            try:
                found.append((job, retry.draft(books, job)))
            except NoSuchJobError as error:
                if not failed:
                    raise
                self._failed(error)
        return found

    async def run(self, drafts: list[tuple[Job, Draft]]) -> int:
        """Send all; return the exit code."""
        by_key = {job.key: draft for job, draft in drafts}
        for settings, jobs in by_endpoint(self.context, [job for job, _ in drafts]):
            async with self.context.api(settings) as api:
                submitter = Submitter(api, self.context.books, self.context.say)
                await self._send(submitter, [by_key[job.key] for job in jobs])
        if self.context.common.json and (self._accepted or not self.single):
            self.context.show_jobs(self._accepted, single=self.single)
        return int(worst(self.codes))

    async def _send(self, submitter: Submitter, drafts: list[Draft]) -> None:
        held = []
        for draft in drafts:
            submitted = await submitter.submit(draft)
            self._take(submitted)
            if submitted.signals is not None:
                held.append(submitted.signals)
            if submitted.interrupted:
                raise asyncio.CancelledError
            fault = submitted.fault
            if fault is not None and fault.http_status not in _OF_ONE:
                break
        await asyncio.gather(*(hold(signals) for signals in held))

    def _take(self, submitted: Submitted) -> None:
        if submitted.fault is not None:
            self._failed(error_of(submitted))
            return
        if submitted.rescued is not None:
            self._failed(LedgerError(submitted.rescued, hint="bgresp doctor --fix"))
        self._accepted.append(submitted.job)
        if self.context.common.jsonl:
            self.context.show_jobs([submitted.job], single=True)
        elif not self.context.common.json:
            self.context.streams.line(submitted.job.ref)

    def _failed(self, error: BgrespError) -> None:
        errors.show(self.context.streams, error, as_json=self.context.is_json)
        self.codes.append(int(error.code))
