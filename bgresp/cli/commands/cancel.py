"""`bgresp cancel`: cancel, then ask, and report what really is."""

from typing import TYPE_CHECKING

from bgresp.cli import errors, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Refs
from bgresp.cli.running import run
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    RefusedError,
    worst,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import error_of

if TYPE_CHECKING:
    from bgresp.engine.cancel import CancelResult


def cancel(which: Refs, common: Common) -> int:
    """Cancel jobs; then ask the endpoint and report what really became of them.

    Examples:

      bgresp cancel @last
      bgresp cancel --group night --open
    """
    context = Context.of(common)
    choice = refs.chosen(context, which)

    async def work() -> int:
        jobs = await choice.adopt(context)
        if not choice.codes and not refs.require_some(context, jobs, which):
            return 0
        verdicts = [await _one(context, job, alone=len(jobs) == 1) for job in jobs]
        context.show_jobs([v.job for v in verdicts], single=choice.single)
        return int(worst([*choice.codes, *(int(v.code) for v in verdicts)]))

    return run(context, work())


async def _one(context: Context, job: Job, *, alone: bool) -> "CancelResult":
    """Cancel a job; what is wrong with its settings costs the others nothing."""
    from bgresp.engine.cancel import CancelResult

    try:
        return await _cancelled(context, job, alone=alone)
    except (ConfigError, RefusedError) as error:
        if alone:
            raise
        code = errors.tell_of(context.streams, [job], error)
        return CancelResult(job, ExitCode(code))


def _not_cancelled(verdict: "CancelResult") -> BgrespError | None:
    """Return the error of a cancel that came to nothing; None where it is none."""
    ref = verdict.job.quoted
    said, again = f"{verdict.job.ref} {verdict.said}", f"bgresp cancel {ref}"
    if verdict.fault is not None:
        error = error_of(verdict.fault, said, job=verdict.job)
        error.hint = f"{error.hint}, then {again}" if error.hint else f"again: {again}"
        return error
    if verdict.code is ExitCode.REFUSED:
        return RefusedError(said, hint=f"bgresp watch {ref}")
    return None


async def _cancelled(context: Context, job: Job, *, alone: bool) -> "CancelResult":
    from bgresp.engine.cancel import CancelResult, cancelled

    if job.status.is_unsettled:
        said = "its submit has no known outcome, it may be running"
        how = f"bgresp resolve {job.quoted}"
        context.say(f"{job.ref} was not cancelled: {said} ({how})")
        return CancelResult(job, job.status.exit_code)
    if not job.status.is_open:
        over = job.status.is_terminal or job.status is Status.REJECTED
        code = ExitCode.OK if over else job.status.exit_code
        context.say(f"{job.ref} is {job.status.value} already")
        return CancelResult(job, code)
    async with context.api(context.settings_of(job)) as api:
        verdict = await cancelled(api, context.recorder, job)
    error = _not_cancelled(verdict)
    if error is not None and alone:
        raise error
    if error is not None:
        errors.show(context.streams, error)
    elif verdict.code is ExitCode.NOT_FINISHED:
        context.say(f"{job.ref} {verdict.said} (bgresp watch {job.quoted})")
    elif verdict.said:
        context.say(f"{job.ref} {verdict.said}")
    return verdict
