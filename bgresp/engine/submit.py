"""Submit one request once: intent on disk, post, outcome on disk.

RELIABILITY.md 1.4 and 1.5 are the source of what may be sent again.
"""

import asyncio
import shlex
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core import schedule, signals, update
from bgresp.core.dialect import Dialect, Streaming
from bgresp.core.endpoint import asking
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    LedgerError,
    RefusedError,
    UnknownOutcomeError,
    UnreachableError,
)
from bgresp.core.model import KEY_DIGEST, WEBHOOK, Job, ResponseError, Status
from bgresp.core.request import Draft, keyed
from bgresp.core.signals import Event, Fault, FaultKind, Signal, Snapshot
from bgresp.core.text import one_line
from bgresp.core.times import brief
from bgresp.engine.endpoints import PacedQueue
from bgresp.engine.recorder import GroupCommit, Recorder
from bgresp.ledger.journal import Later

# A refusal of these may be of one request; any other is of the endpoint.
OF_ONE: Final = frozenset({400, 413, 415, 422})
_EVERY_REFUSAL: Final = frozenset({"", "refused", "invalid_request_error"})


NOT_SENT: Final = "not_sent"  # the code of an error of ours: nothing reached them


class Submitted:
    """What became of a submit; `signals` go on where a stream was asked for.

    `posted` is false where it was accepted before. `interrupted`: a signal asked us to
    leave while the reply was awaited. `rescued`: the ledger could not take the accepted
    job, this says where it is kept instead. `dialect` is that of `signals`.
    """

    __slots__ = (
        *("dialect", "fault", "interrupted", "job", "posted", "rescued", "signals"),
    )

    def __init__(
        self,
        job: Job,
        signals: AsyncGenerator[Signal, None] | None = None,
        *,
        fault: Fault | None = None,
        rescued: str | None = None,
        posted: bool = True,
        dialect: Dialect | None = None,
    ) -> None:
        """Take what became of a job, and what may come of it."""
        self.job = job
        self.signals = signals
        self.fault = fault
        self.interrupted = False
        self.rescued = rescued
        self.posted = posted
        self.dialect = dialect


def failed(job: Job, fault: Fault) -> Job:
    """Return the record of a submit that got no id: not sent, refused, or unknown."""
    if fault.kind in {FaultKind.UNREACHABLE, FaultKind.RATE_LIMITED}:
        status, error = Status.REJECTED, ResponseError(NOT_SENT, fault.message)
    elif fault.kind is FaultKind.REFUSED:
        status = Status.REJECTED
        error = fault.error or ResponseError("refused", fault.message)
    else:
        status, error = Status.UNKNOWN, None
    return job._replace(
        status=status,
        error=error,
        last_error=fault.message,
        request_id=fault.request_id or job.request_id,
    )


def error_of(submitted: Submitted) -> BgrespError:
    """Return the error that says why a submit has no id, or the ledger no record of it.

    Raises ValueError where nothing went wrong.
    """
    fault, job = submitted.fault, submitted.job
    if fault is None:
        if submitted.rescued is None:
            raise ValueError("nothing went wrong")
        hint = "make room, then: bgresp doctor --fix"
        return LedgerError(submitted.rescued, hint=hint)
    rid = fault.request_id
    if job.status is Status.UNKNOWN:
        message = f"{job.key}: {_clause(fault)}; it may have been accepted"
        hint = f"do not submit it again: bgresp resolve {job.key}"
        return UnknownOutcomeError(message, hint=hint, request_id=rid)
    if job.error is not None and job.error.code == NOT_SENT:
        said = f"not sent: {_why_not_sent(submitted, fault)}"
        return signals.error_of(fault, said, job=job)
    message = f"{job.key}: refused: {fault.message}{_code(fault)}"
    error = signals.error_of(fault, message, job=job)
    if isinstance(error, RefusedError):
        profile = f" -p {shlex.quote(job.profile)}" if job.profile else ""
        code = fault.error.code if fault.error else ""
        remedy = _REMEDIES.get(code, "where it went: bgresp config show")
        error.hint = f"{remedy}{profile}"
    return error


def _clause(fault: Fault) -> str:
    """Return what was said without its full stop: the sentence goes on."""
    return fault.message.rstrip(".")


# What is wrong with the request, by the endpoint's own word; else with where it went.
_REMEDIES: Final = {
    "model_not_found": "what it has: bgresp models",
    "context_length_exceeded": "a shorter prompt, or another of: bgresp models",
}


def _why_not_sent(submitted: Submitted, fault: Fault) -> str:
    if fault.retry_after:
        return f"{fault.message}; the endpoint asks to wait {fault.retry_after:g} s"
    host = urlsplit(submitted.job.base_url or "").netloc
    if fault.kind is not FaultKind.UNREACHABLE or submitted.interrupted or not host:
        return fault.message
    return f"could not connect to {host}: {fault.message}"


def _code(fault: Fault) -> str:
    """Return the endpoint's own code, unless it says no more than `refused`."""
    code = fault.error.code if fault.error else ""
    return f" ({one_line(code, limit=64)})" if code not in _EVERY_REFUSAL else ""


HOLD: Final = 3.0  # seconds


async def hold(signals: AsyncGenerator[Signal, None]) -> Event | None:
    """Keep a creating stream until the job runs, or three seconds.

    A stream dropped at its first event has left jobs queued for ever: community
    thread 1382584 (WIRE.md 1.4). Returns the event that ended the job, if one did.
    """
    try:
        async with asyncio.timeout(HOLD), aclosing(signals):
            async for signal in signals:
                if not isinstance(signal, Event) or signal.reading is None:
                    continue
                if signal.reading.status is not Status.QUEUED:
                    return signal if signal.reading.status.is_terminal else None
    except TimeoutError:
        pass
    return None


async def let_go(submitted: Submitted, recorder: Recorder) -> None:
    """Leave a creating stream when its job runs; what ended it meanwhile is saved.

    Raises LedgerError.
    """
    signals, submitted.signals = submitted.signals, None
    if signals is None or submitted.dialect is None:
        return
    last = await hold(signals)
    if last is not None:
        submitted.job = recorder.heard(submitted.job, last, submitted.dialect)


ALIVE: Final = 900.0  # a stream whose events go on is waited for so long


async def first_outcome(
    signals: AsyncGenerator[Signal, None],
    how: Streaming,
    sent: Sent,
    say: Callable[[str], None] = lambda _: None,
) -> Signal:
    """Return the signal that tells the outcome; comments alone never do.

    Where nothing was `sent` in all that time it was unreachable, and is free.

    While events come one is waited for, for a quarter of an hour: numbered keepalives
    came for 301 s before the id (WIRE.md 7). `say` is told of that, once.
    """
    loop = asyncio.get_running_loop()
    began, is_told = loop.time(), False
    last = began + ALIVE
    try:
        async with asyncio.timeout(how.idle_events) as limit:
            async for signal in signals:
                if _is_outcome(signal):
                    return signal
                now = loop.time()
                if not limit.expired():
                    limit.reschedule(min(now + how.idle_events, last))
                if not is_told and now - began >= SLOW:
                    is_told = True
                    say("no id yet, but events come: waiting up to 15 minutes for it")
    except TimeoutError:
        waited = loop.time() - began
        if not sent.started:
            said = f"no connection stood for {waited:.0f} s"
            return Fault(FaultKind.UNREACHABLE, said)
        return Fault(FaultKind.IDLE, f"no id came for {waited:.0f} s")
    return Fault(FaultKind.CLOSED, "the reply ended before an id came")


async def repeat_outcome(
    signals: AsyncGenerator[Signal, None],
) -> AsyncGenerator[Signal, None]:
    """Pass signals on; the one that tells the outcome comes again, to who follows."""
    repeated = False
    async with aclosing(signals) as source:
        async for signal in source:
            yield signal
            if not repeated and _is_outcome(signal):
                repeated = True
                yield signal


def _is_outcome(signal: Signal) -> bool:
    """Say whether a signal tells the outcome; events without an id do not."""
    if isinstance(signal, Fault | Snapshot):
        return True
    return signal.reading is not None and signal.reading.id is not None


ATTEMPTS: Final = 4  # tries to reach the endpoint with one draft
RATE_BUDGET: Final = 120.0  # seconds that an endpoint may make a draft wait
GRACE: Final = 10.0  # seconds for an id after who submits was asked to leave
SLOW: Final = 30.0  # an attempt that fails after that long is the last one


class _Reply(NamedTuple):
    """What a create told first; `signals` go on where it was accepted."""

    first: Signal
    signals: AsyncGenerator[Signal, None] | None = None


def by_chance() -> float:
    """Return a random number from 0 to 1; few submits need one."""
    import random

    return random.random()  # noqa: S311  it spreads attempts


class Submitter:
    """Sends drafts to one endpoint; `say` is told what a person should know.

    `queue` leads to the endpoint's limiter, `patience` is how many seconds the endpoint
    may make one draft wait. `idle` marks waits in which a cancelled task sends nothing.
    With a `group` what drafts write is synced together.
    """

    def __init__(
        self,
        api: Api,
        recorder: Recorder,
        say: Callable[[str], None],
        *,
        jitter: Callable[[], float] = by_chance,
        queue: PacedQueue | None = None,
        patience: float = RATE_BUDGET,
        idle: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Send to an endpoint; no draft is on its way yet."""
        self.api = api
        self.recorder = recorder
        self.say = say
        self.jitter = jitter
        self.queue = queue or PacedQueue()
        self.patience = patience
        self.idle = idle
        self.group: GroupCommit | None = None
        self._on_their_way: list[Sent] = []
        self._told_of_store = False

    @property
    def posting(self) -> int:
        """Count the requests that were sent, and whose outcome is not yet known."""
        return sum(sent.started for sent in self._on_their_way)

    async def submit(
        self, draft: Draft, replied: Callable[[], None] = lambda: None
    ) -> Submitted:
        """Send a draft; the outcome is on disk when this returns.

        `replied` is called before it is, when no connection is needed any more.
        Waits for its turn first: no intent lies about what the endpoint holds up.
        Raises LedgerError before anything was sent when the intent cannot be kept,
        UnreachableError when the endpoint asks for too long a wait, ConfigError where a
        webhook has no secret.
        """
        self._check_hold()
        webhook = self.api.endpoint.webhook
        if webhook is not None:
            webhook.checked()
        with self.idle():
            await self.queue.turn()
        self._tell_of_store(draft.job)
        digest = self.recorder.key_digest(self.api.endpoint)
        extra = {**draft.job.extra, **({KEY_DIGEST: digest} if digest else {})}
        extra |= {WEBHOOK: True} if webhook is not None else {}
        now = draft.job._replace(submitted_at=self.recorder.now(), extra=extra)

        def keep(job: Job) -> None:
            if draft.keep:
                self._save_request(job.key, self._body(draft, job))

        submitting = self.recorder.ledger.submitting
        with submitting(now, keep, later=self._later) as job:
            intent = self._ticket()
            body = asking(self.api.endpoint, self._body(draft, job))
            how = draft.stream
            return await self._until_outcome(job, body, intent, replied, stream=how)

    @property
    def _later(self) -> Later | None:
        return None if self.group is None else self.group.add_line

    def _ticket(self) -> asyncio.Future[None] | None:
        """Return what ends when what was written is on disk; None where it is."""
        return None if self.group is None else self.group.ticket()

    def _save_request(self, key: str, raw: bytes) -> None:
        answers = self.recorder.answers
        if self.group is None:
            answers.save_request(key, raw)
        else:
            self.group.add_file(answers.begin_request(key, raw))

    def _tell_of_store(self, job: Job) -> None:
        """Say once what it means that an endpoint is asked to store nothing."""
        if job.extra.get("store") is not False or self._told_of_store:
            return
        self._told_of_store = True
        kept = self.api.endpoint.dialect.limits.retention_unstored
        most = f"at most {brief(kept)}" if kept else "as long as it likes"
        host = self.api.endpoint.host
        said = f"store: false: {host} keeps an answer {most}, then it is lost"
        self.say(f"{said}: bgresp watch, or get it in time")

    def _check_hold(self) -> None:
        held = self.queue.limiter.held
        if held > self.patience:
            raise UnreachableError(
                f"the endpoint's rate limit is spent: it asks to wait {brief(held)}",
                hint="nothing was sent; try again then",
                retryable=True,
            )

    def _body(self, draft: Draft, job: Job) -> bytes:
        return keyed(draft.body, self.api.endpoint.dialect, job.key)

    async def _until_outcome(
        self,
        job: Job,
        body: bytes,
        intent: asyncio.Future[None] | None,
        replied: Callable[[], None],
        *,
        stream: bool,
    ) -> Submitted:
        sent, interrupted = Sent(), False
        self._on_their_way.append(sent)
        task = asyncio.create_task(self._post(job, body, sent, intent, stream=stream))
        try:
            reply = await asyncio.shield(task)
        except asyncio.CancelledError:
            reply = await self._leave(job, task, sent)
            interrupted = True
        except ConfigError as error:
            self._unsent(job, error)
            raise
        except LedgerError as error:
            # Not synced: after a sync that failed, the intent's, another could lie.
            with suppress(LedgerError):
                self._unsent(job, error, later=lambda _: None)
            raise
        finally:
            self._on_their_way = [s for s in self._on_their_way if s is not sent]
        outcome = self._outcome(job, reply)
        outcome.interrupted = interrupted
        ticket = self._ticket()
        if reply.signals is not None and outcome.signals is None:
            try:
                await reply.signals.aclose()
            except asyncio.CancelledError:  # the id is to be printed all the same
                outcome.interrupted = True
        if outcome.signals is None:
            replied()
        if ticket is not None:
            await self._committed(outcome, ticket)
        return outcome

    def _unsent(self, job: Job, error: BgrespError, later: Later | None = None) -> None:
        """Record that nothing was sent, whatever the intent's line says."""
        fault = Fault(FaultKind.UNREACHABLE, error.message)
        self.recorder.ledger.record(failed(job, fault), later=later)

    async def _committed(
        self, outcome: Submitted, ticket: asyncio.Future[None]
    ) -> None:
        """Wait until an outcome is on disk, though we are asked to leave.

        Raises LedgerError, unless a job was accepted: that is kept elsewhere.
        """
        while not ticket.done():
            try:
                await asyncio.shield(ticket)
            except asyncio.CancelledError:
                outcome.interrupted = True
            except LedgerError:
                break
        try:
            ticket.result()
        except LedgerError as error:
            if outcome.fault is not None:
                raise
            kept, rescued = self.recorder.rescue(outcome.job, error)
            outcome.job, outcome.rescued = kept, rescued

    async def _leave(self, job: Job, task: asyncio.Task[_Reply], sent: Sent) -> _Reply:
        """Wait a little for the id before leaving: the job may be accepted already."""
        if not sent.started:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not sent.started:
                fault = Fault(FaultKind.UNREACHABLE, "interrupted before sending")
                return _Reply(fault)
        self.say(f"waiting up to {GRACE:.0f} s for the id of {job.key}; again to leave")
        try:
            return await asyncio.wait_for(asyncio.shield(task), GRACE)
        except (TimeoutError, asyncio.CancelledError):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled() and task.exception() is None:
                return task.result()  # it came just now
            return _Reply(Fault(FaultKind.AMBIGUOUS, "left before the reply came"))

    async def _post(
        self,
        job: Job,
        body: bytes,
        sent: Sent,
        intent: asyncio.Future[None] | None,
        *,
        stream: bool,
    ) -> _Reply:
        """Post until it is accepted, refused, or may have been accepted.

        Nothing of it leaves before the intent is on disk. Raises LedgerError.
        """
        if intent is not None:
            await asyncio.shield(intent)
        waited, attempt = 0.0, 0
        while True:
            while self.queue.limiter.held:  # another draft was told to wait meanwhile
                with self.idle():
                    await self.queue.turn()
            sent.started = False
            began = asyncio.get_running_loop().time()
            create = self.api.create(body, key=job.key, stream=stream, sent=sent)
            signals = repeat_outcome(create)
            how = self.api.endpoint.dialect.streaming
            first = await first_outcome(signals, how, sent, self.say)
            if not isinstance(first, Event) and first.retry_after is not None:
                self.queue.limiter.hold(first.retry_after)
            if not isinstance(first, Fault):
                return _Reply(first, signals)
            await signals.aclose()
            took = asyncio.get_running_loop().time() - began
            wait = self._again(first, attempt, waited)
            if wait is None or (first.kind is FaultKind.UNREACHABLE and took > SLOW):
                return _Reply(first)
            self.say(f"{first.message}; trying again in {wait:.1f} s")
            sent.started = False
            with self.idle():
                if first.kind is FaultKind.RATE_LIMITED:
                    self.queue.limiter.hold(wait)
                else:
                    await asyncio.sleep(wait)
                await self.queue.turn()
            attempt, waited = attempt + 1, waited + wait

    def _again(self, fault: Fault, attempt: int, waited: float) -> float | None:
        """Return the seconds to wait before posting again; None: never again."""
        if fault.kind is FaultKind.UNREACHABLE:
            if attempt + 1 >= ATTEMPTS or fault.setup is not None:
                return None
            return schedule.backoff(attempt, self.jitter())
        if fault.kind is not FaultKind.RATE_LIMITED:
            return None
        # An endpoint that asks for 0 s each time must not set the pace.
        own = schedule.backoff(attempt + 1, self.jitter())
        asked = fault.retry_after or 0.0
        wait = max(own, schedule.spread(asked, self.jitter()))
        least = max(own, asked)
        if waited + least > self.patience:
            return None
        return min(wait, max(least, self.patience - waited))

    def _outcome(self, job: Job, reply: _Reply) -> Submitted:
        first = reply.first
        now = self.recorder.now()
        limits = self.api.endpoint.dialect.limits
        if isinstance(first, Fault):
            return Submitted(
                self.recorder.ledger.record(failed(job, first), later=self._later),
                fault=first,
            )
        reading = first.reading
        if reading is None or reading.id is None:
            fault = Fault(FaultKind.AMBIGUOUS, "accepted, but the reply has no id")
            return Submitted(
                self.recorder.ledger.record(failed(job, fault), later=self._later),
                fault=fault,
            )
        taken = update.accepted(job, reading, now=now, limits=limits)
        running = taken
        if taken.status.is_terminal:
            running = taken._replace(status=Status.IN_PROGRESS)
        recorded, rescued = self.recorder.keep_accepted(running, self._later)
        if rescued is not None:
            return Submitted(recorded, rescued=rescued)
        self._tell_of_background(taken, reading.background)
        if taken.status.is_terminal:
            dialect = self.api.endpoint.dialect
            return Submitted(self.recorder.heard(recorded, first, dialect), None)
        signals = reply.signals if isinstance(first, Event) else None
        return Submitted(recorded, signals, dialect=self.api.endpoint.dialect)

    def _tell_of_background(self, job: Job, echo: bool | None) -> None:
        """Say that an endpoint does not run jobs in the background."""
        host = self.api.endpoint.host
        if job.status.has_answer:
            said = "was answered at once: nothing runs in the background at"
            self.say(f"{job.ref} {said} {host}")
        elif echo is False:
            said = "does not run in the background, it may end with this command:"
            self.say(f"{job.ref} {said} {host}")
