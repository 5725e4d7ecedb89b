"""`bgresp cancel`: cancel, then ask, and report what really is."""

from typing import TYPE_CHECKING

from bgresp.cli import refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Refs
from bgresp.core.errors import ExitCode, worst
from bgresp.core.model import Job, Status

if TYPE_CHECKING:
    from bgresp.engine.cancel import Verdict


def cancel(which: Refs, common: Common) -> int:
    """Cancel jobs; then ask the endpoint and report what really became of them.

    Examples:

      bgresp cancel @last
      bgresp cancel --group night --open
    """
    from bgresp.cli.running import run

    context = Context.of(common)
    choice = refs.chosen(context, which)

    async def work() -> int:
        jobs = await choice.adopt(context)
        if not refs.require_some(jobs, which):
            return 0
        verdicts = [await _one(context, job) for job in jobs]
        context.show_jobs([v.job for v in verdicts], single=choice.single)
        return int(worst(int(v.code) for v in verdicts))

    return run(context, work())


async def _one(context: Context, job: Job) -> "Verdict":
    from bgresp.engine.cancel import Verdict, cancelled

    if not job.status.is_open:
        over = job.status.is_terminal or job.status is Status.REJECTED
        code = ExitCode.OK if over else job.status.exit_code
        context.say(f"{job.ref} is {job.status.value} already")
        return Verdict(job, code)
    async with context.api(context.settings_of(job)) as api:
        verdict = await cancelled(api, context.books, job)
    if verdict.said:
        context.say(f"{job.ref} {verdict.said}")
    return verdict
