"""`bgresp wait`: a silent gate."""

from typing import NamedTuple

from bgresp.cli import refs
from bgresp.cli.context import Context
from bgresp.cli.options import (
    Annotated,
    Common,
    FailFast,
    Interval,
    Notify,
    Refs,
    Timeout,
    opt,
    seconds,
)
from bgresp.core.errors import worst
from bgresp.ledger.saved import Answers


class Options(NamedTuple):
    """What `wait` takes."""

    any: Annotated[bool, opt("--any", help="Wait for one of them, not for all.")] = (
        False
    )
    interval: Interval = None
    timeout: Timeout = None
    fail_fast: FailFast = False
    notify: Notify = None


def wait(which: Refs, options: Options, common: Common) -> int:
    """Wait until jobs end, print nothing, exit as they ended.

    Examples:

      bgresp wait @last && bgresp get @last
      bgresp wait --group night --timeout 2h
    """
    context = Context.of(common, rows=False)
    context.notify(options.notify)
    interval, timeout = seconds(options.interval), seconds(options.timeout)
    choice = refs.chosen(context, which)
    if options.notify is None and _are_over(context, choice):
        return int(
            worst(int(context.with_ending(job).exit_code) for job in choice.jobs)
        )
    from bgresp.cli.following import Following, FollowOptions

    how = FollowOptions(
        interval=interval,
        timeout=timeout,
        fail_fast=options.fail_fast,
        any=options.any,
        silent=True,
    )

    async def follow() -> int:
        jobs = await choice.adopt(context)
        if not choice.codes and not refs.require_some(context, jobs, which):
            return 0
        code = await Following(context, how, single=choice.single).run(jobs)
        return int(worst([*choice.codes, code]))

    return context.run(follow())


def _are_over(context: Context, choice: refs.Choice) -> bool:
    """Say whether there is nothing to wait for, and nothing to tell.

    Following would say the same of such jobs, after importing what asks endpoints. Of a
    single one without usage it may have more to say.
    """
    answers = Answers(context.state)
    return (
        bool(choice.jobs)
        and not (choice.foreign or context.is_json)
        and not (choice.single and choice.jobs[0].usage is None)
        and all(
            job.status.is_terminal and answers.response_path(job.key).exists()
            for job in choice.jobs
        )
    )
