"""What one execution of a task does, without a worker asleep.

Submit once: claim the intent, post, record; what may be sent again is decided as in
engine.submit: RELIABILITY.md 1.4 and 1.5. Or ask once about the task's job: what the
answer means core.machine says.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.celery.arguments import Ready, endpoint_of, place_of, settings_of
from bgresp.celery.intents import Intent, Intents, another_request
from bgresp.config.settings import Settings
from bgresp.core import machine, schedule, update
from bgresp.core.endpoint import Endpoint, asking
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    NotFinishedError,
    UnknownOutcomeError,
    UsageError,
)
from bgresp.core.machine import Done, Follow, Policy, State, Wait
from bgresp.core.model import INCLUDE, SCHEMA, Job, Status
from bgresp.core.signals import Fault, FaultKind, Signal, Snapshot, error_of
from bgresp.engine import polling, submit
from bgresp.engine.submit import Submitted, failed, first_outcome

PATIENCE: Final = 86_400.0  # seconds for which a task is sent again
SLACK: Final = 5.0  # seconds that clocks may differ by
LOOKED_WITHIN: Final = 60.0  # seconds for a look through the list
_INSIST: Final = 6  # times that the broker is asked to take an outcome
_log: Final = logging.getLogger("bgresp.celery")
Record = dict[str, Any]
ASKED_WITHIN: Final = 60.0  # seconds for one question about a job
LOOK: Final = (2.0, 15.0)  # seconds between two looks for a delivery
LOOKS: Final = 3  # questions about a job that a delivery named, and that is open
_COUNTED: Final = ("faults", "gone", "gone_since", "unreadable")


class LaterError(Exception):
    """Nothing can be done now; the task is to be tried again in so many seconds."""

    def __init__(self, seconds: float, why: str) -> None:
        """Say when, and why."""
        super().__init__(why)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Submitting:
    """One execution of a task's submit.

    `within` bounds a POST, in seconds; an intent without an outcome that is older
    belongs to an execution that died. `tries` counts the executions before this one,
    `jitter` is a number in [0, 1).
    """

    intents: Intents
    wanted: Intent
    ready: Ready
    within: float
    tries: int
    jitter: float
    clock: Callable[[], float] = time.time

    def run(self) -> Job:
        """Return the accepted job.

        Raises LaterError where the task is to be tried again, UnknownOutcomeError where
        it must not be, UsageError, ConfigError, RefusedError, UnreachableError.
        """
        self.intents.check()
        endpoint = endpoint_of(self.ready.settings)
        if endpoint.webhook is not None:
            endpoint.webhook.checked()
        held = self.intents.held(place_of(self.ready.settings))
        found = self.intents.find(self.wanted.task)
        if held and (found is None or found.may_be_claimed):
            raise LaterError(schedule.spread(held, self.jitter), "it asked to wait")
        found = self.intents.claim(self.wanted)
        if found.asked != self.wanted.asked:
            raise another_request(found.task)
        if found.owner == self.wanted.owner:
            return self._post(found, endpoint)
        return self._go_on(found, endpoint)

    def _go_on(self, found: Intent, endpoint: Endpoint) -> Job:
        """Go on from what an earlier execution did; never with a second POST."""
        if found.job.status is Status.SUBMITTING:
            left = found.at + self.within + SLACK - self.intents.now()
            if left > 0:
                raise LaterError(left, "another execution may be at work")
            found = self.intents.record(
                found, asyncio.run(self._find_in_list(found, endpoint))
            )
        if found.job.id is not None:
            return found.job
        if found.job.status is Status.UNKNOWN:
            raise unknown(found)
        raise LaterError(1.0, "another execution is at work")

    def _post(self, mine: Intent, endpoint: Endpoint) -> Job:
        sent = Sent()
        try:
            first = asyncio.run(self._answer(endpoint, sent))
        except Exception as error:
            # Not of the wire: a bad proxy, a time limit of Celery.
            kind = FaultKind.AMBIGUOUS if sent.started else FaultKind.UNREACHABLE
            said = f"stopped by {type(error).__name__}"
            if isinstance(error, BgrespError):
                said = error.message
            mine = self._record_outcome(mine, failed(mine.job, Fault(kind, said)))
            if sent.started:
                raise unknown(mine) from None
            raise
        reading = None if isinstance(first, Fault) else first.reading
        if reading is not None and reading.id is not None:
            limits, now = endpoint.dialect.limits, self.clock()
            taken = update.accepted(mine.job, reading, now=now, limits=limits)
            kept = self._record_outcome(mine, taken).job
            return taken if kept.id is None else kept
        no_id = Fault(FaultKind.AMBIGUOUS, "accepted, but the reply has no id")
        return self._failed(mine, first if isinstance(first, Fault) else no_id)

    async def _answer(self, endpoint: Endpoint, sent: Sent) -> Signal:
        api, key = Api(endpoint), self.ready.job.key
        try:
            async with asyncio.timeout(self.within):
                body = asking(endpoint, self.ready.body)
                create = api.create(body, key=key, stream=False, sent=sent)
                async with aclosing(create) as signals:
                    how = endpoint.dialect.streaming
                    return await first_outcome(signals, how, sent)
        except TimeoutError:
            kind = FaultKind.AMBIGUOUS if sent.started else FaultKind.UNREACHABLE
            return Fault(kind, f"no reply came in {self.within:g} s")

    def _failed(self, mine: Intent, fault: Fault) -> Job:
        """Record a failure; then say whether it may be sent again."""
        mine = self._record_outcome(mine, failed(mine.job, fault))
        asked = fault.retry_after or 0.0
        if fault.kind is FaultKind.RATE_LIMITED and asked:
            self.intents.hold(place_of(self.ready.settings), asked)
        if mine.job.status is Status.UNKNOWN:
            raise unknown(mine)
        own = schedule.backoff(self.tries + 1, self.jitter)
        wait = max(own, schedule.spread(asked, self.jitter))
        passed = self.intents.now() - mine.since
        if _may_be_sent_again(fault) and passed + wait <= PATIENCE:
            raise LaterError(wait, fault.message)
        raise submit.error_of(Submitted(mine.job, fault=fault))

    def _record_outcome(self, mine: Intent, job: Job) -> Intent:
        """Record an outcome, whatever the broker does: an id must not be lost.

        When it stays away, the worker's log has the id, and the result may have it.
        """
        from redis.exceptions import RedisError

        for again in range(_INSIST):
            try:
                return self.intents.record(mine, job)
            except RedisError as error:
                said = "task %s: the broker does not take that %s (%s) is %s: %s"
                _log.error(
                    said, mine.task, job.key, job.id or "no id", job.status, error
                )
                time.sleep(0.1 * 2**again)
        return replace(mine, job=job)

    async def _find_in_list(self, found: Intent, endpoint: Endpoint) -> Job:
        """Return the record of a submit that died; its id where the endpoint lists."""
        job, api = found.job, Api(endpoint)
        said = "the worker died before a reply came"
        dead = job._replace(status=Status.UNKNOWN, last_error=said)
        if not api.can("list"):
            return dead
        try:
            async with asyncio.timeout(LOOKED_WITHIN):
                tagged = await polling.find_by_metadata(api, {job.key: job})
                id_ = tagged.ids.get(job.key)
                news = None if id_ is None else await api.retrieve(id_, job.include)
        except TimeoutError:
            return dead
        finally:
            await api.aclose()
        if news is None or isinstance(news, Fault):
            return dead
        reading, limits = news.reading._replace(id=id_), endpoint.dialect.limits
        return update.accepted(job, reading, now=self.clock(), limits=limits)


def unknown(intent: Intent) -> UnknownOutcomeError:
    """Return the error that names what may have been accepted, and how to find it."""
    job = intent.job
    why = job.last_error or "the worker died before a reply came"
    return UnknownOutcomeError(
        f"{job.key}: {why}; it may have been accepted: look for a response with "
        f"metadata bgresp_key={job.key} at {job.base_url}, then bgresp import ID "
        f"(task {intent.task})",
        request_id=job.request_id,
    )


def _may_be_sent_again(fault: Fault) -> bool:
    """Say whether it provably was not processed, and may be another time."""
    if fault.kind is FaultKind.UNREACHABLE:
        return fault.setup is None
    return fault.kind is FaultKind.RATE_LIMITED


@dataclass(frozen=True, slots=True)
class PollPlan:
    """How a job is collected: seconds of its expected length, and of our patience.

    With `interval` a webhook tells of the job's end, and it is asked about so seldom.
    The rest is carried from one execution to the next: what the machine knew, when the
    job is to be asked about (Unix seconds), the delivery that was acted upon, and how
    often the job was still open after it.
    """

    expect: float | None = None
    timeout: float | None = None
    interval: float | None = None
    counted: Mapping[str, Any] | None = None
    started: float | None = None
    due: float | None = None
    heard: str | None = None
    looks: int | None = None

    def __post_init__(self) -> None:
        """Refuse an interval that is none.

        Raises UsageError.
        """
        given: Any = self.interval
        if given is None:
            return
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if not (number and 0 < given < math.inf):
            raise UsageError("interval takes seconds above 0")

    def to_message(self) -> dict[str, Any]:
        """Return what says something: a worker of the last version knows the rest."""
        return {
            name: value for name, value in asdict(self).items() if value is not None
        }


@dataclass(frozen=True, slots=True)
class Open:
    """The job goes on: ask again in so many seconds, with this record and plan."""

    seconds: float
    record: Record
    plan: PollPlan


def collect(
    record: Mapping[str, Any],
    plan: PollPlan,
    intents: Intents,
    *,
    jitter: float,
    clock: Callable[[], float] = time.time,
) -> Record | Open:
    """Ask once; return the final record with its text, or when to ask again.

    With `plan.interval` it asks when a delivery came or that long has passed, and looks
    at the broker alone in between. `jitter` is a number in [0, 1). Raises UsageError,
    ConfigError, RefusedError, UnreachableError when asking further is in vain,
    NotFinishedError after `plan.timeout`: the job goes on all the same.
    """
    job = _read(record)
    settings = _settings(job)
    endpoint, name = endpoint_of(settings), place_of(settings)
    held = intents.held(name)
    if held:
        return Open(schedule.spread(held, jitter), dict(record), plan)
    if plan.interval is not None:
        heard = intents.delivery_of(str(job.id))
        if heard != plan.heard and heard is not None:
            plan = replace(plan, heard=heard, looks=0)
        elif wait := _until_due(job, plan, jitter, clock()):
            return Open(wait, dict(record), plan)
    answer: Signal = asyncio.run(_retrieve(Api(endpoint), job))
    if isinstance(answer, Fault) and answer.retry_after:
        intents.hold(name, answer.retry_after)
    limits, now = endpoint.dialect.limits, clock()
    age = max(0.0, now - (job.submitted_at or 0.0))
    policy = Policy(
        mode="poll", poll=limits.poll, tiers=limits.tiers, max_run=limits.max_run
    )
    before = _before(job, plan)
    after, action = machine.step(before, answer, policy=policy, jitter=jitter, now=age)
    if isinstance(answer, Snapshot):
        job = update.heard(job, answer.reading, now=now, limits=limits)
    else:
        assert isinstance(answer, Fault)
        job = update.unheard(job, answer, now=now)
    if isinstance(action, Done):
        return _ended(job, action, now)
    assert isinstance(action, Wait)
    wait = action.seconds
    if plan.interval is not None:
        plan = _rescheduled(plan, answer, wait, now)
        wait = _until_due(job, replace(plan, timeout=None), jitter, now)
    if plan.timeout is not None and age + wait > plan.timeout:
        said = f"{job.ref} is not finished after {age:.0f} s; it goes on"
        raise NotFinishedError(said, hint="collect it again", retryable=True)
    counted = {name: getattr(after, name) for name in _COUNTED}
    known = replace(plan, counted=counted, started=after.started)
    return Open(wait, travelling(job), known)


def _until_due(job: Job, plan: PollPlan, jitter: float, now: float) -> float:
    """Return when to look for a delivery again; 0 where the job is to be asked about.

    Another worker's clock may be far ahead: what it would put off is due, too.
    """
    assert plan.interval is not None
    submitted = job.submitted_at or 0.0
    left = (plan.due or submitted + plan.interval) - now
    age = max(0.0, now - submitted)
    look = schedule.pace(age, bounds=LOOK, expect=plan.expect)
    wait = min(schedule.upward(look, jitter), left)
    ends = plan.timeout is not None and age + wait > plan.timeout
    is_due = ends or not 0 < left <= max(plan.interval, schedule.RETRY_AFTER_CAP)
    return 0.0 if is_due else wait


def _rescheduled(
    plan: PollPlan, answer: Signal, seconds: float, now: float
) -> PollPlan:
    """Say when a job is asked about next that is open, as far as is known.

    One that a delivery named is soon seen to have ended: its endpoint has replicas.
    """
    looks = (plan.looks or 0) + 1
    again = plan.heard is not None and looks < LOOKS
    assert plan.interval is not None
    if isinstance(answer, Fault) or again:
        return replace(plan, due=now + seconds, looks=looks)
    return replace(plan, due=now + plan.interval, looks=looks)


def travelling(job: Job) -> Record:
    """Return the record that one task hands to the next.

    It has what the request asked to be included, which no ledger keeps here.
    """
    return {**job.to_record(), **({INCLUDE: job.include} if job.include else {})}


def _settings(job: Job) -> Settings:
    """Return this worker's settings for a job; it keeps its endpoint.

    Raises ConfigError where they are another endpoint's: no key goes there.
    """
    settings = settings_of(job.profile)
    if settings.base_url != job.base_url:
        raise ConfigError(
            f"{job.ref} is at {job.base_url}, and this worker's profile "
            f"{settings.profile!r} is {settings.base_url}"
        )
    return settings


def _before(job: Job, plan: PollPlan) -> Follow:
    """Return where the machine stood after the execution before."""
    counted = plan.counted or {}
    return Follow(
        State.POLLING,
        job.status,
        job.raw_status,
        faults=counted.get("faults", 0),
        gone=counted.get("gone", 0),
        gone_since=counted.get("gone_since"),
        unreadable=counted.get("unreadable", 0),
        expect=plan.expect,
        started=plan.started,
    )


def _read(record: Any) -> Job:
    """Read the record that a submit returned.

    Raises UsageError.
    """
    if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
        raise UsageError(f"collect takes the record that submit returned ({SCHEMA})")
    try:
        job = Job.from_line(record)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise UsageError("the record to collect cannot be read") from None
    if not isinstance(job.id, str) or not job.id:
        raise UsageError(f"the record of {job.key} has no response id")
    if not isinstance(job.profile, str):
        raise UsageError(f"the record of {job.key} names no profile")
    opened = job.status if job.status.is_open else Status.IN_PROGRESS
    return job._replace(status=opened)


def _ended(job: Job, done: Done, now: float) -> Record:
    """Return the last record; raise where no last word was heard."""
    if isinstance(done.final, Snapshot):
        if done.final.unread is not None:
            said = f"the answer is {done.final.unread}: bgresp import {job.quoted}"
            job = job._replace(last_error=said)
        return {**job.to_record(), "text": done.final.reading.text or ""}
    fault = done.fault
    assert fault is not None
    if done.status is Status.LOST:
        return {**update.lost(job, fault, now=now).to_record(), "text": None}
    said = f"{job.ref}: {fault.message}"
    if fault.kind is FaultKind.IDLE:
        # It runs longer than its endpoint lets any job run.
        raise NotFinishedError(said, request_id=fault.request_id)
    raise error_of(fault, said, job=job)


async def _retrieve(api: Api, job: Job) -> Snapshot | Fault:
    try:
        async with asyncio.timeout(ASKED_WITHIN):
            return await api.retrieve(str(job.id), job.include)
    except TimeoutError:
        return Fault(FaultKind.IDLE, f"no answer came in {ASKED_WITHIN:g} s")
    finally:
        await api.aclose()
