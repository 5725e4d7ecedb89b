"""Who is told while jobs are followed: chosen by the terminal and the output options.

What moves is drawn by a task of the same loop that writes the text, so that neither
tears the other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bgresp.cli.context import Context
from bgresp.core.asides import KINDS
from bgresp.core.errors import UsageError
from bgresp.core.model import Job
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


@asynccontextmanager
async def moving(told: Any) -> AsyncIterator[None]:
    """Let an audience that has a period tick while something is done."""
    task = asyncio.create_task(_tick(told)) if hasattr(told, "tick") else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _tick(told: Any) -> None:
    while True:
        await asyncio.sleep(told.period)
        told.tick()
