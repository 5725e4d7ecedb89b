"""One rate limit an endpoint, for every job of the process.

Requests pass at most `rate` a second; what an endpoint asks to wait holds everybody.
"""

import asyncio
import math
from dataclasses import dataclass, field

BURST = 10


@dataclass(slots=True)
class RateLimiter:
    """Requests a second that may pass; 0 lets everything through."""

    rate: float
    _next: float = -math.inf
    _held: float = -math.inf

    async def turn(self) -> None:
        """Wait for one's turn; a hold that comes meanwhile counts too."""
        loop = asyncio.get_running_loop()
        slot = self.slot()
        while slot > loop.time():
            await asyncio.sleep(slot - loop.time())
            slot = self.slot(slot)

    def slot(self, taken: float | None = None) -> float:
        """Take the moment at which one may pass.

        One that was taken before stays, unless a hold came since.
        """
        if taken is not None and taken >= self._held:
            return taken
        return self._take()

    def hold(self, seconds: float) -> None:
        """Let nobody pass for so long: the endpoint asked for it."""
        now = asyncio.get_running_loop().time()
        self._held = max(self._held, now + seconds)

    @property
    def held(self) -> float:
        """Return for how many seconds nobody may pass."""
        return max(0.0, self._held - asyncio.get_running_loop().time())

    def free_at(self) -> float:
        """Return the moment from which the next one may pass, without taking it."""
        if self.rate <= 0:
            return self._held
        spare = asyncio.get_running_loop().time() - (BURST - 1) / self.rate
        return max(self._next, spare, self._held)

    def _take(self) -> float:
        """Take the next free moment; idle time saves up a burst, a hold does not."""
        slot = self.free_at()
        if self.rate > 0:
            self._next = slot + 1.0 / self.rate
        return slot


@dataclass(slots=True)
class Semaphore:
    """How many may do something at the same time; nobody waits for it."""

    free: float = math.inf

    def try_acquire(self) -> bool:
        """Take one, if there is one."""
        if self.free < 1:
            return False
        self.free -= 1
        return True

    def release(self) -> None:
        """Give one back."""
        self.free += 1


@dataclass(slots=True)
class PacedQueue:
    """A queue before a limiter, whose first may pass `every` so many seconds.

    Those that wait take no turn of the limiter from others.
    """

    limiter: RateLimiter = field(default_factory=lambda: RateLimiter(0.0))
    every: float = 0.0
    _first: asyncio.Lock = field(default_factory=asyncio.Lock)
    _next: float = -math.inf

    def rest(self, seconds: float) -> None:
        """Let nobody of this queue pass for so long."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)

    async def turn(self) -> None:
        """Wait for one's turn, in the order of asking."""
        loop = asyncio.get_running_loop()
        async with self._first:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            await self.limiter.turn()
            self._next = loop.time() + self.every
