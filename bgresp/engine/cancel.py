"""Cancel a job and find out what became of it; drop jobs, at their endpoints too.

The reply to a cancel is advice (WIRE.md 1.6): whatever it says, ask afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from bgresp.core import update
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    NotFinishedError,
    RefusedError,
    UnknownOutcomeError,
    worst,
)
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind, Snapshot, exit_code
from bgresp.engine.recorder import Recorder

if TYPE_CHECKING:
    # What drops jobs here alone need not import what speaks HTTP.
    from bgresp.api.client import Api
    from bgresp.api.transport import Sent
    from bgresp.engine.endpoints import Endpoints

CONFIRM: Final = 10.0  # seconds in which a cancel is to be confirmed
ATTEMPTS: Final = 3  # cancels that are sent where exchanges break
PACE: Final = (0.2, 0.5, 1.0)
_CANNOT: Final = frozenset({405, 501})


@dataclass(frozen=True, slots=True)
class CancelResult:
    """What a cancel came to: the job as it is now, an exit code, a word on it.

    `fault` is why the endpoint could not be asked.
    """

    job: Job
    code: ExitCode
    message: str = ""
    fault: Fault | None = None


async def cancelled(api: "Api", recorder: Recorder, job: Job) -> CancelResult:
    """Cancel an open job, then ask until it ended or ten seconds passed.

    Where cancel is a DELETE, the job is asked for first: a finished answer is never
    deleted. That a cancel was asked for is on disk before its first byte leaves, and
    only then: one that reached nobody was never asked for.
    """
    from bgresp.api.transport import Sent  # what drops jobs does without

    op = api.endpoint.dialect.ops.get("cancel")
    if op is None or op.method == "DELETE":
        job, verdict = await _state_of(api, recorder, job)
        if verdict is not None:
            return verdict
    if op is None:
        name = api.endpoint.dialect.name
        message = f"goes on: {name} has no way to cancel a job"
        return CancelResult(job, ExitCode.REFUSED, message)

    def note() -> None:
        recorder.ledger.record(job._replace(cancel_requested_at=recorder.now()))

    reply = await _asked_to_cancel(api, job, Sent(leaving=note))
    job = recorder.ledger.by_key(job.key) or job
    verdict = _hopeless(job, reply) or await _confirmed(api, recorder, job, reply)
    advisory = api.endpoint.dialect.limits.advisory_cancel
    if verdict.job.status is Status.CANCELLED and not verdict.message and advisory:
        name = api.endpoint.dialect.name
        message = f"is cancelled, though a job of {name} may complete all the same"
        return replace(verdict, message=message)
    return verdict


async def _state_of(
    api: "Api", recorder: Recorder, job: Job
) -> tuple[Job, CancelResult | None]:
    news = await _within(CONFIRM, api.retrieve(str(job.id), job.include))
    news = _judged(api, recorder, job, news)
    if isinstance(news, Fault):
        message = f"was not cancelled: {news.message}"
        unsure = CancelResult(job, ExitCode.NOT_FINISHED, message)
        redirected = _not_heard(job, news) if news.is_redirect else None
        return job, _hopeless(job, news) or redirected or unsure
    job = recorder.heard(job, news, api.endpoint.dialect)
    return job, _over(job) if job.status.is_terminal else None


async def _asked_to_cancel(api: "Api", job: Job, sent: "Sent") -> Snapshot | Fault:
    """Send the cancel; it is idempotent, so a broken exchange may be repeated."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CONFIRM
    for wait in PACE[: ATTEMPTS - 1]:
        reply = await _within(deadline - loop.time(), api.cancel(str(job.id), sent))
        broken = isinstance(reply, Fault) and reply.http_status is None
        if not broken or loop.time() + wait >= deadline:
            return reply
        api.waits(wait, job.ref)
        await asyncio.sleep(wait)
    return await _within(deadline - loop.time(), api.cancel(str(job.id), sent))


async def _within(
    seconds: float, asking: Awaitable[Snapshot | Fault]
) -> Snapshot | Fault:
    """Wait for an answer so long at most, however patient the connection is."""
    try:
        async with asyncio.timeout(seconds):
            return await asking
    except TimeoutError:
        return Fault(FaultKind.IDLE, "no reply came")


def _judged(
    api: "Api", recorder: Recorder, job: Job, reply: Snapshot | Fault
) -> Snapshot | Fault:
    """Return a reply; a 404 under another key than the job's says that it is one.

    Not where it may say that a cancel, which is a DELETE, did its work.
    """
    op = api.endpoint.dialect.ops.get("cancel")
    took = op is not None and op.method == "DELETE" and bool(job.cancel_requested_at)
    if isinstance(reply, Fault) and reply.kind is FaultKind.GONE and not took:
        return recorder.another_key(job, api.endpoint, reply) or reply
    return reply


def _hopeless(job: Job, reply: Snapshot | Fault) -> CancelResult | None:
    if not isinstance(reply, Fault):
        return None
    unreached = reply.kind is FaultKind.UNREACHABLE and reply.http_status is None
    if unreached or (reply.is_for_user and not reply.is_redirect):
        return _not_heard(job, reply)
    return None  # a redirect may come after the work: 303


def _not_heard(job: Job, fault: Fault) -> CancelResult:
    message = f"was not cancelled: {fault.message}"
    return CancelResult(job, exit_code(fault), message, fault)


async def _confirmed(
    api: "Api", recorder: Recorder, job: Job, reply: Snapshot | Fault
) -> CancelResult:
    loop = asyncio.get_running_loop()
    deadline, pace = loop.time() + CONFIRM, iter(PACE)
    message = ""
    while True:
        news = await _within(
            deadline - loop.time(), api.retrieve(str(job.id), job.include)
        )
        if isinstance(reply, Fault) and reply.kind is FaultKind.GONE:
            news = _judged(api, recorder, job, news)
        if not isinstance(news, Fault):
            job, message = recorder.heard(job, news, api.endpoint.dialect), ""
            if job.status.is_terminal:
                return _over(job)
            if isinstance(reply, Fault) and reply.http_status in _CANNOT:
                return _cannot(job, reply)
        elif news.is_for_user:
            return _not_heard(job, news)
        else:
            message = news.message
        wait = next(pace, PACE[-1])
        last = loop.time() + wait > deadline
        if _took_it_away(api, reply, news, last=last):
            return _taken_away(api, recorder, job, reply)
        if last:
            break
        api.waits(wait, job.ref)
        await asyncio.sleep(wait)
    return _not_confirmed(job, reply, message)


def _not_confirmed(job: Job, reply: Snapshot | Fault, message: str) -> CancelResult:
    """Return what is left to say; `message` is why the job could not be asked about."""
    if isinstance(reply, Fault) and not message:
        if reply.is_redirect:
            return _not_heard(job, reply)
        if reply.kind is FaultKind.GONE:
            return _cannot(job, reply)  # the job is there: it is the route that is not
    why = reply.message if isinstance(reply, Fault) else message
    detail = f" ({why})" if why else ""
    text = f"is {job.status.value}: not confirmed within {CONFIRM:.0f} s{detail}"
    return CancelResult(job, ExitCode.NOT_FINISHED, text)


def _cannot(job: Job, reply: Fault) -> CancelResult:
    message = f"goes on: the endpoint cannot cancel ({reply.message})"
    return CancelResult(job, ExitCode.REFUSED, message)


def _took_it_away(
    api: "Api", reply: Snapshot | Fault, news: Snapshot | Fault, *, last: bool
) -> bool:
    """Say whether a job that was open is gone because it was cancelled.

    Where cancel is a DELETE a 404 says so; else only a reply that called it cancelled,
    and only if the 404 stays.
    """
    if not (isinstance(news, Fault) and news.kind is FaultKind.GONE):
        return False
    if api.endpoint.dialect.ops["cancel"].method == "DELETE":
        return _is_done(reply)
    said_so = isinstance(reply, Snapshot) and reply.reading.status is Status.CANCELLED
    return last and said_so


def _is_done(reply: Snapshot | Fault) -> bool:
    """Say whether a DELETE did its work; sent a second time it finds nothing."""
    if isinstance(reply, Snapshot) or reply.kind is FaultKind.GONE:
        return True
    return (reply.http_status or 0) // 100 == 2


def _taken_away(
    api: "Api", recorder: Recorder, job: Job, reply: Snapshot | Fault
) -> CancelResult:
    if isinstance(reply, Snapshot) and reply.reading.status is Status.CANCELLED:
        job = recorder.heard(job, reply, api.endpoint.dialect)
    else:
        job = recorder.ledger.record(update.deleted(job, now=recorder.now()))
    message = "is cancelled: the endpoint no longer has it"
    return CancelResult(job, ExitCode.OK, message)


def _over(job: Job) -> CancelResult:
    if job.status is Status.CANCELLED:
        return CancelResult(job, ExitCode.OK)
    return CancelResult(
        job, ExitCode.OK, f"ended before the cancel: {job.status.value}"
    )


def drop_refusal(recorder: Recorder, job: Job) -> BgrespError | None:
    """Return why a job is dropped only with --force; None where it may be."""
    if job.status.is_open:
        what = f"{job.ref} is {job.status.value}: its answer would be lost"
        return NotFinishedError(what, hint="--force drops it all the same")
    unsure = job.status is Status.UNKNOWN or recorder.ledger.is_dead(job)
    if unsure:
        what = f"{job.ref} may have been accepted: nothing would tell of it any more"
        hint = f"bgresp resolve {job.key}, or --force"
        return UnknownOutcomeError(what, hint=hint)
    if job.status is Status.SUBMITTING:
        return NotFinishedError(f"{job.ref} is being submitted")
    return None


@dataclass(slots=True)
class Dropping:
    """Drops jobs, and keeps which were `dropped`.

    `say` is told of what an endpoint would not delete; `failed` of jobs whose endpoint
    could not be asked, and returns the exit code of that.
    """

    recorder: Recorder
    say: Callable[[str], None]
    failed: Callable[[list[Job], BgrespError], int]
    dropped: list[Job] = field(default_factory=list)
    _codes: list[int] = field(default_factory=list)

    def here(self, jobs: list[Job]) -> int:
        """Drop jobs and their files; return the exit code.

        The files go first: while a line is left, the same again finishes it. And once
        more behind the line: a process that follows the job may have saved its answer
        in between. Raises LedgerError.
        """
        for job in jobs:
            self.recorder.answers.forget(job.key)
            self.recorder.ledger.forget(job)
            self.recorder.answers.forget(job.key)
            self.dropped.append(job)
        return 0

    async def everywhere(self, endpoints: "Endpoints", jobs: list[Job]) -> int:
        """Drop jobs at their endpoints, then here; return the worst exit code.

        One that its endpoint would not delete stays. Raises LedgerError.
        """
        self.here([job for job in jobs if job.id is None])
        known = [job for job in jobs if job.id is not None]
        for settings, some in endpoints.grouped(known, self._failed):
            try:
                async with endpoints.open(settings) as api:
                    await self._at(api, some)
            except (ConfigError, RefusedError) as error:
                self._failed(some, error)
        return int(worst(self._codes))

    async def _at(self, api: "Api", jobs: list[Job]) -> None:
        """Drop jobs at their endpoint, then here.

        Raises RefusedError where it cannot.
        """
        if not api.can("delete"):
            name = api.endpoint.dialect.name
            message = f"a {name} endpoint cannot delete a response"
            raise RefusedError(message, hint="without --remote they are dropped here")
        for job in jobs:
            fault = await api.delete(str(job.id))
            if fault is not None and fault.kind is FaultKind.GONE:
                # Under another key than the job's it may be there all the same.
                fault = self.recorder.another_key(job, api.endpoint, fault)
            if fault is None:
                self.here([job])
            else:
                self.say(f"{job.ref} was not deleted: {fault.message}")
                self._codes.append(int(exit_code(fault)))

    def _failed(self, jobs: list[Job], error: BgrespError) -> None:
        self._codes.append(self.failed(jobs, error))
