"""Find what lost submissions made, in an endpoint's own list.

May import core and api.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.api.client import Api
from bgresp.core import paths, wire
from bgresp.core.dialect import Dialect
from bgresp.core.model import Job
from bgresp.core.signals import Fault
from bgresp.core.times import unix

PAGES: Final = 10
# An endpoint's clock may differ from ours by so much.
SLACK: Final = 3600.0


@dataclass(slots=True)
class Tagged:
    """Ids by the key that they carry; the fault that ended the search too early."""

    ids: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None


async def find(api: Api, jobs: Mapping[str, Job]) -> Tagged:
    """Page through the list, newest first, for responses that carry our keys.

    Stops before what is older than every submission, and after ten pages.
    """
    dialect, found = api.endpoint.dialect, Tagged()
    since = min(job.submitted_at or 0.0 for job in jobs.values()) - SLACK
    after: str | None = None
    for _ in range(PAGES):
        page = await api.list(after)
        if isinstance(page, Fault):
            found.fault = page
            break
        items = [item for item in page["data"] if isinstance(item, Mapping)]
        for item in items:
            key = paths.first(item, dialect.reads.key)
            id_ = wire.read_id(dialect, item)
            if isinstance(key, str) and key in jobs and id_ is not None:
                found.ids.setdefault(key, id_)
        after = _next_page(dialect, page, after)
        if (
            len(found.ids) == len(jobs)
            or after is None
            or _reaches(items, since, dialect)
        ):
            break
    return found


def _reaches(items: list[Mapping[str, Any]], since: float, dialect: Dialect) -> bool:
    """Say whether a page goes back before all we look for."""
    moments = [unix(paths.first(item, dialect.reads.created)) for item in items]
    return any(moment is not None and moment < since for moment in moments)


def _next_page(
    dialect: Dialect, page: Mapping[str, Any], after: str | None
) -> str | None:
    """Return the id to go on after; None at the end of the list."""
    items = page["data"]
    if not items or not page.get("has_more", True):
        return None
    last = page.get("last_id") or wire.read_id(dialect, items[-1])
    return last if isinstance(last, str) and last != after else None
