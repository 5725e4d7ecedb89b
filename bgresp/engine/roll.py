"""Ask about many jobs at once: an endpoint's list tells which of them are still open.

A list is advice: it may lag and leave jobs out. What it shows as ended, or does not
show, is asked for one by one.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from bgresp.api.client import PAGE, Api
from bgresp.core.model import Job
from bgresp.core.reading import read_response
from bgresp.core.schedule import RETRY_AFTER_CAP
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.engine.gate import Gate
from bgresp.engine.pages import pages

ENOUGH: Final = 2 * PAGE  # jobs to ask about at once that are worth a list
WORTH: Final = 0.5  # the share of them that a list must show to be asked again

_NO_LIST: Final = frozenset({FaultKind.GONE, FaultKind.REFUSED, FaultKind.UNREADABLE})


@dataclass(slots=True)
class Roll:
    """One endpoint's list as a means to ask; `useful` until it proves to be none."""

    api: Api
    gate: Gate
    useful: bool = True

    def __post_init__(self) -> None:
        """Be of use only where there is a list."""
        self.useful = self.api.can("list")

    def suits(self, count: int) -> bool:
        """Say whether so many jobs are better asked about together."""
        return self.useful and count >= ENOUGH

    async def call(
        self, jobs: Mapping[str, Job], is_open: Callable[[str, Snapshot], None]
    ) -> None:
        """Page through the list; tell of each job that is still open, by its id.

        Goes on until every job was seen, or what is older than all of them.
        """
        dialect, seen = self.api.endpoint.dialect, set[str]()
        since = min(job.submitted_at or 0.0 for job in jobs.values())
        most = 2 * len(jobs) // PAGE + 2
        async with aclosing(pages(self.api, self.gate, since=since, most=most)) as some:
            async for items in some:
                if isinstance(items, Fault):
                    self._failed(items)
                    return
                for item in items:
                    reading = read_response(dialect, item)
                    id_ = reading.id if reading else None
                    if reading is None or id_ is None or id_ in seen or id_ not in jobs:
                        continue
                    seen.add(id_)
                    if reading.known and reading.status.is_open:
                        is_open(id_, Snapshot(reading))
                if len(seen) == len(jobs):
                    break
        self.useful = len(seen) >= WORTH * len(jobs)

    def _failed(self, fault: Fault) -> None:
        """Give a busy endpoint its time; do not ask again one that has no list."""
        if fault.retry_after is not None:
            self.gate.hold(min(fault.retry_after, RETRY_AFTER_CAP))
        if fault.kind in _NO_LIST:
            self.useful = False
