"""`bgresp watch`: follow until the end."""

from typing import Annotated, Final, NamedTuple

from bgresp.cli import output, refs
from bgresp.cli.context import Context
from bgresp.cli.options import (
    Common,
    FailFast,
    Interval,
    Notify,
    Refs,
    Replace,
    Timeout,
    asides,
    opt,
    seconds,
)
from bgresp.core.errors import UsageError, worst
from bgresp.core.selection import Selector
from bgresp.render.columns import summary

OPEN: Final = Selector(open=True)


class Options(NamedTuple):
    """What `watch` takes."""

    resume: Annotated[
        bool, opt("--resume", help="Print only what was not shown before.")
    ] = False
    mode: Annotated[
        str, opt("--mode", help="auto, stream or poll.", metavar="MODE")
    ] = "auto"
    interval: Interval = None
    timeout: Timeout = None
    events: Annotated[
        bool, opt("--events", help="Print the endpoint's events as they come.")
    ] = False
    show: Annotated[
        str | None,
        opt(
            "--show",
            help="Show more: reasoning, tools, commentary, all.",
            metavar="A,B",
        ),
    ] = None
    fail_fast: FailFast = False
    output: Annotated[
        str | None,
        opt("-o", "--output", help="Write the answer to FILE.", metavar="FILE"),
    ] = None
    force: Replace = False
    follow_new: Annotated[
        bool,
        opt("--follow-new", help="Follow selected jobs to come, too; Ctrl-C ends it."),
    ] = False
    notify: Notify = None


def watch(which: Refs, options: Options, common: Common) -> int:
    """Follow jobs until they end; of one job, its text as it comes.

    Ctrl-C leaves, the job goes on; --resume prints only what was not shown before.

    Examples:

      bgresp watch resp_123
      bgresp watch @last --resume >> answer.md
      bgresp watch --group night --follow-new
    """
    from bgresp.cli.following import Following, FollowOptions

    context = Context.of(common, rows=False)
    context.notify(options.notify)
    if options.mode not in {"auto", "stream", "poll"}:
        raise UsageError("--mode takes auto, stream or poll")
    if options.events and (common.json or common.jsonl):
        raise UsageError("--events prints events; --json and --jsonl print records")
    how = FollowOptions(
        mode=options.mode,
        interval=seconds(options.interval),
        timeout=seconds(options.timeout),
        resume=options.resume,
        events=options.events,
        fail_fast=options.fail_fast,
        asides=asides(options.show),
        output=output.target(options.output, force=options.force),
        force=options.force,
        array=len(which.refs or []) != 1,
    )
    selector = which.selector(common, now=context.now)
    if options.follow_new:
        if which.refs or options.output is not None:
            raise UsageError("--follow-new takes selectors, no REF and no -o")
        newest = next(context.ledger.newest(), None)
        horizon = newest.key if newest is not None else ""
        how = how._replace(follow_new=selector, horizon=horizon)
        jobs = list(context.ledger.select(selector if selector.given else OPEN))
        return context.run(Following(context, how, single=False).run(jobs))
    if not (which.refs or selector.given):
        jobs = list(context.ledger.open_jobs())
        if not jobs:
            context.report_ledger()
            context.say(f"nothing is open{_offered(context)}")
            return 0
        return context.run(Following(context, how, single=len(jobs) == 1).run(jobs))
    choice = refs.chosen(context, which)

    async def follow() -> int:
        jobs = await choice.adopt(context)
        if not choice.codes and not refs.require_some(context, jobs, which):
            return 0
        single = len(jobs) == 1
        if options.output is not None and not single:
            raise UsageError(
                f"-o takes one job, not {len(jobs)}", hint="one REF each, or --jsonl"
            )
        code = await Following(context, how, single=single).run(jobs)
        return int(worst([*choice.codes, code]))

    return context.run(follow())


def _offered(context: Context) -> str:
    """Return what there is to see instead: the last job, or how to make one."""
    last = next(refs.asked_for(context.ledger.newest()), None)
    if last is None:
        return ", no job yet: bgresp submit FILE"
    name = f" {last.name}" if last.name else ""
    message = f"; the last job,{name} {last.ref}: {summary(last)}"
    return f"{message} (bgresp show, or bgresp watch @last)"
