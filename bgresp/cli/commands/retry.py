"""`bgresp retry`: a new job from the request of an old one, at the same endpoint."""

from contextlib import ExitStack
from typing import Annotated, NamedTuple

from bgresp.cli import records, refs
from bgresp.cli.commands.submit import Sending
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Refs, opt
from bgresp.core.errors import NoSuchJobError, worst
from bgresp.core.model import WEBHOOK, Job, Status
from bgresp.core.request import Draft


class Options(NamedTuple):
    """What `retry` takes."""

    failed: Annotated[
        bool,
        opt("--failed", help="Jobs that did not complete and were not retried."),
    ] = False


def retry(which: Refs, options: Options, common: Common) -> int:
    """Submit the stored request of a job again, as a new job at the same endpoint.

    The new job takes over name, group and labels. A job that is open, or whose submit
    has no known outcome, is refused. --failed leaves out lost jobs, which may still
    answer, unless --status lost is given.

    Examples:

      bgresp retry @last
      bgresp retry --failed --group night
    """
    from bgresp.engine.resubmit import to_retry

    context = Context.of(common)
    choice = refs.chosen(context, which)
    jobs = choice.known()
    if not refs.require_some(context, jobs, which):
        return 0
    with ExitStack() as until_sent:
        sending = Sending(context)
        if options.failed:
            # Two of them at once would pay for each job twice.
            until_sent.enter_context(context.ledger.claim("retry --failed"))
            selector = which.selector(common, now=context.now)
            lost = Status.LOST in selector.statuses
            jobs = to_retry(context.recorder, jobs, lost=lost)
        drafts = _drafts(sending, jobs, failed=options.failed)
        if not drafts and not sending.codes:
            context.say("nothing to retry")
        return context.run(_sent(sending, drafts, single=choice.single))


def _drafts(
    sending: Sending, jobs: list[Job], *, failed: bool
) -> list[tuple[Job, Draft]]:
    """Return a draft for each job; nothing was sent yet.

    Raises the reason why a named job cannot be retried; of many, it is told.
    """
    from bgresp.engine.resubmit import retry_draft, retry_refusal

    recorder, found = sending.context.recorder, list[tuple[Job, Draft]]()
    for job in jobs:
        reason = retry_refusal(recorder, job)
        if reason is not None:
            raise reason
        try:
            found.append((job, retry_draft(recorder, job)))
        except NoSuchJobError as error:
            if not failed:
                raise
            sending.failed(error)
    return found


async def _sent(
    sending: Sending, drafts: list[tuple[Job, Draft]], *, single: bool
) -> int:
    """Send all, each at the endpoint of its old job; return the exit code."""
    context = sending.context
    by_key = {job.key: draft for job, draft in drafts}
    for settings, jobs in context.endpoints.grouped([job for job, _ in drafts]):
        async with context.api(settings) as api:
            asked = any(job.extra.get(WEBHOOK) for job in jobs)
            if asked and api.endpoint.webhook is None:
                message = "asked for a webhook, but the profile has none: sent without"
                context.say(f"{jobs[0].ref if len(jobs) == 1 else 'jobs'} {message}")
            await sending.send(api, [by_key[job.key] for job in jobs])
            await sending.let_go()
    if context.common.json and (sending.jobs or not single):
        records.show_jobs(context, sending.jobs, single=single)
    return int(worst(sending.codes))
