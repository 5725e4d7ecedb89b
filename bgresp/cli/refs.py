"""From what a person typed to jobs, and what is new of them.

REFs, and selectors instead; ids that only the endpoint knows are asked for there. Verbs
that do not wait, status, list --refresh and get, ask once about the jobs.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from bgresp.cli.context import Context
from bgresp.cli.options import Refs
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    LedgerError,
    NoSuchJobError,
    RefusedError,
    UsageError,
)
from bgresp.core.model import Job, Status, may_be_key
from bgresp.core.selection import Selector
from bgresp.core.text import did_you_mean

if TYPE_CHECKING:
    from bgresp.engine.polling import News

PREFIX: Final = 4  # characters of an id that name a job
PROBE: Final = "probe"  # in a job's `extra`: a probe made it, nobody asked for it
_NEVER_TYPED: Final = r"[/?#%\\\s\x00-\x1f\x7f-\x9f]"
KNOWN: Final = 10  # names that are told where none matches
_AT = re.compile(r"@(last|[1-9][0-9]{0,17})")  # what islice counts to


def chosen(context: Context, refs: Refs, *, default: str | None = None) -> "Choice":
    """Return the jobs that REFs or selectors mean; unknown ids are left to ask for.

    `default` is the REF where nothing was given. Raises UsageError, NoSuchJobError.
    """
    typed = list(expanded(refs.refs or []))
    selector = refs.selector(context.common, now=context.now)
    if refs.refs:  # also where stdin brought none
        if selector._replace(profile=None).given:
            raise UsageError("give REFs or selectors, not both")
        return _by_refs(context, typed)
    if selector.given:
        jobs = list(context.ledger.select(selector))
        context.report_ledger()
        return Choice(jobs, [], single=False)
    if default is None:
        raise UsageError("no REF given", hint="an id, a name, @last, or a selector")
    return _by_refs(context, [default])


class Choice:
    """Jobs that were found, and ids that only the endpoint may know."""

    __slots__ = ("codes", "foreign", "jobs", "single")

    def __init__(self, jobs: list[Job], foreign: list[str], *, single: bool) -> None:
        """Keep what was chosen; `single`: exactly one REF was given.

        `codes` has an exit code for each of several that could not be adopted.
        """
        self.codes: list[int] = []
        self.jobs = jobs
        self.foreign = foreign
        self.single = single

    async def adopt(self, context: Context) -> list[Job]:
        """Return all jobs, the unknown ids adopted among them; they are held no more.

        Raises what `adopted` raises.
        """
        jobs, self.jobs = self.jobs, []
        return jobs + await self.adopted(context)

    async def adopted(self, context: Context) -> list[Job]:
        """Ask the endpoint for unknown ids, take them into the ledger, return them.

        One that it does not know either is told of, and costs the others nothing; a
        single one raises NoSuchJobError.
        """
        if not self.foreign:
            return []
        found = []
        for id_ in self.foreign:
            try:
                found.append(await adopted(context, id_))
            except LedgerError:
                raise
            except BgrespError as error:
                if self.single:
                    raise
                context.tell_error(error)
                self.codes.append(int(error.code))
        return found

    def known(self) -> list[Job]:
        """Return the jobs; an id that the ledger does not know is an error.

        Raises NoSuchJobError.
        """
        for id_ in self.foreign:
            raise NoSuchJobError(f"no job {id_!r} in the ledger", hint="bgresp list")
        return self.jobs


async def adopted(context: Context, id_: str) -> Job:
    """Ask the endpoint of -p for an id that the ledger does not know, and keep it.

    Raises NoSuchJobError, RefusedError, UnreachableError.
    """
    from bgresp.core.signals import (  # who asks nobody needs none
        Fault,
        FaultKind,
        error_of,
    )
    from bgresp.engine import settle

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
    draft = settle.draft_of(id_, settings)
    async with context.api(settings) as api:
        job = await settle.adopted(api, context.recorder, draft, context.say)
    if not isinstance(job, Fault):
        context.note_endpoint(settings)
        return job
    if job.kind is FaultKind.GONE:
        raise NoSuchJobError(
            f"no job {id_!r}, neither in the ledger nor at {api.endpoint.host}",
            hint=f"{_meant(context, id_)}bgresp list",
            request_id=job.request_id,
        )
    raise error_of(job, f"{id_}: {job.message}", job=draft)


def _meant(context: Context, ref: str) -> str:
    """Say which id or name was probably meant; nothing where none is near."""
    return did_you_mean(ref, context.ledger.words.near("in"))


def require_some(context: Context, jobs: list[Job], refs: Refs) -> bool:
    """Say whether there is anything to do.

    Raises NoSuchJobError for an empty selection unless --allow-empty.
    """
    if not jobs and not refs.allow_empty:
        said, hint = unmatched(context, refs) or ("", "bgresp list")
        raise NoSuchJobError(f"no job matches{said and f': {said}'}", hint=hint)
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

    Raises NoSuchJobError when it is ambiguous, or an @N that is not there, UsageError
    where only @ and something else is said.
    """
    ledger = context.ledger
    at = _AT.fullmatch(ref)
    if at:
        number = 1 if at[1] == "last" else int(at[1])
        job = next(islice(asked_for(ledger.newest()), number - 1, None), None)
        if job is None:
            raise NoSuchJobError(f"there is no {ref}", hint="bgresp list")
        return job
    exact = _exact(context, ref)
    if exact is None and ref.startswith("@"):
        raise UsageError(
            f"not a reference: {ref[:80]!r}",
            hint="@last or @1 is the newest job, @2 the one before",
        )
    if exact or len(ref) < PREFIX:
        return exact
    several = ledger.by_prefix(ref, limit=6)
    if len(several) > 1:
        names = ", ".join(job.ref for job in several[:5])
        more = ", ..." if len(several) > 5 else ""
        raise NoSuchJobError(
            f"{ref!r} is ambiguous: {names}{more}", hint="write more of the id"
        )
    return several[0] if several else None


def asked_for(jobs: Iterable[Job]) -> Iterator[Job]:
    """Yield the jobs that somebody asked for: those of a probe are no one's."""
    return (job for job in jobs if PROBE not in job.extra)


def selected(context: Context, selector: Selector) -> Iterator[Job]:
    """Yield the jobs that selectors mean, those of a probe only by their label."""
    found = context.ledger.select(selector)
    return found if PROBE in selector.labels else asked_for(found)


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


def _exact(context: Context, ref: str) -> Job | None:
    """Return the job that has a REF as its key, its id or its name.

    An id is its endpoint's to choose: one that is another job's key means neither.
    Raises NoSuchJobError then.
    """
    ledger = context.ledger
    ours = ledger.by_key(ref) if may_be_key(ref) else None
    theirs = ledger.by_id(ref)
    if ours is not None and theirs is not None and ours.key != theirs.key:
        raise NoSuchJobError(
            f"{ref!r} is ambiguous: a key here, and the id of {theirs.key}",
            hint="bgresp list --json",
        )
    return ours or theirs or ledger.by_name(ref)


def check_typed(ref: str) -> None:
    """Refuse what cannot be an id that a person typed.

    Raises UsageError.
    """
    if re.search(_NEVER_TYPED, ref) or not ref or len(ref) > 4096:
        raise UsageError(f"not an id: {ref[:80]!r}", hint="bgresp list")


def unmatched(context: Context, which: Refs) -> tuple[str, str] | None:
    """Return what no job has, and which names there are.

    None where all are known, or none is.
    """
    ledger = context.ledger
    for kind, word, selector in _named(context, which):
        if next(ledger.select(selector), None) is not None:
            continue
        known = list(dict.fromkeys(ledger.words.near(kind[0])))
        if kind == "profile":
            known = list(dict.fromkeys([*known, *_configured(context)]))
        if word in known or not known:
            continue
        names = ", ".join(known[:KNOWN]) + (", ..." if len(known) > KNOWN else "")
        return f"no {kind} {word!r}", f"{did_you_mean(word, known)}known: {names}"
    return None


def _named(context: Context, which: Refs) -> Iterator[tuple[str, str, Selector]]:
    """Yield what was asked for by name: the first letter is the index's kind."""
    if which.group is not None:
        yield "group", which.group, Selector(group=which.group)
    for word in which.label or ():
        name, mark, value = word.partition("=")
        yield "label", word, Selector(labels={name: value if mark else None})
    if which.model is not None:
        yield "model", which.model, Selector(model=which.model)
    profile = context.common.profile
    if profile is not None:
        yield "profile", profile, Selector(profile=profile)


def _configured(context: Context) -> list[str]:
    from bgresp.config.files import known_profiles

    try:
        return known_profiles(context.config)
    except ConfigError:
        return []


class Refreshed:
    """Records that hold now; the keys of jobs not heard of, and why as exit codes."""

    __slots__ = ("codes", "jobs", "unheard")

    def __init__(
        self, jobs: list[Job], codes: list[int], unheard: frozenset[str] = frozenset()
    ) -> None:
        """Take what a round of questions came to."""
        self.jobs = jobs
        self.codes = codes
        self.unheard = unheard


def ask_about(context: Context, choice: Choice) -> Refreshed:
    """Ask the endpoints about chosen jobs, and for ids that only they know; now.

    Raises what `refreshed` and `Choice.adopted` raise.
    """
    found: list[Refreshed] = []

    async def ask() -> int:
        news = await refreshed(context, choice.jobs, alone=choice.single)
        jobs = [*news.jobs, *await choice.adopted(context)]
        found.append(Refreshed(jobs, [*news.codes, *choice.codes], news.unheard))
        return 0

    context.run(ask())
    return found[0]


async def refreshed(
    context: Context, jobs: list[Job], *, alone: bool = False
) -> Refreshed:
    """Ask the endpoints once about each job that may have changed.

    What is wrong with the settings of one costs the others nothing. Where a job is
    `alone` that is raised: ConfigError, RefusedError.
    """
    from bgresp.core.signals import FaultKind  # who asks nobody needs none

    worth = [job for job in jobs if _is_worth_asking(context, job)]
    if not worth:  # what speaks HTTP takes long to import
        return Refreshed(jobs, [])

    from bgresp.cli import errors
    from bgresp.engine.polling import JobPoller

    found = {job.key: job for job in jobs}
    troubles = errors.Troubles(context.streams)

    def tell(news: "News") -> None:
        found[news.job.key] = news.job
        if news.fault is not None and news.fault.kind is FaultKind.GONE:
            context.say(f"{news.job.ref}: {news.fault.message}")  # not believed yet
        elif news.fault is not None:
            troubles.unheard(news.job, news.fault)

    def failed(some: list[Job], error: BgrespError) -> None:
        if alone:
            raise error
        troubles.add(some, error)

    for settings, some in context.endpoints.grouped(worth, failed):
        try:
            async with context.api(settings) as api:
                poller = JobPoller(api, context.recorder, tell)
                await poller.all(some)
                if poller.doubt is not None:
                    context.say(poller.doubt)
        except (ConfigError, RefusedError) as error:
            failed(some, error)
    unheard = frozenset(job.key for job in troubles.jobs)
    return Refreshed([found[job.key] for job in jobs], troubles.tell(), unheard)


def _is_worth_asking(context: Context, job: Job) -> bool:
    """Say whether the endpoint may have news: not of what is over and saved."""
    if job.id is None:
        return False
    if job.status in {Status.CANCELLED, Status.LOST} or job.status.is_open:
        return True
    return not context.answers.response_path(job.key).exists()
