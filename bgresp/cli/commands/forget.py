"""`bgresp forget`: drop jobs from the ledger and the disk."""

from functools import partial
from typing import Final, NamedTuple

from bgresp.cli import errors, records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, DryRun, OpenToo, Refs, Remote, Yes
from bgresp.core.errors import ExitCode
from bgresp.core.model import Job
from bgresp.core.text import counted
from bgresp.engine.cancel import Dropping, drop_refusal

SPELLED: Final = 10  # jobs that are named; more are counted


class Options(NamedTuple):
    """What `forget` takes."""

    remote: Remote = False
    force: OpenToo = False
    yes: Yes = False
    dry_run: DryRun = False


def forget(which: Refs, options: Options, common: Common) -> int:
    """Drop jobs and their answers from the ledger and the disk.

    What was submitted under --key is never sent again: the key and its id are kept.

    Examples:

      bgresp forget resp_123
      bgresp forget --group night --remote
    """
    context = Context.of(common)
    choice = refs.chosen(context, which)
    jobs = choice.known()
    if not refs.require_some(context, jobs, which):
        return 0
    for job in jobs if not options.force else ():
        reason = drop_refusal(context.recorder, job)
        if reason is not None:
            raise reason
    if options.dry_run:
        return records.list_planned(context, jobs, "would forget")
    if not may_drop(context, jobs, yes=options.yes):
        return int(ExitCode.STOPPED_EARLY)
    code, dropped = drop(context, jobs, remote=options.remote)
    if context.is_json or common.quiet:
        records.show_jobs(context, dropped, single=choice.single)
    else:
        _tell(context, dropped)
    return code


def drop(context: Context, jobs: list[Job], *, remote: bool) -> tuple[int, list[Job]]:
    """Drop jobs here, at their endpoints first where that is asked for.

    Returns an exit code, and the jobs that are gone.
    """
    failed = partial(errors.tell_of, context.streams)
    dropping = Dropping(context.recorder, context.say, failed)
    if not remote:
        return dropping.here(jobs), dropping.dropped
    code = context.run(dropping.everywhere(context.endpoints, jobs))
    return code, dropping.dropped


def may_drop(context: Context, jobs: list[Job], *, yes: bool) -> bool:
    """Ask before more than one job goes, or an answer that is saved here."""
    saved = context.answers.response_path
    answers = sum(saved(job.key).exists() for job in jobs)
    if len(jobs) < 2 and not answers:
        return True
    kept = f" with {answers:,} saved answer{'s' * (answers != 1)}" * bool(answers)
    return context.may(f"Forget {counted(len(jobs))}{kept}?", yes=yes)


def _tell(context: Context, dropped: list[Job]) -> None:
    if len(dropped) > SPELLED:
        context.say(f"forgot {len(dropped)} jobs")
        return
    for job in dropped:
        context.say(
            f"forgot {job.name} ({job.ref})" if job.name else f"forgot {job.ref}"
        )
