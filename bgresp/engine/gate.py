"""One rate gate an endpoint, for every job of the process. Imports nothing of ours.

Requests pass at most `rate` a second; what an endpoint asks to wait holds everybody.
"""

import asyncio
from dataclasses import dataclass

BURST = 10


@dataclass(slots=True)
class Gate:
    """Requests a second that may pass; 0 lets everything through."""

    rate: float
    _next: float = 0.0

    async def turn(self) -> None:
        """Wait for one's turn."""
        if self.rate <= 0 and self._next <= 0:
            return
        now = asyncio.get_running_loop().time()
        spare = (BURST - 1) / self.rate if self.rate > 0 else 0.0
        slot = max(self._next, now - spare)
        self._next = slot + (1.0 / self.rate if self.rate > 0 else 0.0)
        if slot > now:
            await asyncio.sleep(slot - now)

    def hold(self, seconds: float) -> None:
        """Let nobody pass for so long: the endpoint asked for it."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now + seconds)
