"""Send retries at the endpoints of the old jobs, and print the new ids."""

from dataclasses import dataclass, field

from bgresp.cli.context import Context
from bgresp.cli.endpoints import by_endpoint
from bgresp.cli.sending import Sending
from bgresp.core.errors import NoSuchJobError, worst
from bgresp.core.model import Job
from bgresp.engine import retry
from bgresp.engine.draft import Draft


@dataclass(slots=True)
class Retrying:
    """One command's retries."""

    context: Context
    single: bool
    sending: Sending = field(init=False)

    def __post_init__(self) -> None:
        """Send as `submit` does, waiting for nothing."""
        self.sending = Sending(self.context)

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
                self.sending.failed(error)
        return found

    async def run(self, drafts: list[tuple[Job, Draft]]) -> int:
        """Send all; return the exit code."""
        by_key = {job.key: draft for job, draft in drafts}
        for settings, jobs in by_endpoint(self.context, [job for job, _ in drafts]):
            async with self.context.api(settings) as api:
                await self.sending.send(api, [by_key[job.key] for job in jobs])
                await self.sending.let_go()
        sent = self.sending.jobs
        if self.context.common.json and (sent or not self.single):
            self.context.show_jobs(sent, single=self.single)
        return int(worst(self.sending.codes))
