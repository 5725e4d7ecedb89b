"""`bgresp resolve`: settle a submit whose outcome is unknown."""

from dataclasses import dataclass
from typing import Annotated

import typer

from bgresp.cli import refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.core.errors import NoSuchJobError, UsageError
from bgresp.core.model import Job


@dataclass(frozen=True, slots=True)
class Options:
    """What `resolve` takes."""

    ref: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="The key that the submit printed."),
    ] = None
    adopt: Annotated[
        str | None, opt("--adopt", help="It made this response.", metavar="ID")
    ] = None
    abandon: Annotated[bool, opt("--abandon", help="Give it up: rejected.")] = False
    resend: Annotated[
        bool, opt("--resend", help="Send it again, at the risk of paying twice.")
    ] = False


def resolve(options: Options, common: Common) -> int:
    """Settle a submit whose outcome is unknown.

    Without an option the endpoint is asked, where it can tell.

    Examples:

      bgresp resolve 01KB2Z8Q4V7M3T9X6R5N0P1WYE
      bgresp resolve 01KB2Z8Q4V7M3T9X6R5N0P1WYE --adopt resp_123
    """
    from bgresp.cli.resolving import resolved

    context = Context.of(common)
    given = [options.adopt is not None, options.abandon, options.resend]
    if sum(given) > 1:
        raise UsageError("--adopt, --abandon and --resend exclude each other")
    if options.adopt is not None:
        refs.check_typed(options.adopt)
    job = _found(context, options.ref)
    context.show_jobs([resolved(context, job, options)], single=True)
    return 0


def _found(context: Context, ref: str | None) -> Job:
    unsettled = "bgresp list --status submitting,unknown"
    if ref is None:
        raise UsageError("no KEY given", hint=unsettled)
    job = refs.find(context, ref)
    if job is None:
        raise NoSuchJobError(f"no job {ref!r} in the ledger", hint=unsettled)
    return job
