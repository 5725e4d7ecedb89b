"""`bgresp status`: ask once, print."""

from typing import NamedTuple

from bgresp.cli import records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Annotated, Common, Refs, opt
from bgresp.core.errors import worst


class Options(NamedTuple):
    """What `status` takes."""

    local: Annotated[
        bool, opt("--local", help="Ask no endpoint; print what the ledger says.")
    ] = False
    exit_status: Annotated[
        bool, opt("--exit-status", help="Exit as the job ended.")
    ] = False


def status(which: Refs, options: Options, common: Common) -> int:
    """Ask the endpoint once and print what it says.

    Examples:

      bgresp status
      bgresp status resp_123 --json
    """
    context = Context.of(common)
    choice = refs.chosen(context, which, default="@last")
    if options.local:
        news = refs.Refreshed(choice.known(), [])
    else:
        news = refs.ask_about(context, choice)
    codes, jobs = news.codes, news.jobs
    if not codes and not refs.require_some(context, jobs, which):
        return 0
    records.show_jobs(context, jobs, single=choice.single)
    if options.exit_status:
        # What was not heard of counts by its fault alone.
        codes += [int(job.exit_code) for job in jobs if job.key not in news.unheard]
    return int(worst(codes))
