"""Who is told while jobs are followed: chosen by the terminal and the output options.

What moves is drawn by a task of the same loop that writes the text, so that neither
tears the other.
"""

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bgresp.cli.context import Context
from bgresp.core.errors import UsageError
from bgresp.core.model import Job
from bgresp.core.observer import Observer
from bgresp.core.output import KINDS
from bgresp.render.plain import Events, JsonLines, Quiet


@dataclass(frozen=True, slots=True)
class Manner:
    """How to show; `where` says where the answer goes if not to stdout."""

    silent: bool = False
    events: bool = False
    single: bool = True
    where: str = ""
    asides: frozenset[str] = frozenset()


def asides(text: str | None) -> frozenset[str]:
    """Read --show as what it names.

    Raises UsageError.
    """
    names = frozenset(name.strip() for name in (text or "").split(",") if name.strip())
    if names == {"all"}:
        return frozenset(KINDS)
    wrong = sorted(names - set(KINDS))
    if wrong:
        raise UsageError(f"--show takes {', '.join(KINDS)} or all, not {wrong[0]!r}")
    return names


def observer(context: Context, manner: Manner, *, alone: bool) -> Observer:
    """Return who is told of the jobs; `alone`: of one job, which there is."""
    streams, common = context.streams, context.common
    if manner.silent or common.quiet or common.json:
        return Quiet(streams)
    if manner.events:
        return Events(streams)
    if common.jsonl:
        return JsonLines(streams, common.wanted_fields())
    to_stdout = manner.single and not manner.where
    if not streams.animated:
        from bgresp.render.plain import Plain

        return Plain(streams, to_stdout, manner.asides)
    if alone:
        from bgresp.render.live import LiveOne

        return LiveOne(streams, to_stdout, manner.where, manner.asides)
    from bgresp.render.board import LiveMany

    return LiveMany(streams)


def how_to_go_on(jobs: list[Job]) -> str:
    """Return what to type after leaving."""
    if len(jobs) == 1:
        return f"the job goes on: bgresp watch {jobs[0].ref} --resume"
    groups = {job.group for job in jobs}
    one = groups.pop() if len(groups) == 1 else None
    which = f" --group {shlex.quote(one)}" if one else ""
    return f"the jobs go on: bgresp watch{which}"


@asynccontextmanager
async def moving(told: Observer | None) -> AsyncIterator[None]:
    """Let an observer that has a period tick while something is done.

    Ctrl-Z takes a live view away before the process stops, and going on draws it again.
    """
    if told is None or told.period is None:
        yield
        return
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(_tick(told, told.period))
    minds = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL and told.is_drawn
    if minds:
        loop.add_signal_handler(signal.SIGTSTP, _pause, told)
    try:
        yield
    finally:
        if minds:
            loop.remove_signal_handler(signal.SIGTSTP)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _pause(told: Observer) -> None:
    told.pause()
    os.kill(os.getpid(), signal.SIGSTOP)
    told.tick()


async def _tick(told: Observer, period: float) -> None:
    while True:
        await asyncio.sleep(period)
        told.tick()
