"""`bgresp wait`: a silent gate."""

from dataclasses import dataclass
from typing import Annotated

from bgresp.cli import refs
from bgresp.cli.context import Context
from bgresp.cli.options import Common, Notify, Refs, opt, seconds
from bgresp.cli.running import run
from bgresp.core.errors import worst


@dataclass(frozen=True, slots=True)
class Options:
    """What `wait` takes."""

    any: Annotated[bool, opt("--any", help="Until one ends, not all.")] = False
    interval: Annotated[
        str | None, opt("--interval", help="Between polls.", metavar="D")
    ] = None
    timeout: Annotated[
        str | None, opt("--timeout", help="Stop waiting after.", metavar="D")
    ] = None
    fail_fast: Annotated[
        bool, opt("--fail-fast", help="Stop when one did not complete.")
    ] = False
    notify: Notify = None


def wait(which: Refs, options: Options, common: Common) -> int:
    """Wait until jobs end, print nothing, exit as they ended.

    Examples:

      bgresp wait @last && bgresp get @last
      bgresp wait --group night --timeout 2h
    """
    from bgresp.cli.following import Following, FollowOptions

    context = Context.of(common)
    context.notify(options.notify)
    how = FollowOptions(
        interval=seconds(options.interval),
        timeout=seconds(options.timeout),
        fail_fast=options.fail_fast,
        any=options.any,
        silent=True,
    )
    choice = refs.chosen(context, which)

    async def follow() -> int:
        jobs = await choice.adopt(context)
        if not choice.codes and not refs.require_some(context, jobs, which):
            return 0
        code = await Following(context, how, single=choice.single).run(jobs)
        return int(worst([*choice.codes, code]))

    return run(context, follow())
