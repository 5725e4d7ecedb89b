"""Looking jobs up in a view by what a user says of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from bgresp.core.model import Job, Status
from bgresp.core.selection import Selector
from bgresp.ledger import runs
from bgresp.ledger.checkpoint import WANTED
from bgresp.ledger.damage import is_in_doubt
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


def bearers(view: View, term: bytes, **wanted: str) -> Iterator[Job]:
    """Yield the jobs under a term whose fields are these, newest first.

    Tombstones too; and a job in doubt of which nothing is known but the term.
    """
    for job in view.bearing(term):
        found = {name: getattr(job, name) for name in wanted}
        if found == wanted:
            yield job
        elif is_in_doubt(job) and not any(found.values()):
            yield _named(job, wanted)


def holding(jobs: Iterable[Job]) -> Job | None:
    """Return which of several submissions under one key, row or id holds.

    `jobs` are newest first. One that was accepted, whatever came after it; else one
    whose outcome is not known; else one that was rejected.
    """
    best: Job | None = None
    for job in jobs:
        if job.status.is_accepted:
            return job
        if best is None or (
            best.status is Status.REJECTED and job.status is not Status.REJECTED
        ):
            best = job
    return best


def _named(job: Job, names: Mapping[str, Any]) -> Job:
    return replace(job, **names)
