"""Follow many jobs at once: a heap of waiting ones, few connections.

May import core and the other modules of this package. A waiting job is an entry of a
heap; only one that does I/O has a task.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from bgresp.core.signals import Done, Wait
from bgresp.engine.tracker import Tracker


@dataclass(slots=True)
class Fleet:
    """Trackers that share connections; `stop` ends the rest early when it says so."""

    connections: int
    stop: Callable[[Tracker], bool] = lambda _: False
    _heap: list[tuple[float, int, Tracker]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _tasks: dict[asyncio.Task[None], Tracker] = field(default_factory=dict)

    async def run(self, trackers: Iterable[Tracker]) -> None:
        """Follow all to their end; whatever happens, each is detached cleanly."""
        everyone = list(trackers)
        try:
            for tracker in everyone:
                tracker.begin()
                self._push(tracker)
            while self._heap or self._tasks:
                self._start_due()
                if await self._one_round():
                    return
        finally:
            await self._abandon()
            for tracker in everyone:
                if not tracker.done:
                    tracker.detach()

    def _push(self, tracker: Tracker) -> None:
        now = asyncio.get_running_loop().time()
        action = tracker.action
        due = now + (action.seconds if isinstance(action, Wait) else 0.0)
        heapq.heappush(self._heap, (due, next(self._order), tracker))

    def _start_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            if len(self._tasks) >= self.connections:
                return
            tracker = heapq.heappop(self._heap)[2]
            tracker.resume()
            self._tasks[asyncio.create_task(tracker.turn())] = tracker

    async def _one_round(self) -> bool:
        """Wait until something ends or is due; say whether to stop."""
        wait: float | None = None
        if self._heap and len(self._tasks) < self.connections:
            wait = max(0.0, self._heap[0][0] - asyncio.get_running_loop().time())
        if not self._tasks:
            await asyncio.sleep(wait or 0.0)
            return False
        ended, _ = await asyncio.wait(
            self._tasks, timeout=wait, return_when=asyncio.FIRST_COMPLETED
        )
        stop = False
        for task in ended:
            tracker = self._tasks.pop(task)
            task.result()
            if isinstance(tracker.action, Done):
                stop |= self.stop(tracker)
            else:
                self._push(tracker)
        return stop

    async def _abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
