"""`bgresp prune`: drop what ended long ago."""

from itertools import islice
from typing import Annotated, Final, NamedTuple

from bgresp.cli import records, refs
from bgresp.cli.commands.forget import drop, may_drop
from bgresp.cli.context import Context
from bgresp.cli.options import Common, DryRun, OpenToo, Refs, Remote, Yes, opt, seconds
from bgresp.core.errors import ExitCode, LedgerError, UsageError
from bgresp.core.model import Job
from bgresp.core.times import brief
from bgresp.engine.cancel import drop_refusal

DAY: Final = 86400.0
# A clock so far from the newest record is wrong, or nobody was here for a year.
BEHIND: Final = DAY
AHEAD: Final = 366 * DAY


class Options(NamedTuple):
    """What `prune` takes."""

    older: Annotated[
        str | None, opt("--older", help="Jobs that ended more than D ago.", metavar="D")
    ] = None
    remote: Remote = False
    force: OpenToo = False
    yes: Yes = False
    dry_run: DryRun = False


def prune(which: Refs, options: Options, common: Common) -> int:
    """Drop jobs that ended long ago, with their answers, and tidy the ledger.

    Examples:

      bgresp prune --older 30d
      bgresp prune --older 1d --group night --remote
    """
    context = Context.of(common)
    age = seconds(options.older)
    if age is None:
        raise UsageError("--older D is required", hint="bgresp prune --older 30d")
    old = [job for job in _chosen(context, which) if _ended(job) < context.now - age]
    if not options.force:
        _check_clock(context, old)
    jobs = [
        job
        for job in old
        if options.force or drop_refusal(context.recorder, job) is None
    ]
    if options.dry_run:
        return records.list_planned(context, jobs, "would drop")
    if not may_drop(context, jobs, yes=options.yes):
        return int(ExitCode.STOPPED_EARLY)
    code, dropped = drop(context, jobs, remote=options.remote)
    context.recorder.ledger.sweep()
    context.recorder.ledger.compact()
    if len(old) > len(jobs):
        context.say(f"{len(old) - len(jobs)} are open or unsettled: kept")
    if context.is_json or common.quiet:
        records.show_jobs(context, dropped, single=False)
    else:
        count = len(dropped)
        context.streams.line(f"{count} {'job' if count == 1 else 'jobs'} dropped")
    return code


def _chosen(context: Context, which: Refs) -> list[Job]:
    selector = which.selector(context.common, now=context.now)
    if which.refs or selector.given:
        return refs.chosen(context, which).known()
    jobs = list(context.recorder.ledger.newest())
    context.report_ledger()
    return jobs


def _ended(job: Job) -> float:
    """Return when a job ended, as far as is known; what nobody dated is not old."""
    moments = (job.finished_at, job.checked_at, job.submitted_at, job.created_at)
    return next((moment for moment in moments if moment is not None), float("inf"))


def _check_clock(context: Context, old: list[Job]) -> None:
    """Refuse to let anything expire by a clock that seems wrong.

    Raises LedgerError.
    """
    if not old:
        return
    newest = [_latest(job) for job in islice(context.recorder.ledger.newest(), 100)]
    ahead = context.now - max(newest, default=0.0)
    if not -BEHIND < ahead < AHEAD:
        where = "ahead of" if ahead > 0 else "behind"
        raise LedgerError(
            f"the clock is {brief(abs(ahead))} {where} the newest record",
            hint="nothing was dropped; --force believes the clock",
        )


def _latest(job: Job) -> float:
    moments = (job.finished_at, job.checked_at, job.submitted_at)
    return max((moment for moment in moments if moment is not None), default=0.0)
