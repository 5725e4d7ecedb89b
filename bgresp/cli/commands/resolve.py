"""`bgresp resolve`: settle a submit whose outcome is unknown."""

from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from bgresp.cli import records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.core.errors import (
    BgrespError,
    NoSuchJobError,
    UnknownOutcomeError,
    UsageError,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, error_of

if TYPE_CHECKING:
    from bgresp.engine.settle import Settling

WAIT: Final = 3.0  # seconds for who settles the same submit


class Options(NamedTuple):
    """What `resolve` takes."""

    ref: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="The key that the submit printed."),
    ] = None
    adopt: Annotated[
        str | None,
        opt("--adopt", help="It was accepted: as the response ID.", metavar="ID"),
    ] = None
    abandon: Annotated[
        bool, opt("--abandon", help="Give it up: it counts as rejected.")
    ] = False
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
    context = Context.of(common)
    given = [options.adopt is not None, options.abandon, options.resend]
    if sum(given) > 1:
        raise UsageError("--adopt, --abandon and --resend exclude each other")
    if options.adopt is not None:
        refs.check_typed(options.adopt)
    job = _unsettled_job(context, options.ref)
    records.show_jobs(context, [resolved(context, job, options)], single=True)
    return 0


def _unsettled_job(context: Context, ref: str | None) -> Job:
    unsettled = "bgresp list --status submitting,unknown"
    if ref is None:
        raise UsageError("no KEY given", hint=unsettled)
    job = refs.find(context, ref)
    if job is None:
        raise NoSuchJobError(f"no job {ref!r} in the ledger", hint=unsettled)
    return job


def resolved(context: Context, job: Job, options: Options) -> Job:
    """Settle a submit and return its record; the same again changes nothing.

    Raises UsageError when it is settled otherwise, NotFinishedError while it is at
    work, UnknownOutcomeError when nobody can tell.
    """
    from bgresp.engine.settle import holding

    with holding(context.recorder, job, wait=WAIT) as now:
        return now if _is_done(now, options) else _settled(context, now, options)


def _is_done(job: Job, options: Options) -> bool:
    """Say whether it was settled just so before.

    Raises UsageError when it is settled otherwise.
    """
    from bgresp.engine.settle import ABANDONED

    if job.status.is_unsettled:
        return False
    given_up = job.error is not None and job.error.code == ABANDONED
    if options.adopt is not None and options.adopt == job.id:
        return True
    if options.abandon and job.status is Status.REJECTED and given_up:
        return True
    raise UsageError(
        f"{job.ref} is {job.status.value}: there is nothing to resolve",
        hint=f"bgresp status {job.quoted}",
    )


def _settled(context: Context, job: Job, options: Options) -> Job:
    from bgresp.engine.settle import Settling, abandoned, can_settle

    if options.abandon:
        return abandoned(context.recorder, job)
    found: list[Job] = []

    async def ask() -> int:
        settings = context.settings_of(job)
        asked = options.adopt is not None or options.resend
        if not asked and not can_settle(settings.dialect):
            blind = Settling(None, context.recorder, context.say)
            found.extend(await blind.settle_held([job]))
            return 0
        async with context.api(settings) as api:
            settling = Settling(api, context.recorder, context.say)
            found.append(await _asked(settling, job, options))
        return 0

    context.run(ask())
    if found[0].status.is_unsettled:
        raise _unknown(context, found[0])
    return found[0]


async def _asked(settling: "Settling", job: Job, options: Options) -> Job:
    if options.adopt is not None:
        news = await settling.adopt(job, options.adopt)
    elif options.resend:
        news = await settling.resend(job)
    else:
        return (await settling.settle_held([job]))[0]
    if isinstance(news, Fault):
        raise _failure(job, news, options)
    return news


def _failure(job: Job, fault: Fault, options: Options) -> BgrespError:
    message, rid = f"{options.adopt or job.key}: {fault.message}", fault.request_id
    if options.resend:
        said = f"{message.rstrip('.')}; it may have been accepted before"
        return UnknownOutcomeError(said, request_id=rid)
    if fault.http_status in {404, 410}:
        return NoSuchJobError(message, request_id=rid)
    return error_of(fault, message, job=job)


def _unknown(context: Context, job: Job) -> UnknownOutcomeError:
    """Name the ways that are left."""
    ways = ["--adopt ID", "--abandon"]
    if context.answers.request_path(job.key).exists():
        ways.append("--resend (at the risk of paying twice)")
    message = f"{job.key}: its endpoint cannot tell whether it was accepted"
    return UnknownOutcomeError(
        message, hint=f"bgresp resolve {job.key} {' | '.join(ways)}"
    )
