"""Looking jobs up in a view by what a user says of them."""

from collections.abc import Iterator, Mapping
from itertools import chain, islice

from bgresp.core.model import Job
from bgresp.core.selection import Selector
from bgresp.ledger import runs
from bgresp.ledger.checkpoint import WANTED
from bgresp.ledger.view import View


def select(view: View, selector: Selector) -> Iterator[Job]:
    """Yield the jobs a selector means, newest first, reading no more than it must."""
    if selector.open or (selector.statuses and selector.statuses <= WANTED):
        jobs = iter(view.open_jobs())
    elif selector.group is not None:
        group = selector.group
        grouped = view.matching(runs.term("g", group), lambda j: j.group == group)
        jobs = iter(sorted(grouped, key=lambda job: job.key, reverse=True))
    else:
        jobs = view.since(selector.since)
    return (job for job in jobs if not job.is_forgotten and selector.matches(job))


def by_prefix(view: View, prefix: str, *, limit: int) -> list[Job]:
    """Return jobs whose id begins so, with or without `resp_`; at most `limit`."""
    forms = (prefix, runs.PREFIX + prefix)

    def fits(job: Job) -> bool:
        return not job.is_forgotten and job.id is not None and job.id.startswith(forms)

    terms = {runs.id_term(prefix), runs.term("i", prefix)}
    hits = chain(*(islice(view.matching(term, fits), limit) for term in terms))
    found = {job.key: job for job in hits}
    return sorted(found.values(), key=lambda job: job.key, reverse=True)[:limit]


def latest(view: View, term: bytes, wanted: Mapping[str, str]) -> Job | None:
    """Return the newest job under a term whose fields are these."""

    def fits(job: Job) -> bool:
        return not job.is_forgotten and all(
            getattr(job, k) == v for k, v in wanted.items()
        )

    return view.latest_matching(term, fits)
