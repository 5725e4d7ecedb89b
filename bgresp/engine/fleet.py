"""Follow many jobs at once: a heap of waiting ones, few connections.

May import core and the other modules of this package. A waiting job is an entry of a
heap; only one that does I/O has a task.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from bgresp.core.signals import Done, Wait
from bgresp.engine.roll import ENOUGH, Roll
from bgresp.engine.room import Room
from bgresp.engine.tracker import Tracker


@dataclass(slots=True)
class Fleet:
    """Trackers that share connections; `stop` ends the rest early when it says so."""

    connections: int
    stop: Callable[[Tracker], bool] = lambda _: False
    _heap: list[tuple[float, int, Tracker]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)
    _rooms: dict[int, Room] = field(default_factory=dict)
    _tasks: dict[asyncio.Task[None], Sequence[Tracker]] = field(default_factory=dict)

    async def run(self, trackers: Iterable[Tracker]) -> None:
        """Follow all to their end; whatever happens, each is detached cleanly."""
        everyone = list(trackers)
        self._rooms = _rooms(everyone)
        try:
            for tracker in everyone:
                tracker.begin()
                self._push(tracker)
            while self._heap or self._tasks or self._is_anyone_in_a_room:
                self._start_due()
                if await self._one_round():
                    return
        finally:
            await self._abandon()
            for tracker in everyone:
                if not tracker.done:
                    tracker.detach()

    @property
    def _is_full(self) -> bool:
        return len(self._tasks) >= self.connections

    @property
    def _is_anyone_in_a_room(self) -> bool:
        return any(room.waiting for room in self._rooms.values())

    def _push(self, tracker: Tracker) -> None:
        now = asyncio.get_running_loop().time()
        action = tracker.action
        due = now + (action.seconds if isinstance(action, Wait) else 0.0)
        heapq.heappush(self._heap, (due, next(self._order), tracker))

    def _start_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            room = self._rooms.get(id(self._heap[0][2].tools))
            if room is None and self._is_full:
                break
            tracker = heapq.heappop(self._heap)[2]
            tracker.resume()
            if room is None:
                self._start(tracker.turn(), [tracker])
            else:
                room.waiting.append(tracker)
        for room in self._rooms.values():
            while not self._is_full and (group := room.take(now)):
                self._start(room.ask(group), group)

    def _start(self, work: Coroutine[None, None, None], for_: list[Tracker]) -> None:
        self._tasks[asyncio.create_task(work)] = for_

    async def _one_round(self) -> bool:
        """Wait until something ends or is due; say whether to stop."""
        wait = self._wait()
        if not self._tasks:
            await asyncio.sleep(wait or 0.0)
            return False
        ended, _ = await asyncio.wait(
            self._tasks, timeout=wait, return_when=asyncio.FIRST_COMPLETED
        )
        stop = False
        for task in ended:
            trackers = self._tasks.pop(task)
            task.result()
            for tracker in trackers:
                if isinstance(tracker.action, Done):
                    stop |= self.stop(tracker)
                else:
                    self._push(tracker)
        return stop

    def _wait(self) -> float | None:
        """Return how long nothing is due; None while no connection is free."""
        if self._is_full:
            return None
        due = [self._heap[0][0]] if self._heap else []
        due += [room.free_at() for room in self._rooms.values() if room.waiting]
        return max(0.0, min(due) - asyncio.get_running_loop().time()) if due else None

    async def _abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


def _rooms(trackers: Iterable[Tracker]) -> dict[int, Room]:
    """Return a room for each endpoint with many jobs and a list, by its tools."""
    counts = Counter(id(tracker.tools) for tracker in trackers)
    many = {id(t.tools): t.tools for t in trackers if counts[id(t.tools)] >= ENOUGH}
    rolls = {name: Roll(tools.api, tools.gate) for name, tools in many.items()}
    return {name: Room(roll) for name, roll in rolls.items() if roll.useful}
