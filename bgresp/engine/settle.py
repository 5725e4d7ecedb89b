"""Settle submissions without a known outcome; twice or at once, the end is the same.

A submission is settled only while its in-flight lock is held, and is looked at again
under it. A second POST leaves only where the endpoint tells duplicates apart, or where
a person said so.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from typing import Final, NamedTuple

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.config.settings import Settings
from bgresp.core import update
from bgresp.core.dialect import Dialect, Limits
from bgresp.core.endpoint import asking
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    LedgerError,
    NoSuchJobError,
    NotFinishedError,
    RefusedError,
    UsageError,
)
from bgresp.core.model import WEBHOOK, Job, ResponseError, Status
from bgresp.core.signals import Event, Fault, FaultKind, Snapshot, exit_code
from bgresp.engine.endpoints import Endpoints
from bgresp.engine.recorder import Recorder
from bgresp.engine.submit import hold
from bgresp.ledger import files
from bgresp.ledger.line import is_key

ABANDONED: Final = "abandoned"
# A list that does not show a job so long after its submit never will.
SHOWN_WITHIN: Final = 3600.0


def can_settle(dialect: Dialect) -> bool:
    """Say whether an endpoint can tell what became of a submission."""
    return "list" in dialect.ops or dialect.limits.idempotency == "replay"


def candidates(recorder: Recorder) -> list[Job]:
    """Return the submissions that may be settled: no live process works on them.

    One that was looked for in vain is left out; `resolve` looks again.
    """
    ledger = recorder.ledger
    return [
        job
        for job in ledger.unsettled()
        if ledger.is_dead(job)
        or (job.status is Status.UNKNOWN and not is_absent(job, job.checked_at))
    ]


@contextmanager
def holding(recorder: Recorder, job: Job, *, wait: float = 0.0) -> Iterator[Job]:
    """Hold a submission's lock, and yield its record as it stands now.

    Raises NotFinishedError while another process submits or settles it, NoSuchJobError
    when it was forgotten meanwhile.
    """
    recorder.ledger.prepare()
    folder = recorder.ledger.state / "inflight"
    path = files.inflight_path(folder, key=job.key, submit_key=job.submit_key)
    with files.inflight(path, wait=wait):
        now = recorder.ledger.by_key(job.key)
        if now is None:
            raise NoSuchJobError(f"{job.key} was forgotten meanwhile")
        yield now


def abandoned(recorder: Recorder, job: Job) -> Job:
    """Record that a person gave a submission up; the caller holds its lock."""
    error = ResponseError(ABANDONED, "given up by bgresp resolve --abandon")
    return recorder.ledger.record(job._replace(status=Status.REJECTED, error=error))


def is_absent(job: Job, looked_at: float | None) -> bool:
    """Say whether a look at that time, in vain, was late enough to be believed."""
    if looked_at is None or job.submitted_at is None:
        return False
    return looked_at - job.submitted_at > SHOWN_WITHIN


AT_ONCE: Final = 50  # submissions whose locks are held together
# Idempotency keys are kept for a day or more (Stripe: 24 h); later it is a new job.
KEYS_KEPT: Final = 12 * 3600.0


class Settling:
    """Settles submissions of one endpoint; without `api` nobody is asked.

    `say` is told what became of each, `faults` has what went wrong in asking.
    """

    __slots__ = ("api", "faults", "recorder", "say")

    def __init__(
        self, api: Api | None, recorder: Recorder, say: Callable[[str], None]
    ) -> None:
        """Settle at an endpoint, or as far as can be said without one."""
        self.api = api
        self.recorder = recorder
        self.say = say
        self.faults: list[Fault] = []

    async def settle(self, jobs: Iterable[Job]) -> list[Job]:
        """Settle what no other process holds; return those records as they are now.

        Raises LedgerError.
        """
        waiting, done = list(jobs), list[Job]()
        while waiting:
            some, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            with ExitStack() as stack:
                mine: list[Job] = []
                for job in some:
                    try:
                        mine.append(stack.enter_context(holding(self.recorder, job)))
                    except (NotFinishedError, NoSuchJobError):
                        continue
                done += await self.settle_held(mine)
        return done

    async def settle_held(self, jobs: Iterable[Job]) -> list[Job]:
        """Settle submissions whose locks the caller holds."""
        found = {job.key: self._noted(job) for job in jobs}
        if self.api is None:
            return list(found.values())
        left = {key: job for key, job in found.items() if job.status.is_unsettled}
        if left and self.api.can("list"):
            from bgresp.engine.polling import find_by_metadata

            tagged = await find_by_metadata(self.api, left)
            if tagged.fault is not None:
                self._failed(tagged.fault)
            for key, id_ in tagged.ids.items():
                found[key] = await self._adopted(left.pop(key), id_)
            if tagged.fault is None:
                self._looked_for(left.values())
        limits = self.api.endpoint.dialect.limits
        for job in left.values():
            if _may_replay(job, limits, self.recorder.now()):
                found[job.key] = await self._replayed(job)
        return list(found.values())

    async def adopt(self, job: Job, id_: str) -> Job | Fault:
        """Ask for an id and record it as what a submission made; its lock is held.

        Raises UsageError when the id is another job's, NotFinishedError when another
        process adopts it, LedgerError.
        """
        assert self.api is not None
        with self.recorder.ledger.claim(f"id:{id_}"):
            owner = self.recorder.ledger.by_id(id_)
            if owner is not None and _is_another(owner, job):
                raise UsageError(
                    f"{id_} is the job {owner.key} already",
                    hint=f"bgresp status {owner.key}",
                )
            answer = await self.api.retrieve(id_, job.include)
            if isinstance(answer, Fault):
                return answer
            if answer.reading.key not in {None, job.key}:
                raise UsageError(
                    f"{id_} was made by the submit {answer.reading.key}",
                    hint=f"bgresp import {shlex.quote(id_)}",
                )
            return self.accepted(job, id_, answer)

    async def resend(self, job: Job) -> Job | Fault:
        """Post the stored request once more under its own key; its lock is held.

        Whatever goes wrong, the first POST may have been accepted: the job stays
        `unknown`. Raises NoSuchJobError when the request was not kept, LedgerError.
        """
        assert self.api is not None
        body = self.recorder.answers.request(job.key)
        if body is None:
            raise NoSuchJobError(
                f"the request of {job.ref} was not kept",
                hint=f"bgresp resolve {job.key} --adopt ID, or --abandon",
            )
        job, stream = self._noted(job), bool(job.streamable)
        fault = Fault(FaultKind.CLOSED, "the reply ended before an id came")
        if job.extra.get(WEBHOOK):
            body = self._asking(job, body)
        create = self.api.create(body, key=job.key, stream=stream, sent=Sent())
        async with aclosing(create) as signals:
            async for signal in signals:
                if isinstance(signal, Fault):
                    fault = signal
                    break
                if signal.reading is not None and signal.reading.id is not None:
                    taken = self.accepted(job, signal.reading.id, signal)
                    last = await hold(signals)
                    if last is None:
                        return taken
                    return self.recorder.heard(taken, last, self.api.endpoint.dialect)
        self.recorder.unheard(job, fault)
        return fault

    def _asking(self, job: Job, body: bytes) -> bytes:
        """Ask for the webhook again, where the job's profile still has it."""
        assert self.api is not None
        try:
            if self.api.endpoint.webhook is not None:
                return asking(self.api.endpoint, body)
            why = "its profile has none"
        except ConfigError as error:
            why = error.message
        self.say(f"{job.key} is sent again without its webhook: {why}")
        return body

    def accepted(self, job: Job, id_: str, news: Snapshot | Event) -> Job:
        """Record what a submission made: the id first, then what is known of the job.

        Raises LedgerError; it names the id.
        """
        assert self.api is not None
        assert news.reading is not None
        dialect = self.api.endpoint.dialect
        reading = news.reading._replace(id=id_)
        now, limits = self.recorder.now(), dialect.limits
        taken = update.accepted(job, reading, now=now, limits=limits)
        ended = taken.status.is_terminal
        open_ = taken._replace(status=Status.IN_PROGRESS) if ended else taken
        recorded, rescued = self.recorder.keep_accepted(open_)
        if rescued is not None:
            raise LedgerError(f"{job.key} is {id_}, but {rescued}")
        return self.recorder.heard(recorded, news, dialect) if ended else recorded

    def _noted(self, job: Job) -> Job:
        """Record that a submission died: nobody is at work on it any more."""
        if job.status is not Status.SUBMITTING:
            return job
        self.say(f"the submit {job.key} died: it may have been accepted")
        said = "the submit died before a reply came"
        return self.recorder.ledger.record(
            job._replace(status=Status.UNKNOWN, last_error=job.last_error or said)
        )

    def _looked_for(self, jobs: Iterable[Job]) -> None:
        """Note that a look in vain was the last one worth it."""
        now = self.recorder.now()
        for job in jobs:
            if is_absent(job, now) and not is_absent(job, job.checked_at):
                self.recorder.ledger.record(job._replace(checked_at=now))

    async def _adopted(self, job: Job, id_: str) -> Job:
        try:
            news = await self.adopt(job, id_)
        except (UsageError, NotFinishedError) as error:
            self.say(f"{job.key}: {error.message}: bgresp resolve {job.key} --abandon")
            return job
        return self._settled(job, news)

    async def _replayed(self, job: Job) -> Job:
        try:
            news = await self.resend(job)
        except NoSuchJobError as error:
            self.say(f"{error.message}: bgresp resolve {job.key}")
            return job
        return self._settled(job, news)

    def _settled(self, job: Job, news: Job | Fault) -> Job:
        if isinstance(news, Fault):
            self._failed(news)
            return job
        self.say(f"the submit {job.key} was accepted: it is {news.id}")
        return news

    def _failed(self, fault: Fault) -> None:
        assert self.api is not None
        self.faults.append(fault)
        self.say(f"{self.api.endpoint.host} does not tell: {fault.message}")


def draft_of(id_: str, settings: Settings) -> Job:
    """Return the draft of a job that the ledger does not know: its id, its endpoint."""
    return Job(
        key="",
        status=Status.IN_PROGRESS,
        id=id_,
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        extra=settings.kept,
    )


async def adopted(
    api: Api, recorder: Recorder, draft: Job, say: Callable[[str], None]
) -> Job | Fault:
    """Ask the endpoint for an id that the ledger does not know, and keep it.

    What a lost submit of ours made is recorded as that. Raises NotFinishedError where
    that submit is still at work, LedgerError.
    """
    id_ = str(draft.id)
    answer = await api.retrieve(id_)
    if isinstance(answer, Fault):
        return answer
    lost = _unsettled(recorder, answer.reading.key)
    if lost is not None:
        answer = await whole(api, lost, id_, answer)
    ours = claimed(api, recorder, id_, answer, say)
    if ours is not None:
        return ours
    job = recorder.ledger.adopt(draft)
    return recorder.heard(job, answer, api.endpoint.dialect)


def claimed(
    api: Api,
    recorder: Recorder,
    id_: str,
    answer: Snapshot,
    say: Callable[[str], None],
) -> Job | None:
    """Record an answer as what a lost submit of ours made; None where none did.

    Raises NotFinishedError where that submit is still at work, LedgerError.
    """
    lost = _unsettled(recorder, answer.reading.key)
    if lost is not None:
        with holding(recorder, lost) as job:
            if job.status.is_unsettled:
                return Settling(api, recorder, say).accepted(job, id_, answer)
    return None


async def whole(api: Api, lost: Job, id_: str, answer: Snapshot) -> Snapshot:
    """Return an answer with what its submit asked to be included, as far as it is told.

    Who asked first did not know yet whose answer it is.
    """
    asked = api.endpoint.dialect.include.again(lost.include)
    if not asked or not answer.reading.status.is_terminal:
        return answer
    again = await api.retrieve(id_, lost.include)
    return answer if isinstance(again, Fault) else again


def _unsettled(recorder: Recorder, key: str | None) -> Job | None:
    """Return the submit without a known outcome that a key names."""
    lost = recorder.ledger.by_key(key) if key is not None and is_key(key) else None
    return lost if lost is not None and lost.status.is_unsettled else None


def _is_another(owner: Job, job: Job) -> bool:
    """Say whether an id is taken: two endpoints may give the same one."""
    here = owner.base_url in {None, job.base_url}
    return here and owner.key != job.key


def _may_replay(job: Job, limits: Limits, now: float) -> bool:
    """Say whether the endpoint surely still knows a key, whatever the clock did."""
    if limits.idempotency != "replay" or job.submitted_at is None:
        return False
    kept = min(KEYS_KEPT, limits.retention_stored or KEYS_KEPT)
    return abs(now - job.submitted_at) < kept


class Settled(NamedTuple):
    """What became of submissions, and an exit code for each thing that went wrong."""

    jobs: list[Job]
    codes: list[int]


async def settle_all(
    endpoints: Endpoints,
    recorder: Recorder,
    *,
    say: Callable[[str], None],
    failed: Callable[[BgrespError], None],
    at: Settings | None = None,
) -> Settled:
    """Settle the submissions that may be, each at its own endpoint.

    With `at` only that endpoint is asked: another one must not hold up a submit. Where
    nobody is asked a dead submission becomes `unknown`. `failed` is told why an
    endpoint could not be opened. Raises LedgerError.
    """
    found = Settled([], [])
    unasked: list[Job] = []

    def unconfigured(jobs: list[Job], _: ConfigError) -> None:
        unasked.extend(jobs)

    for settings, jobs in endpoints.grouped(candidates(recorder), unconfigured):
        elsewhere = at is not None and settings.identity != at.identity
        if elsewhere or not can_settle(settings.dialect):
            unasked += jobs
            continue
        try:
            async with endpoints.open(settings) as api:
                settling = Settling(api, recorder, say)
                found.jobs.extend(await settling.settle(jobs))
                found.codes.extend([int(exit_code(fault)) for fault in settling.faults])
        except (ConfigError, RefusedError) as error:
            failed(error)
            found.codes.append(int(error.code))
    found.jobs.extend(await Settling(None, recorder, say).settle(unasked))
    return found
