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
from typing import Any

from bgresp.cli.context import Context
from bgresp.core.errors import UsageError
from bgresp.core.model import Job
from bgresp.core.output import KINDS
from bgresp.render.lines import Events, JsonLines, Quiet


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


def audience(context: Context, manner: Manner, jobs: list[Job]) -> Any:
    """Return who is told; a live view is on the screen already."""
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

        plain = Plain(streams, to_stdout, manner.asides)
        plain.start(jobs)
        return plain
    if manner.single and jobs:
        from bgresp.render.live import LiveOne

        one = LiveOne(streams, to_stdout, manner.where, manner.asides)
        if jobs[0].status.is_open:
            one.start(jobs[0])
        return one
    from bgresp.render.board import LiveMany

    many = LiveMany(streams)
    many.start(jobs)
    return many


def how_to_go_on(jobs: list[Job]) -> str:
    """Return what to type after leaving."""
    if len(jobs) == 1:
        return f"the job goes on: bgresp watch {jobs[0].ref} --resume"
    groups = {job.group for job in jobs}
    one = groups.pop() if len(groups) == 1 else None
    which = f" --group {shlex.quote(one)}" if one else ""
    return f"the jobs go on: bgresp watch{which}"


@asynccontextmanager
async def moving(told: Any) -> AsyncIterator[None]:
    """Let an audience that has a period tick while something is done.

    Ctrl-Z takes a live view away before the process stops, and going on draws it again.
    """
    if not hasattr(told, "tick"):
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.create_task(_tick(told))
    minds = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL and _is_drawn(told)
    if minds:
        loop.add_signal_handler(signal.SIGTSTP, _pause, told)
    try:
        yield
    finally:
        if minds:
            loop.remove_signal_handler(signal.SIGTSTP)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _is_drawn(told: Any) -> bool:
    return hasattr(told, "rest")


def _pause(told: Any) -> None:
    told.rest()
    os.kill(os.getpid(), signal.SIGSTOP)
    told.tick()


async def _tick(told: Any) -> None:
    while True:
        await asyncio.sleep(told.period)
        told.tick()
