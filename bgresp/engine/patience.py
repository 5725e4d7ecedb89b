"""Wait for the signals of a stream, but not for ever, and look up once in a silence."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.signals import Fault, FaultKind, Signal, Snapshot

SILENT: Final = 10.0  # a proxy that keeps events back is noticed by then
LATE: Final = 2.0  # an end that was seen elsewhere gives its event so long to arrive


@dataclass(slots=True)
class Patience:
    """How long one stream may be silent; times in seconds.

    After `idle` seconds without an event it is given up. After ten the job is looked
    at, once in a silence: `look` returns the last word on it, None where there is none
    yet. Nothing of the stream is lost by that: an event that comes meanwhile wins.
    """

    idle: float
    look: Callable[[], Awaitable[Snapshot | None]]
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float = 0.0
    _limit: asyncio.Timeout | None = None
    _found: Snapshot | None = None

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look into silences as long as the stream is read."""
        self._since = asyncio.get_running_loop().time()
        watching = asyncio.create_task(self._watch())
        # A look that fails is no news: what comes after the silence tells.
        watching.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            yield
        finally:
            watching.cancel()

    async def next_signal(self, signals: AsyncIterator[Signal]) -> Signal:
        """Return the next signal, or the last word on the job where it was seen.

        Fault "idle" after a silence; the end of the stream is Fault "closed".
        """
        try:
            async with asyncio.timeout(self.idle) as self._limit:
                signal = await anext(signals)
        except TimeoutError:
            if self._found is not None:
                return self._found
            return Fault(FaultKind.IDLE, f"no event for {self.idle:g} s")
        except StopAsyncIteration:
            return Fault(FaultKind.CLOSED, "the stream ended")
        self._since = asyncio.get_running_loop().time()
        self._heard.set()
        return signal

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wait = self._since + SILENT - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            self._heard.clear()
            found = await self.look()
            if found is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LATE):
                        await self._heard.wait()
                if not self._heard.is_set() and self._limit is not None:
                    self._found = found
                    self._limit.reschedule(loop.time())
                    return
            await self._heard.wait()
