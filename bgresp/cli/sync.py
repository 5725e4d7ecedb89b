"""`bgresp sync`: one pass for cron."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

from bgresp.cli.context import Context
from bgresp.cli.options import Common, Notify, Refs, opt
from bgresp.core.errors import NotFinishedError
from bgresp.ledger import locks


@dataclass(frozen=True, slots=True)
class Options:
    """What `sync` takes."""

    exit_status: Annotated[
        bool, opt("--exit-status", help="Exit as the jobs ended, 8 while one is open.")
    ] = False
    notify: Notify = None


def sync(which: Refs, options: Options, common: Common) -> int:
    """Ask once about every open job, save every result, and leave.

    Prints a line a changed job: id, old status, new status. A second sync at the same
    time leaves at once.

    Examples:

      bgresp sync
      */5 * * * * bgresp sync >> sync.log
    """
    from bgresp.cli.running import run
    from bgresp.cli.syncing import Syncing

    context = Context.of(common)
    context.notify(options.notify)
    context.books.ledger.prepare()
    with ExitStack() as until_done:
        try:
            lock = locks.inflight(context.state / "sync.lock", wait=0.0)
            until_done.enter_context(lock)
        except NotFinishedError:
            context.say("another sync is at work: nothing to do")
            return 0
        syncing = Syncing(context)
        return run(context, syncing.run(which, exit_status=options.exit_status))
