"""`bgresp retry`: a new job from the request of an old one."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

from bgresp.cli import refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Refs, opt


@dataclass(frozen=True, slots=True)
class Options:
    """What `retry` takes."""

    failed: Annotated[
        bool,
        opt("--failed", help="Those that did not complete and were not retried."),
    ] = False


def retry(which: Refs, options: Options, common: Common) -> int:
    """Submit the stored request of a job again, as a new job at the same endpoint.

    The new job takes over name, group and labels. A job that is open, or whose submit
    has no known outcome, is refused.

    Examples:

      bgresp retry @last
      bgresp retry --failed --group night
    """
    from bgresp.cli.retrying import Retrying
    from bgresp.cli.running import run

    context = Context.of(common)
    choice = refs.chosen(context, which)
    jobs = choice.known()
    if not refs.require_some(context, jobs, which):
        return 0
    with ExitStack() as until_sent:
        retrying = Retrying(context, single=choice.single)
        if options.failed:
            # Two of them at once would pay for each job twice.
            until_sent.enter_context(context.books.ledger.claim("retry --failed"))
        drafts = retrying.drafts(jobs, failed=options.failed)
        if not drafts and not retrying.sending.codes:
            context.say("nothing to retry")
        return run(context, retrying.run(drafts))
