"""How long many jobs still need, by how long those that ended took; pure.

Two views of it. Where jobs are seen to wait, those that run end as others did, and the
rest follow them in as many places as were seen. Where an endpoint calls a job running
that waits, its jobs grow older than any that ended: then the pace of the ends tells.
"""

from bisect import bisect_right, insort
from collections import deque
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 1000  # durations that are kept, the newest
PACED: Final = 2  # ends from which they have a pace
SPREAD: Final = 1.5  # how many times the shortest the longest is where they queued
LINGERS: Final = 0.1  # of its age a job needs that is older than all that ended


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """How open jobs stand: how many run and wait, and the ages of the running, seconds.

    `oldest` and `newest` are those of the jobs that run longest and shortest.
    """

    running: int = 0
    waiting: int = 0
    oldest: float = 0.0
    newest: float = 0.0


@dataclass(slots=True)
class Estimate:
    """What is known of the jobs that ended; `add` and `remaining` cost the same always.

    `durations` are seconds from a job's start, else its submit, to its end.
    """

    _ordered: list[float] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)
    _first: float = 0.0
    _ends: int = 0
    _places: int = 0

    def know(self, seconds: float) -> None:
        """Take how long a job took that ended at any time."""
        insort(self._ordered, seconds)
        self._recent.append(seconds)
        if len(self._recent) > MOST:
            oldest = self._recent.popleft()
            del self._ordered[bisect_right(self._ordered, oldest) - 1]

    def ended(self, now: float) -> None:
        """Take that a job ended just now."""
        self._ends += 1
        if self._ends == 1:
            self._first = now

    def remaining(self, now: float, jobs: OpenJobs) -> float | None:
        """Return the seconds until all are over; None while nothing is known."""
        self._places = max(self._places, jobs.running)
        if not self._ordered or not (jobs.running or jobs.waiting):
            return None
        usual = self._ordered[len(self._ordered) // 2]
        oldest = self._left(jobs.oldest) if jobs.running else 0.0
        newest = self._left(jobs.newest) if jobs.running else 0.0
        needed = max(oldest, newest)
        if jobs.waiting:
            # As many as there are places run at once; the last starts behind them all.
            each = (oldest + newest) / 2 * jobs.running + usual * jobs.waiting
            places = max(1, self._places)
            needed = max(needed, oldest + usual, each / places)
        shortest, longest = self._ordered[0], self._ordered[-1]
        queued = jobs.oldest >= longest >= SPREAD * shortest
        if not (queued and jobs.running and self._ends >= PACED):
            return needed
        pace = (now - self._first) / (self._ends - 1)
        rest = pace * (jobs.running + jobs.waiting)
        return max(rest, shortest - jobs.newest, usual * bool(jobs.waiting))

    def _left(self, age: float) -> float:
        """Return what a job of this age needs, as those did that took longer."""
        first = bisect_right(self._ordered, age)
        longer = len(self._ordered) - first
        if not longer:
            return LINGERS * age + (self._ordered[-1] - self._ordered[0]) / 2
        return self._ordered[first + longer // 2] - age
