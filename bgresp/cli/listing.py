"""`bgresp list`: the ledger, newest first."""

from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from bgresp.cli import refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Refs, opt
from bgresp.core.board import ordered
from bgresp.core.errors import UsageError, worst
from bgresp.core.model import Job


@dataclass(frozen=True, slots=True)
class Options:
    """What `list` takes."""

    limit: Annotated[
        int, opt("--limit", help="At most so many; 0 is every job.", metavar="N")
    ] = 50
    sort: Annotated[
        str, opt("--sort", help="age name status model took tokens expires.")
    ] = "age"
    reverse: Annotated[bool, opt("--reverse", help="The other way round.")] = False
    refresh: Annotated[
        bool, opt("--refresh", help="Ask the endpoints about open jobs first.")
    ] = False


def list_(which: Refs, options: Options, common: Common) -> int:
    """List the jobs of the ledger, newest first; nobody is asked.

    Examples:

      bgresp list --open
      bgresp list --group night --json | jq -r '.[].id'
    """
    context = Context.of(common)
    if options.limit < 0:
        raise UsageError("--limit takes 0 or more")
    jobs = _jobs(context, which, options)
    codes: list[int] = []
    if options.refresh:
        from bgresp.cli.refreshing import refreshed
        from bgresp.cli.running import run

        async def ask() -> int:
            opened = [job for job in jobs if job.status.is_open]
            news, faults = await refreshed(context, opened)
            fresh = {job.key: job for job in news}
            jobs[:] = [fresh.get(job.key, job) for job in jobs]
            codes.extend(faults)
            return 0

        run(context, ask())
    context.show_jobs(jobs, single=len(which.refs or []) == 1)
    return int(worst(codes))


def _jobs(context: Context, which: Refs, options: Options) -> list[Job]:
    if which.refs:
        found = refs.chosen(context, which).known()
        return ordered(found, options.sort, reverse=options.reverse)
    selector = which.selector(context.common, now=context.now)
    jobs = context.books.ledger.select(selector)
    limit = None if which.all or options.limit == 0 else options.limit
    if options.sort == "age" and not options.reverse:
        found = list(islice(jobs, limit))
    else:
        found = ordered(jobs, options.sort, reverse=options.reverse)[:limit]
    context.report_ledger()
    return found
