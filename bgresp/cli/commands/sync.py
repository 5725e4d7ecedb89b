"""`bgresp sync`: one pass for cron, over every endpoint at once."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, NamedTuple

from bgresp.cli import errors, records, refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Notify, Refs, opt
from bgresp.core.errors import NotFinishedError, OutputError, worst
from bgresp.core.model import Job, Status
from bgresp.ledger import files
from bgresp.render.table import GAP

if TYPE_CHECKING:
    from bgresp.batch.files import Folder


class Options(NamedTuple):
    """What `sync` takes."""

    exit_status: Annotated[
        bool, opt("--exit-status", help="Exit as the jobs ended, 8 while one is open.")
    ] = False
    out_dir: Annotated[
        str | None,
        opt(
            "--out-dir",
            help="Write each answer to DIR/GROUP/ID.txt, ID its row's.",
            metavar="DIR",
        ),
    ] = None
    notify: Notify = None


def sync(which: Refs, options: Options, common: Common) -> int:
    """Ask once about every open job, save every result, and leave.

    Prints a line a changed job: id, old status, new status. A second sync at the same
    time leaves at once.

    Examples:

      bgresp sync
      */5 * * * * bgresp sync --out-dir answers >> sync.log
    """
    context = Context.of(common, rows=False)
    context.notify(options.notify)
    context.ledger.prepare()
    with ExitStack() as until_done:
        try:
            lock = files.inflight(context.state / "sync.lock", wait=0.0)
            until_done.enter_context(lock)
        except NotFinishedError:
            context.say("another sync is running: nothing to do")
            return 0
        folder = None
        if options.out_dir is not None:
            from bgresp.batch.files import Folder

            folder = Folder.made(options.out_dir, by_group=True)
        syncing = Syncing(context, folder)
        return context.run(syncing.run(which, exit_status=options.exit_status))


@dataclass(slots=True)
class Syncing:
    """One invocation's pass."""

    context: Context
    folder: "Folder | None" = None
    codes: list[int] = field(default_factory=list)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _changed: list[Job] = field(default_factory=list)

    async def run(self, which: Refs, *, exit_status: bool) -> int:
        """Go over the jobs and return the exit code."""
        from bgresp.engine.scheduler import Sync

        context = self.context
        self._jobs = {job.key: job for job in _chosen(context, which)}
        one = Sync(context.recorder, self._tell, context.say, self.codes)
        troubles = errors.Troubles(context.streams)
        jobs = list(self._jobs.values())
        await one.everywhere(context.endpoints, jobs, troubles.add)
        for job, fault in one.unheard:
            troubles.unheard(job, fault)
        self.codes += troubles.tell()
        if context.common.json:
            records.show_jobs(context, self._changed, single=False)
        if exit_status:
            unheard = {job.key for job, _ in one.unheard}  # its fault counts alone
            heard = (job for key, job in self._jobs.items() if key not in unheard)
            self.codes += [int(job.exit_code) for job in heard]
        return int(worst(self.codes))

    def _tell(self, before: Job, job: Job) -> None:
        """Print a changed job: id, old status, new status."""
        self._jobs[job.key] = job
        if job.status is before.status:
            return
        self._changed.append(job)
        self.context.ended(job)
        self._write(job)
        if not self.context.common.json:
            show_change(self.context, before, job)

    def _write(self, job: Job) -> None:
        """Write the answer of a job that ended; what cannot be written is told."""
        if self.folder is None or job.status.is_open:
            return
        try:
            text = self.context.text_of(job)
            if text:
                self.folder.add(job, text)
        except OutputError as error:  # the other jobs are asked about all the same
            error.hint = f"bgresp get {job.quoted}"
            self.context.tell_error(error)
            self.codes.append(int(error.code))


def show_change(context: Context, before: Job, job: Job) -> None:
    """Print how a job changed: its id, old status, new status; or its record."""
    if context.common.quiet or context.is_json:
        records.show_jobs(context, [job], single=True)
    else:
        cells = (job.ref, before.status.value, job.status.value)
        gap = GAP if context.streams.out_is_terminal else "\t"
        context.streams.line(gap.join(cells))


def _chosen(context: Context, which: Refs) -> Iterable[Job]:
    """Return open jobs and unsettled submits, as REFs or selectors say."""
    from bgresp.engine.scheduler import due
    from bgresp.engine.settle import candidates

    if not which.refs:
        return due(context.recorder, which.selector(context.common, now=context.now))
    named = refs.chosen(context, which).known()
    unsettled = {job.key for job in candidates(context.recorder)}
    lost = Status.LOST  # it may come back
    return [
        job
        for job in named
        if job.status.is_open or job.status is lost or job.key in unsettled
    ]
