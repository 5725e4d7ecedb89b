"""Ask once about a task's job; core.machine says what it means."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bgresp.api.client import Api
from bgresp.celery.arguments import endpoint_of, place_of, settings_of
from bgresp.celery.intents import Intents
from bgresp.config.settings import Settings
from bgresp.core import machine, schedule, update
from bgresp.core.errors import (
    ConfigError,
    NotFinishedError,
    UsageError,
)
from bgresp.core.faults import error_of
from bgresp.core.machine import Follow, Policy, State
from bgresp.core.model import SCHEMA, Job, Status
from bgresp.core.signals import Done, Fault, FaultKind, Signal, Snapshot, Wait

Record = dict[str, Any]
ASKED_WITHIN: Final = 60.0
_COUNTED: Final = ("faults", "gone", "unreadable")


@dataclass(frozen=True, slots=True)
class PollPlan:
    """How a job is collected: seconds of its expected length, and of our patience.

    `counted` and `started` carry what the machine knew from one execution to the next.
    """

    expect: float | None = None
    timeout: float | None = None
    counted: Mapping[str, int] | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """The job goes on: ask again in so many seconds, with this record and plan."""

    seconds: float
    record: Record
    plan: PollPlan


def collect(
    record: Mapping[str, Any], plan: PollPlan, intents: Intents, jitter: float
) -> Record | Open:
    """Ask once; return the final record with its text, or when to ask again.

    `jitter` is a number in [0, 1). Raises UsageError, ConfigError, RefusedError,
    UnreachableError when asking further is in vain, NotFinishedError after
    `plan.timeout`: the job goes on all the same.
    """
    job = _read(record)
    settings = _settings(job)
    endpoint, name = endpoint_of(settings), place_of(settings)
    held = intents.held(name)
    if held:
        return Open(schedule.spread(held, jitter), dict(record), plan)
    answer: Signal = asyncio.run(_asked(Api(endpoint), str(job.id)))
    if isinstance(answer, Fault) and answer.retry_after:
        intents.hold(name, answer.retry_after)
    age = max(0.0, time.time() - (job.submitted_at or 0.0))
    limits, now = endpoint.dialect.limits, time.time()
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
        return _ended(job, action)
    assert isinstance(action, Wait)
    if plan.timeout is not None and age + action.seconds > plan.timeout:
        said = f"{job.ref} is not finished after {age:.0f} s; it goes on"
        raise NotFinishedError(said, hint="collect it again", retryable=True)
    counted = {name: getattr(after, name) for name in _COUNTED}
    known = replace(plan, counted=counted, started=after.started)
    return Open(action.seconds, job.to_record(), known)


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
    return replace(job, status=opened)


def _ended(job: Job, done: Done) -> Record:
    """Return the last record; raise where no last word was heard."""
    if isinstance(done.final, Snapshot):
        if done.final.unread is not None:
            said = f"the answer is {done.final.unread}: bgresp import {job.quoted}"
            job = replace(job, last_error=said)
        return {**job.to_record(), "text": done.final.reading.text or ""}
    fault = done.fault
    assert fault is not None
    if done.status is Status.LOST:
        return {**update.lost(job, fault, now=time.time()).to_record(), "text": None}
    said = f"{job.ref}: {fault.message}"
    if fault.kind is FaultKind.IDLE:
        # It runs longer than its endpoint lets any job run.
        raise NotFinishedError(said, request_id=fault.request_id)
    raise error_of(fault, said, job=job)


async def _asked(api: Api, id_: str) -> Snapshot | Fault:
    try:
        async with asyncio.timeout(ASKED_WITHIN):
            return await api.retrieve(id_)
    except TimeoutError:
        return Fault(FaultKind.IDLE, f"no answer came in {ASKED_WITHIN:g} s")
    finally:
        await api.aclose()
