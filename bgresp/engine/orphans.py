"""Find what lost submissions made, in an endpoint's own list."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from bgresp.api.client import Api
from bgresp.core import paths
from bgresp.core.model import Job
from bgresp.core.reading import read_id
from bgresp.core.signals import Fault
from bgresp.engine.gate import Gate
from bgresp.engine.pages import pages

PAGES: Final = 10


@dataclass(slots=True)
class Tagged:
    """Ids by the key that they carry; the fault that ended the search too early."""

    ids: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None


async def find(api: Api, jobs: Mapping[str, Job]) -> Tagged:
    """Look through the list, newest first, for responses that carry our keys.

    Stops before what is older than every submission, and after ten pages.
    """
    dialect, found = api.endpoint.dialect, Tagged()
    since = min(job.submitted_at or 0.0 for job in jobs.values())
    gate = Gate(dialect.limits.rate)
    async with aclosing(pages(api, gate, since=since, most=PAGES)) as source:
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
