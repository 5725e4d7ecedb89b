"""Submit for a task once: claim the intent, post, record; without a worker asleep.

What may be sent again is decided as in engine.submit: RELIABILITY.md 1.4 and 1.5.
"""

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from bgresp.api.client import Api, Sent
from bgresp.celery.arguments import Ready, endpoint_of, place_of
from bgresp.celery.intents import Intent, Intents, another_request
from bgresp.core import schedule, update
from bgresp.core.dialect import Endpoint
from bgresp.core.errors import BgrespError, UnknownOutcomeError
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind, Signal
from bgresp.engine import list_poll
from bgresp.engine.submit import Submitted, error_of, failed, first_outcome

PATIENCE: Final = 86_400.0
SLACK: Final = 5.0
LOOKED_WITHIN: Final = 60.0
_INSIST: Final = 6
_log: Final = logging.getLogger("bgresp.celery")


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

    def run(self) -> Job:
        """Return the accepted job.

        Raises LaterError where the task is to be tried again, UnknownOutcomeError where
        it must not be, UsageError, ConfigError, RefusedError, UnreachableError.
        """
        self.intents.check()
        endpoint = endpoint_of(self.ready.settings)
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
            found = self.intents.record(found, asyncio.run(_looked(found, endpoint)))
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
            mine = self._kept(mine, failed(mine.job, Fault(kind, said)))
            if sent.started:
                raise unknown(mine) from None
            raise
        reading = None if isinstance(first, Fault) else first.reading
        if reading is not None and reading.id is not None:
            limits, now = endpoint.dialect.limits, time.time()
            taken = update.accepted(mine.job, reading, now=now, limits=limits)
            kept = self._kept(mine, taken).job
            return taken if kept.id is None else kept
        no_id = Fault(FaultKind.AMBIGUOUS, "accepted, but the reply has no id")
        return self._failed(mine, first if isinstance(first, Fault) else no_id)

    async def _answer(self, endpoint: Endpoint, sent: Sent) -> Signal:
        api, key = Api(endpoint), self.ready.job.key
        try:
            async with asyncio.timeout(self.within):
                create = api.create(self.ready.body, key=key, stream=False, sent=sent)
                async with aclosing(create) as signals:
                    return await first_outcome(signals, endpoint.dialect.streaming)
        except TimeoutError:
            kind = FaultKind.AMBIGUOUS if sent.started else FaultKind.UNREACHABLE
            return Fault(kind, f"no reply came in {self.within:g} s")

    def _failed(self, mine: Intent, fault: Fault) -> Job:
        """Record a failure; then say whether it may be sent again."""
        mine = self._kept(mine, failed(mine.job, fault))
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
        raise error_of(Submitted(mine.job, fault=fault))

    def _kept(self, mine: Intent, job: Job) -> Intent:
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


async def _looked(found: Intent, endpoint: Endpoint) -> Job:
    """Return the record of a submit that died; with its id where the endpoint lists."""
    job, api = found.job, Api(endpoint)
    said = "the worker died before a reply came"
    dead = replace(job, status=Status.UNKNOWN, last_error=said)
    if not api.can("list"):
        return dead
    try:
        async with asyncio.timeout(LOOKED_WITHIN):
            tagged = await list_poll.find_by_metadata(api, {job.key: job})
            id_ = tagged.ids.get(job.key)
            news = None if id_ is None else await api.retrieve(id_)
    except TimeoutError:
        return dead
    finally:
        await api.aclose()
    if news is None or isinstance(news, Fault):
        return dead
    reading, limits = replace(news.reading, id=id_), endpoint.dialect.limits
    return update.accepted(job, reading, now=time.time(), limits=limits)


def _may_be_sent_again(fault: Fault) -> bool:
    """Say whether it provably was not processed, and may be another time."""
    if fault.kind is FaultKind.UNREACHABLE:
        return fault.setup is None
    return fault.kind is FaultKind.RATE_LIMITED
