"""`bgresp cancel`: cancel, then ask, and report what really is."""

from typing import TYPE_CHECKING, NamedTuple

from bgresp.cli import errors, records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, DryRun, Refs, Yes
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    RefusedError,
    worst,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, error_of
from bgresp.core.text import counted

if TYPE_CHECKING:
    from bgresp.engine.cancel import CancelResult


class Options(NamedTuple):
    """What `cancel` takes."""

    yes: Yes = False
    dry_run: DryRun = False


def cancel(which: Refs, options: Options, common: Common) -> int:
    """Cancel jobs; then ask the endpoint and report what really became of them.

    Examples:

      bgresp cancel @last
      bgresp cancel --group night --open
    """
    context = Context.of(common)
    choice = refs.chosen(context, which)
    named = [*choice.jobs, *choice.foreign, *choice.codes]
    if not named and not refs.require_some(context, choice.jobs, which):
        return 0
    if not which.refs:
        choice.jobs = _under_way(context, choice.jobs)
        if not choice.jobs:
            return 0
    if options.dry_run:
        return records.list_planned(context, choice.known(), "would cancel")
    # What ended is only told of, and takes no question.
    several = sum(job.status.may_change for job in choice.jobs)
    several += len(choice.foreign)
    question = f"Cancel {counted(several)}?"
    if several > 1 and not context.may(question, yes=options.yes):
        return int(ExitCode.STOPPED_EARLY)

    async def work() -> int:
        jobs = await choice.adopt(context)
        cancelling = Cancelling(context, alone=len(jobs) == 1)
        verdicts = [await cancelling.one(job) for job in jobs]
        cancelling.troubles.tell()
        records.show_jobs(context, [v.job for v in verdicts], single=choice.single)
        return int(worst([*choice.codes, *(int(v.code) for v in verdicts)]))

    return context.run(work())


def _under_way(context: Context, jobs: list[Job]) -> list[Job]:
    """Return the selected jobs that can be cancelled; the others ended long ago."""
    found = [job for job in jobs if job.status.may_change]
    if not found:
        context.say(f"nothing to cancel: {counted(len(jobs))} ended already")
    return found


class Cancelling:
    """Cancels jobs one by one; what is wrong of several of them is one line."""

    def __init__(self, context: Context, *, alone: bool) -> None:
        """Cancel one job, which is `alone`, or several."""
        self.context = context
        self.alone = alone
        self.troubles = errors.Troubles(context.streams)
        self._refused: dict[str, Fault] = {}  # by endpoint: a key, for all its jobs

    async def one(self, job: Job) -> "CancelResult":
        """Cancel a job; what is wrong with its settings costs the others nothing."""
        from bgresp.engine.cancel import CancelResult

        try:
            verdict = await self._cancelled(job)
        except (ConfigError, RefusedError) as error:
            if self.alone:
                raise
            self.troubles.add([job], error)
            return CancelResult(job, error.code)
        self._tell(verdict)
        return verdict

    async def _cancelled(self, job: Job) -> "CancelResult":
        from bgresp.engine.cancel import CancelResult, cancelled

        context = self.context
        if job.status.is_unsettled:
            message = "its submit has no known outcome, it may be running"
            how = f"bgresp resolve {job.quoted}"
            context.say(f"{job.ref} was not cancelled: {message} ({how})")
            return CancelResult(job, job.status.exit_code)
        if not job.status.is_open:
            over = job.status.is_terminal or job.status is Status.REJECTED
            code = ExitCode.OK if over else job.status.exit_code
            context.say(f"{job.ref} is {job.status.value} already")
            return CancelResult(job, code)
        settings = context.settings_of(job)
        refused = self._refused.get(settings.identity)
        if refused is not None:
            message = f"was not cancelled: {refused.message}"
            return CancelResult(job, ExitCode.CONFIG, message, refused)
        async with context.api(settings) as api:
            verdict = await cancelled(api, context.recorder, job)
        if verdict.fault is not None and verdict.fault.is_of_key:
            self._refused[settings.identity] = verdict.fault
        return verdict

    def _tell(self, verdict: "CancelResult") -> None:
        """Say what came of a cancel, where its row alone does not.

        Raises what it came to where the job is alone.
        """
        job, message = verdict.job, verdict.message
        if verdict.fault is not None and not self.alone:
            self.troubles.add([job], error_of(verdict.fault, message, job=job))
            return
        error = _not_cancelled(verdict)
        if error is not None and self.alone:
            raise error
        if error is not None:
            self.context.tell_error(error)
        elif verdict.code is ExitCode.NOT_FINISHED:
            self.context.say(f"{job.ref} {message} (bgresp watch {job.quoted})")
        elif message:
            self.context.say(f"{job.ref} {message}")


def _not_cancelled(verdict: "CancelResult") -> BgrespError | None:
    """Return the error of a cancel that came to nothing; None where it is none."""
    ref = verdict.job.quoted
    message, again = f"{verdict.job.ref} {verdict.message}", f"bgresp cancel {ref}"
    if verdict.fault is not None:
        error = error_of(verdict.fault, message, job=verdict.job)
        first = "" if error.retryable else error.hint
        error.hint = f"{first}, then {again}" if first else f"again: {again}"
        return error
    if verdict.code is ExitCode.REFUSED:
        return RefusedError(message, hint=f"bgresp watch {ref}")
    return None
