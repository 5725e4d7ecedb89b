"""What a create tells first, and how long its stream is held."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from bgresp.core.dialect import Streaming
from bgresp.core.model import Status
from bgresp.core.signals import Event, Fault, FaultKind, Signal, Snapshot

HOLD: Final = 3.0


async def hold(signals: AsyncGenerator[Signal, None]) -> None:
    """Keep a creating stream until the job runs, or three seconds.

    A stream dropped at its first event has left jobs queued for ever: community
    thread 1382584 (WIRE.md 1.4).
    """
    try:
        async with asyncio.timeout(HOLD), aclosing(signals):
            async for signal in signals:
                reading = signal.reading if isinstance(signal, Event) else None
                if reading is not None and reading.status is not Status.QUEUED:
                    return
    except TimeoutError:
        return


async def first_told(signals: AsyncGenerator[Signal, None], how: Streaming) -> Signal:
    """Return the signal that tells the outcome; comments alone never do."""
    try:
        async with asyncio.timeout(how.idle_events):
            async for signal in signals:
                if _tells(signal):
                    return signal
    except TimeoutError:
        return Fault(FaultKind.IDLE, f"no id came for {how.idle_events:g} s")
    return Fault(FaultKind.CLOSED, "the reply ended before an id came")


async def told_twice(
    signals: AsyncGenerator[Signal, None],
) -> AsyncGenerator[Signal, None]:
    """Pass signals on; the one that tells the outcome comes again, to who follows."""
    told = False
    async with aclosing(signals) as source:
        async for signal in source:
            yield signal
            if not told and _tells(signal):
                told = True
                yield signal


def _tells(signal: Signal) -> bool:
    """Say whether a signal tells the outcome; events without an id do not."""
    if isinstance(signal, Fault | Snapshot):
        return True
    return signal.reading is not None and signal.reading.id is not None
