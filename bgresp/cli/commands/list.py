"""`bgresp list`: the ledger, newest first."""

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from bgresp.cli import records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Annotated, Common, Refs, chosen_word, opt
from bgresp.core.errors import UsageError, worst
from bgresp.core.model import Job
from bgresp.core.selection import SORTS, first, ordered
from bgresp.render.columns import DEFAULT, TIMELINE, UNTOLD, WIDE, Times

STEP: Final = 500  # jobs between two signs of life of a search


class Options(NamedTuple):
    """What `list` takes."""

    limit: Annotated[
        int, opt("--limit", help="At most N jobs; 0 is every job.", metavar="N")
    ] = 50
    grep: Annotated[
        str | None,
        opt("--grep", help="Jobs with this in name, prompt or answer.", metavar="RE"),
    ] = None
    sort: Annotated[
        str, opt("--sort", help=f"Sort by {' '.join(SORTS)}.", metavar="FIELD")
    ] = "age"
    reverse: Annotated[bool, opt("--reverse", help="Reverse the order.")] = False
    wide: Annotated[
        bool,
        opt("--wide", help="Show group, labels, profile, key, reason, too."),
    ] = False
    time: Annotated[
        str | None,
        opt(
            "--time",
            help="Times relative, local or utc (pipe: utc).",
            metavar="HOW",
        ),
    ] = None
    timeline: Annotated[bool, opt("--timeline", help="Draw queue and run times.")] = (
        False
    )
    refresh: Annotated[
        bool, opt("--refresh", help="Ask the endpoints about open jobs first.")
    ] = False


def list_(which: Refs, options: Options, common: Common) -> int:
    """List the jobs of the ledger, newest first; asks no endpoint.

    Examples:

      bgresp list --open
      bgresp list --wide --sort took
      bgresp list --grep 'rings?' --all
      bgresp list --group night --timeline
      bgresp list --group night --json | jq -r '.[].id'
    """
    context = Context.of(common)
    if options.limit < 0:
        raise UsageError("--limit takes 0 or more", hint="0 is every job")
    times = chosen_word(Times, options.time, "--time")
    jobs, more = _jobs(context, which, options)
    if "cost" in common.wanted_fields():
        jobs = list(records.priced(context, jobs))
    codes: list[int] = []
    if options.refresh:

        async def ask() -> int:
            opened = [job for job in jobs if job.status.is_open]
            news = await refs.refreshed(context, opened)
            fresh = {job.key: job for job in news.jobs}
            jobs[:] = [fresh.get(job.key, job) for job in jobs]
            codes.extend(news.codes)
            return 0

        context.run(ask())
    if not jobs and not common.quiet:
        _say_unknown(context, which)
    if not records.show_as_data(context, jobs, single=len(which.refs or []) == 1):
        _show(context, jobs, options, times)
        _say_more(context, which, options, jobs, more=more)
    return int(worst(codes))


def _show(
    context: Context, jobs: list[Job], options: Options, times: Times | None
) -> None:
    wanted = context.common.wanted_fields()
    # Whole ids are what --wide and --fields are for.
    is_usual = not (wanted or options.wide)
    streams = context.streams
    look = records.look(context, times, titled=jobs if is_usual else [], texts_of=jobs)
    if options.timeline and streams.out_is_terminal:
        from bgresp.render.charts import Timeline

        Timeline(streams, look).show(jobs)
        return
    from bgresp.render.table import CUTS, STEPS, Table

    usual = TIMELINE if options.timeline else WIDE if options.wide else DEFAULT
    steps = () if wanted else CUTS if options.wide else STEPS
    Table(streams, look, wanted or usual, steps, reasons=is_usual).show(jobs)


def _say_unknown(context: Context, which: Refs) -> None:
    """Tell a pipe too that a name was asked for which nobody knows."""
    unknown = refs.unmatched(context, which)
    if unknown is not None:
        context.say(f"{unknown[0]} ({unknown[1]})")


def _say_more(
    context: Context, which: Refs, options: Options, jobs: list[Job], *, more: bool
) -> None:
    """Tell a person, never a pipe, that nothing or not all was shown."""
    if not context.streams.out_is_terminal:
        return
    count = sum(job.took_exact is False for job in jobs)
    if count and options.sort in {"took", "run"}:
        context.say(
            f"{count} of {len(jobs)} cannot be sorted by {options.sort}: {UNTOLD}"
        )
    if more:
        context.say(f"{len(jobs)} shown, there are more: --limit N, or --all")
    elif not jobs and which.selector(context.common, now=context.now).given:
        context.say("no job matches: bgresp list")
    elif not jobs:
        context.say("no job yet: bgresp submit FILE")


def _jobs(context: Context, which: Refs, options: Options) -> tuple[list[Job], bool]:
    """Return the jobs to show, and whether there are more."""
    if which.refs:
        found = list(_matching(context, refs.chosen(context, which).known(), options))
        return ordered(found, options.sort, reverse=options.reverse), False
    selector = which.selector(context.common, now=context.now)
    jobs = _matching(context, refs.selected(context, selector), options)
    found = _limited(jobs, which, options)
    context.report_ledger()
    if which.all or options.limit == 0:
        return found, False
    return found[: options.limit], len(found) > options.limit


def _matching(context: Context, jobs: Iterable[Job], options: Options) -> Iterator[Job]:
    """Yield the jobs whose name, prompt or saved answer --grep finds.

    Raises UsageError.
    """
    if options.grep is None:
        yield from jobs
        return
    try:
        wanted = re.compile(options.grep)
    except re.error as error:
        raise UsageError(f"--grep {options.grep!r}: {error}") from None
    try:
        for count, job in enumerate(jobs, 1):
            if context.streams.animated and count % STEP == 0:
                context.streams.control(f"\rsearching, {count:,} jobs\x1b[K")
            if any(map(wanted.search, filter(None, _texts(context, job)))):
                yield job
    finally:
        if context.streams.animated:
            context.streams.control("\r\x1b[K")


def _texts(context: Context, job: Job) -> Iterator[str | None]:
    """Yield what --grep looks at, what costs least first."""
    yield job.name
    yield context.request_of(job).prompt
    yield context.text_of(job)


def _limited(jobs: Iterator[Job], which: Refs, options: Options) -> list[Job]:
    """Return the jobs in their order, and one more than asked where there is one."""
    # More than islice counts to are every job.
    every = which.all or not 0 < options.limit < sys.maxsize
    limit = None if every else options.limit + 1
    if options.sort == "age" and not options.reverse:
        return list(islice(jobs, limit))
    return first(jobs, options.sort, limit=limit, reverse=options.reverse)
