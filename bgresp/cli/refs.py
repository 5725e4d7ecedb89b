"""From what a person typed to jobs: REFs, selectors, adoption of foreign ids."""

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from bgresp.cli.context import Context
from bgresp.cli.options import Refs
from bgresp.cli.probed import PROBE
from bgresp.core.errors import (
    ConfigError,
    NoSuchJobError,
    RefusedError,
    UnreachableError,
    UsageError,
    did_you_mean,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.ledger.keys import is_key

if TYPE_CHECKING:
    from bgresp.api.client import Api

PREFIX = 4
_NEVER_TYPED = re.compile(r"[/?#%\\\s\x00-\x1f\x7f-\x9f]")
_AT = re.compile(r"@(last|[1-9][0-9]*)")


def chosen(context: Context, refs: Refs, *, default: str | None = None) -> "Choice":
    """Return the jobs that REFs or selectors mean; unknown ids are left to ask for.

    `default` is the REF where nothing was given. Raises UsageError, NoSuchJobError.
    """
    typed = list(expanded(refs.refs or []))
    selector = refs.selector(context.common, now=context.now)
    if typed:
        if replace(selector, profile=None).given:
            raise UsageError("give REFs or selectors, not both")
        return _by_refs(context, typed)
    if selector.given:
        jobs = list(context.books.ledger.select(selector))
        context.report_ledger()
        return Choice(jobs, [], single=False)
    if default is None:
        raise UsageError("no REF given", hint="an id, a name, @last, or a selector")
    return _by_refs(context, [default])


class Choice:
    """Jobs that were found, and ids that only the endpoint may know."""

    __slots__ = ("foreign", "jobs", "single")

    def __init__(self, jobs: list[Job], foreign: list[str], *, single: bool) -> None:
        """Keep what was chosen; `single`: exactly one REF was given."""
        self.jobs = jobs
        self.foreign = foreign
        self.single = single

    async def adopt(self, context: Context) -> list[Job]:
        """Return all jobs, the unknown ids adopted among them.

        Raises NoSuchJobError when the endpoint does not know one either.
        """
        return [*self.jobs, *await self.adopted(context)]

    async def adopted(self, context: Context) -> list[Job]:
        """Ask the endpoint for unknown ids, take them into the ledger, return them.

        Raises NoSuchJobError when it does not know one either.
        """
        return [await adopted(context, id_) for id_ in self.foreign]

    def known(self) -> list[Job]:
        """Return the jobs; an id that the ledger does not know is an error.

        Raises NoSuchJobError.
        """
        for id_ in self.foreign:
            raise NoSuchJobError(f"no job {id_!r} in the ledger", hint="bgresp list")
        return self.jobs


def require_some(jobs: list[Job], refs: Refs) -> bool:
    """Say whether there is anything to do.

    Raises NoSuchJobError for an empty selection unless --allow-empty.
    """
    if not jobs and not refs.allow_empty:
        raise NoSuchJobError("no job matches", hint="bgresp list")
    return bool(jobs)


def expanded(refs: Iterable[str]) -> Iterable[str]:
    """Yield REFs, reading them from stdin where one is `-`."""
    for ref in refs:
        if ref != "-":
            yield ref
            continue
        for line in sys.stdin or ():
            if line.strip():
                yield line.strip()


def find(context: Context, ref: str) -> Job | None:
    """Return the job that a REF means; None when the ledger knows none.

    Raises NoSuchJobError when it is ambiguous, or an @N that is not there.
    """
    ledger = context.books.ledger
    at = _AT.fullmatch(ref)
    if at:
        number = 1 if at[1] == "last" else int(at[1])
        own = (job for job in ledger.newest() if PROBE not in job.extra)
        job = next(islice(own, number - 1, None), None)
        if job is None:
            raise NoSuchJobError(f"there is no {ref}", hint="bgresp list")
        return job
    if is_key(ref):
        found = ledger.by_key(ref)
        if found:
            return found
    exact = ledger.by_id(ref) or ledger.by_name(ref)
    if exact or len(ref) < PREFIX:
        return exact
    several = ledger.by_prefix(ref, limit=6)
    if len(several) > 1:
        names = ", ".join(str(job.id) for job in several[:5])
        more = ", ..." if len(several) > 5 else ""
        raise NoSuchJobError(
            f"{ref!r} is ambiguous: {names}{more}", hint="write more of the id"
        )
    return several[0] if several else None


def _meant(context: Context, ref: str) -> str:
    """Say which id or name was probably meant; nothing where none is near."""
    return did_you_mean(ref, context.books.ledger.words.near("in"))


async def adopted(context: Context, id_: str) -> Job:
    """Ask the endpoint for an id that the ledger does not know, and keep it.

    Raises NoSuchJobError, RefusedError, UnreachableError.
    """
    try:
        settings = context.settings()
    except ConfigError:
        if context.common.profile or context.common.base_url:
            raise
        raise NoSuchJobError(
            f"no job {id_!r} in the ledger",
            hint=f"{_meant(context, id_)}bgresp list; "
            "an endpoint is asked with -p PROFILE",
        ) from None
    draft = Job(
        key="",
        status=Status.IN_PROGRESS,
        id=id_,
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        extra=settings.kept,
    )
    async with context.api(settings) as api:
        return await _asked(context, api, draft)


async def _asked(context: Context, api: "Api", draft: Job) -> Job:
    answer = await api.retrieve(str(draft.id))
    if not isinstance(answer, Fault):
        settled = _settled(context, api, str(draft.id), answer)
        if settled is not None:
            return settled
        job = context.books.ledger.adopt(draft)
        return context.books.heard(job, answer, api.endpoint.dialect)
    said = f"{draft.id}: {answer.message}"
    if answer.kind is FaultKind.GONE:
        raise NoSuchJobError(
            f"no job {draft.id!r}, neither in the ledger nor at {api.endpoint.host}",
            hint=f"{_meant(context, str(draft.id))}bgresp list",
            request_id=answer.request_id,
        )
    if answer.http_status in {401, 403}:
        raise ConfigError(said, request_id=answer.request_id)
    if answer.kind in {FaultKind.REFUSED, FaultKind.UNREADABLE}:
        raise RefusedError(said, request_id=answer.request_id)
    raise UnreachableError(said, request_id=answer.request_id, retryable=True)


def _settled(context: Context, api: "Api", id_: str, news: Snapshot) -> Job | None:
    """Record a response as what a lost submit of ours made; None where none did.

    Raises NotFinishedError when that submit is still at work.
    """
    from bgresp.engine.settle import Settling
    from bgresp.engine.unsettled import UNSETTLED, holding

    key, books = news.reading.key, context.books
    lost = books.ledger.by_key(key) if key is not None and is_key(key) else None
    if lost is None or lost.status not in UNSETTLED:
        return None
    with holding(books, lost) as job:
        if job.status not in UNSETTLED:
            return None
        return Settling(api, books, context.say).accepted(job, id_, news)


def _by_refs(context: Context, typed: list[str]) -> Choice:
    jobs: list[Job] = []
    foreign: list[str] = []
    seen: set[str] = set()
    for ref in typed:
        job = find(context, ref)
        if job is None:
            check_typed(ref)
            foreign.append(ref)
        elif job.key not in seen:
            seen.add(job.key)
            jobs.append(job)
    context.report_ledger()
    return Choice(jobs, foreign, single=len(typed) == 1)


def check_typed(ref: str) -> None:
    """Refuse what cannot be an id that a person typed.

    Raises UsageError.
    """
    if _NEVER_TYPED.search(ref) or not ref or len(ref) > 4096:
        raise UsageError(f"not an id: {ref[:80]!r}", hint="bgresp list")
