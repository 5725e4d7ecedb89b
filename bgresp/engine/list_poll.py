"""Ask about many jobs at once: an endpoint's own list of responses, page by page.

A list is advice: it may lag and leave jobs out. What it shows as ended, or does not
show, is asked for one by one.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.api.client import PAGE, Api
from bgresp.core import paths
from bgresp.core.dialect import Dialect
from bgresp.core.model import Job
from bgresp.core.reading import read_id, read_response
from bgresp.core.schedule import RETRY_AFTER_CAP
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.core.times import unix
from bgresp.engine.rate_limit import RateLimiter

ENOUGH: Final = 2 * PAGE  # jobs to ask about at once that are worth a list
WORTH: Final = 0.5  # the share of them that a list must show to be asked again
SEARCHED: Final = 10  # pages that are looked through for lost submissions
SLACK: Final = 3600.0  # an endpoint's clock may differ from ours by so much

_NO_LIST: Final = frozenset({FaultKind.GONE, FaultKind.REFUSED, FaultKind.UNREADABLE})

Items = list[Mapping[str, Any]]


@dataclass(slots=True)
class ListPoller:
    """One endpoint's list as a means to ask; `useful` until it proves to be none."""

    api: Api
    limiter: RateLimiter
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
        async with aclosing(
            pages(self.api, self.limiter, since=since, most=most)
        ) as some:
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
            self.limiter.hold(min(fault.retry_after, RETRY_AFTER_CAP))
        if fault.kind in _NO_LIST:
            self.useful = False


@dataclass(slots=True)
class Tagged:
    """Ids by the key that they carry; the fault that ended the search too early."""

    ids: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None


async def find_by_metadata(api: Api, jobs: Mapping[str, Job]) -> Tagged:
    """Look through the list, newest first, for responses that carry our keys.

    Stops before what is older than every submission, and after ten pages.
    """
    dialect, found = api.endpoint.dialect, Tagged()
    since = min(job.submitted_at or 0.0 for job in jobs.values())
    limiter = RateLimiter(dialect.limits.rate)
    async with aclosing(pages(api, limiter, since=since, most=SEARCHED)) as source:
        async for items in source:
            if isinstance(items, Fault):
                found.fault = items
                break
            for item in items:
                key = paths.first(item, dialect.reads.key)
                id_ = read_id(dialect, item)
                if isinstance(key, str) and key in jobs and id_ is not None:
                    found.ids.setdefault(key, id_)
            if len(found.ids) == len(jobs):
                break
    return found


async def pages(
    api: Api, limiter: RateLimiter, *, since: float, most: int
) -> AsyncGenerator[Items | Fault]:
    """Yield the responses a page, until they are older than `since` by far.

    At most so many pages; a Fault is the last that comes.
    """
    dialect = api.endpoint.dialect
    after: str | None = None
    for _ in range(most):
        await limiter.turn()
        page = await api.list(after)
        if isinstance(page, Fault):
            yield page
            return
        items = [item for item in page["data"] if isinstance(item, Mapping)]
        yield items
        after = _next(dialect, page, after)
        if after is None or _reaches(items, since - SLACK, dialect):
            return


def _reaches(items: Items, since: float, dialect: Dialect) -> bool:
    """Say whether a page goes back before all we look for."""
    moments = [unix(paths.first(item, dialect.reads.created)) for item in items]
    return any(moment is not None and moment < since for moment in moments)


def _next(dialect: Dialect, page: Mapping[str, Any], after: str | None) -> str | None:
    """Return the id to go on after; None at the end of the list."""
    items = page["data"]
    if not items or not page.get("has_more", True):
        return None
    last = page.get("last_id") or read_id(dialect, items[-1])
    return last if isinstance(last, str) and last != after else None
