"""Where due jobs of one endpoint wait to be asked about: together, or one by one."""

from collections import deque
from dataclasses import dataclass, field

from bgresp.core.signals import Poll, Snapshot
from bgresp.engine.roll import Roll
from bgresp.engine.tracker import Tracker


@dataclass(slots=True)
class Room:
    """Nobody here has a slot of the rate gate yet: a list spares most of them."""

    roll: Roll
    waiting: deque[Tracker] = field(default_factory=deque)
    _unlisted: set[int] = field(default_factory=set)
    _is_calling: bool = False

    def free_at(self) -> float:
        """Return the moment at which the next may be asked about."""
        return self.roll.gate.free_at()

    def take(self, now: float) -> list[Tracker]:
        """Take those to ask about now: one, or all whom the list may know."""
        if not self.waiting or self.free_at() > now:
            return []
        if not self._is_calling:
            taken = self._take_listable()
            if taken:
                return taken
        tracker = self.waiting.popleft()
        tracker.reserve()
        return [tracker]

    def _take_listable(self) -> list[Tracker]:
        """Take those whom the list may know, if they are worth a list."""
        if not self.roll.suits(len(self.waiting) - len(self._unlisted)):
            return []
        listable = [t for t in self.waiting if self._may_be_listed(t)]
        if not self.roll.suits(len(listable)):
            return []
        taken = set(map(id, listable))
        self.waiting = deque(t for t in self.waiting if id(t) not in taken)
        self._is_calling = True
        return listable

    async def ask(self, trackers: list[Tracker]) -> None:
        """Ask about one job, or call the roll."""
        if len(trackers) == 1:
            self._unlisted.discard(id(trackers[0]))
            await trackers[0].turn()
            return
        by_id = {str(tracker.job.id): tracker for tracker in trackers}
        self._unlisted |= set(map(id, trackers))

        def is_open(id_: str, snapshot: Snapshot) -> None:
            self._unlisted.discard(id(by_id[id_]))
            by_id[id_].hear(snapshot)

        try:
            await self.roll.call({id_: t.job for id_, t in by_id.items()}, is_open)
        finally:
            self._is_calling = False

    def _may_be_listed(self, tracker: Tracker) -> bool:
        """Say whether a poll is due that the list was not asked instead of before."""
        due = isinstance(tracker.action, Poll) or not tracker.tools.streams.free
        return due and id(tracker) not in self._unlisted
