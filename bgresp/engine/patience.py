"""Wait for the next signal of a stream, but not for ever."""

import asyncio
from collections.abc import AsyncIterator

from bgresp.core.signals import Fault, FaultKind, Signal


async def next_signal(signals: AsyncIterator[Signal], idle: float) -> Signal:
    """Return the next signal; Fault "idle" after so many seconds without one.

    The end of the stream is Fault "closed".
    """
    try:
        async with asyncio.timeout(idle):
            return await anext(signals)
    except TimeoutError:
        return Fault(FaultKind.IDLE, f"no event for {idle:g} s")
    except StopAsyncIteration:
        return Fault(FaultKind.CLOSED, "the stream ended")
