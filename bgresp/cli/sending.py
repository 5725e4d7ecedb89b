"""Send drafts one after the other, and print their ids: submit and retry.

What follows a job is imported where one is waited for: it costs a third of a submit.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from bgresp.api.client import Api
from bgresp.cli import errors, inputs
from bgresp.cli.context import Context
from bgresp.core.errors import BgrespError, LedgerError, worst
from bgresp.core.model import Job
from bgresp.core.request import Draft
from bgresp.engine.submit import OF_ONE, Submitted, Submitter, error_of, let_go

if TYPE_CHECKING:
    from bgresp.cli.following import FollowOptions
    from bgresp.config.settings import Settings

SECRET_LENGTH: Final = 8  # what is shorter only stands where some key must
AFTER_RESCUE: Final = "make room, then: bgresp doctor --fix"


class Sending:
    """One command's submits; `codes` has an exit code for each that failed."""

    def __init__(
        self,
        context: Context,
        *,
        waits: bool = False,
        ids_to_stderr: bool = False,
        unique: bool = False,
    ) -> None:
        """Send nothing yet."""
        self.context = context
        self.waits = waits
        self.ids_to_stderr = ids_to_stderr
        self.unique = unique
        self.codes: list[int] = []
        self._accepted: list[Submitted] = []

    @property
    def jobs(self) -> list[Job]:
        """Return the accepted jobs."""
        return [accepted.job for accepted in self._accepted]

    async def run(
        self,
        settings: "Settings",
        drafts: list[Draft],
        how: "FollowOptions | None",
        *,
        single: bool,
    ) -> int:
        """Send all to the endpoint for new jobs, follow them; return the exit code.

        Raises UsageError where --key is the API key itself.
        """
        async with self.context.api(settings) as api:
            # A submit key is kept and shown, an API key never is.
            key = api.endpoint.key or ""
            if len(key) >= SECRET_LENGTH and key == drafts[0].job.submit_key:
                raise inputs.key_as_name()
            self.context.note_endpoint(settings)
            await self.context.settle(at=settings)
            await self.send(api, drafts)
            self.context.report_ledger()
            if how is None or not self._accepted:
                await self.let_go()
                if self.context.common.json and self._accepted:
                    self.context.show_jobs(self.jobs, single=single)
                return int(worst(self.codes))
            from bgresp.cli.following import Following

            following = Following(self.context, how, single)
            opened = None if how.silent else self._accepted[0].signals
            if opened is None:
                await self.let_go()
            code = await following.run(self.jobs, opened)
        return int(worst([code, *self.codes]))

    async def send(self, api: Api, drafts: list[Draft]) -> None:
        """Send drafts to one endpoint until it refuses more than one of them."""
        submitter = Submitter(api, self.context.recorder, self.context.say)
        submit = submitter.submit
        if self.unique or any(map(_is_one_of, drafts)):
            from bgresp.engine.resubmit import Keyed
            from bgresp.engine.settle import Settling

            settling = Settling(api, self.context.recorder, self.context.say)
            keyed = Keyed(submitter, settling, unique=self.unique, again=_is_retried)
            submit = keyed.submit
        for draft in drafts:
            submitted = await submit(draft)
            self._say_if_other(draft.job, submitted.job)
            self._take(submitted)
            if submitted.interrupted:
                raise asyncio.CancelledError
            fault = submitted.fault
            if fault is not None and fault.http_status not in OF_ONE:
                break

    def _say_if_other(self, asked: Job, got: Job) -> None:
        """Say when a key's job is of another request than the one at hand."""
        was = got.request_sha256
        if asked.submit_key and was not in {None, asked.request_sha256}:
            said = f"--key {asked.submit_key} was accepted for another request"
            self.context.say(
                f"{said}, nothing was sent: bgresp get {got.quoted} --part request"
            )

    async def let_go(self) -> None:
        """Leave creating streams only when their jobs run."""
        recorder = self.context.recorder
        await asyncio.gather(*(let_go(held, recorder) for held in self._accepted))

    def failed(self, error: BgrespError) -> None:
        """Tell of a submit that failed; the others go on."""
        errors.show(self.context.streams, error)
        self.codes.append(int(error.code))

    def _take(self, submitted: Submitted) -> None:
        if submitted.fault is not None:
            self.failed(error_of(submitted))
            return
        self._accepted.append(submitted)
        if submitted.rescued is not None:
            self.failed(LedgerError(submitted.rescued, hint=AFTER_RESCUE))
        self._print_id(submitted.job)

    def _print_id(self, job: Job) -> None:
        common = self.context.common
        if self.ids_to_stderr:
            self.context.say(f"submitted {job.ref}")
        elif common.jsonl and not self.waits:
            self.context.show_jobs([job], single=True)
        elif not self.context.is_json:
            self.context.streams.line(job.ref)


def _is_one_of(draft: Draft) -> bool:
    """Say whether a draft's key or row may have an earlier job."""
    return bool(draft.job.submit_key) or draft.job.row is not None


def _is_retried(earlier: Job, draft: Job) -> bool:
    """Say whether a draft is the retry of a batch's row, none of which is open."""
    return draft.retry_of is not None and not earlier.status.is_open
