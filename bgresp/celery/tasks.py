"""The tasks `bgresp.submit`, `.collect` and `.heard`, registered into an app."""

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celery import Celery, Task, states
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject
from celery.result import AsyncResult
from celery.utils.log import get_task_logger
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from bgresp.celery.arguments import Arguments, ready
from bgresp.celery.executions import (
    LOOK,
    LaterError,
    Open,
    PollPlan,
    Submitting,
    collect,
    travelling,
)
from bgresp.celery.intents import Intent, Intents
from bgresp.core import schedule
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    UnknownOutcomeError,
    UsageError,
)
from bgresp.core.reading import is_id
from bgresp.engine.webhooks import DeliveryError, named

DAY: Final = 86_400.0
# An intent outlives the last message that could ask for it, by days of any clock.
EXPIRES: Final = 3 * DAY
INTENTS_KEPT: Final = 7 * DAY
POST_TIMEOUT: Final = 100.0
VISIBILITY_TIMEOUT: Final = 3600.0  # Celery's own default
_LOOKS: Final = 200  # at what is about to be said, and seconds between them
_PAUSE: Final = 0.01
_AWAY: Final = (RedisError, OperationalError)
_TASK: Final[dict[str, Any]] = {
    "bind": True,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "max_retries": None,
    "ignore_result": False,
    "serializer": "json",
    "throws": (BgrespError,),
    "resultrepr_maxsize": 120,  # no answer in a log
    "shared": False,
}


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks of one app, and the chain of submit and collect."""

    app: Celery
    submit: Any
    collect: Any
    heard: Any

    def run(
        self,
        text: str | None = None,
        *,
        task_id: str | None = None,
        expect: float | None = None,
        timeout: float | None = None,
        interval: float | None = None,
        **options: Any,
    ) -> "AsyncResult[Any]":
        """Submit, then collect; the result is the final record with its text.

        One job for one `task_id`, however often it is run; the result's id is the
        task's with `.answer`. `expect` is the answer's expected time, `timeout` our
        patience, `interval` how seldom to ask where `heard` is called, in seconds.
        Raises UsageError before anything is sent, also when the
        id was revoked or stands for another request.
        """
        arguments = Arguments.read(text, options)
        plan = PollPlan(expect, timeout, interval).to_message()
        task = task_id or str(uuid.uuid4())
        if task_id is not None:
            _bind(self.app, task, arguments)
            self._forget_failure(task)
        first = self.submit.s(text, **options).set(task_id=task)
        soon = schedule.pace(0.0, bounds=(1.0, 60.0), expect=expect)
        if interval is not None:
            soon = LOOK[0]  # at the broker alone
        then = self.collect.s(**plan).set(task_id=f"{task}.answer", countdown=soon)
        result: AsyncResult[Any] = (first | then).apply_async()
        return result

    def _forget_failure(self, task: str) -> None:
        """Drop an earlier run's failure, or `get` would return it at once.

        Raises UsageError for a revoked id: workers drop what is sent under it.
        """
        if isinstance(self.app.backend, DisabledBackend):
            return
        ids = (task, f"{task}.answer")
        ended: dict[str, str] = {id_: self.app.AsyncResult(id_).state for id_ in ids}
        for id_ in ids:
            if ended[id_] == states.REVOKED:
                raise UsageError(f"task {id_} was revoked: take another task_id")
        # A worker says so of the task first: said of its answer after this, it would
        # stand for the new run.
        for _ in range(_LOOKS):
            if (ended[task], ended[ids[1]]) != (states.FAILURE, states.PENDING):
                break
            time.sleep(_PAUSE)
            ended[ids[1]] = self.app.AsyncResult(ids[1]).state
        for id_ in ids:
            if ended[id_] == states.FAILURE:
                self.app.backend.forget(id_)


class SubmitTask(Task):  # type: ignore[type-arg]  # a generic in its stubs alone
    """A task whose id stands for one request, which its sender is told."""

    abstract = True

    def apply_async(  # type: ignore[override]  # its stubs list each option
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it.

        Raises UsageError before anything is sent.
        """
        if task_id is not None and task_id != self.request.id:  # no retry
            arguments = _arguments(*(args or ()), **(kwargs or {}))
            _bind(self.app, task_id, arguments)
        return super().apply_async(args, kwargs, task_id=task_id, **options)


def install(app: Celery) -> Tasks:
    """Register both tasks into an app, whose broker must be Redis."""

    @app.task(name="bgresp.submit", base=SubmitTask, expires=EXPIRES, **_TASK)
    def submit(self: "Task[Any, Any]", text: Any = None, **options: Any) -> Any:
        """Submit one background response; return its record.

        Takes text, profile, model, instructions, previous_id, metadata, body, changes,
        variables, tools, schema, max_output_tokens, name, group, labels. Raises
        bgresp.core.errors.UnknownOutcomeError, which names the key, when it may have
        been accepted.
        """
        arguments = Arguments.read(text, options)
        task = self.request.id or str(uuid.uuid4())
        _check_expiry(self)
        made = ready(task, arguments)
        wanted = Intent(task, uuid.uuid4().hex, arguments.digest, made.job)
        within = float(app.conf.get("bgresp_post_timeout", POST_TIMEOUT))
        tries = int(self.request.retries or 0)
        try:
            with _intents(app.connection_for_write()) as intents:
                intents.bind(task, arguments.digest, _bound_for(app))
                one = Submitting(intents, wanted, made, within, tries, _jitter())
                return travelling(one.run())
        except LaterError as later:
            raise _again(self, later.seconds) from None
        except UnknownOutcomeError as error:
            get_task_logger("bgresp.celery").error(error.message)
            raise
        except _AWAY:
            raise _again(self, schedule.BACKOFF_CAP) from None

    @app.task(name="bgresp.collect", **_TASK)
    def collect_(self: "Task[Any, Any]", record: Any, **plan: Any) -> Any:
        """Return the final record of a submitted job, with its text.

        Takes the record that submit returned; expect, timeout and interval in seconds.
        """
        try:
            with _intents(app.connection_for_write()) as intents:
                told = collect(record, _plan(plan), intents, jitter=_jitter())
        except _AWAY:
            raise _again(self, schedule.BACKOFF_CAP) from None
        if not isinstance(told, Open):
            return told
        plan = told.plan.to_message()
        raise _again(self, told.seconds, args=(told.record,), kwargs=plan)

    @app.task(name="bgresp.heard", expires=DAY, **{**_TASK, "ignore_result": True})
    def heard(self: "Task[Any, Any]", delivery: Any) -> None:
        """Let who collects a job with an interval ask about it now.

        Takes a verified delivery: the event's JSON object, or the id of a response.
        The same task id is the same delivery.
        """
        _note(self, delivery)

    return Tasks(app, submit, collect_, heard)


def _note(task: "Task[Any, Any]", delivery: Any) -> None:
    response = _named(delivery)
    if response is None:
        return
    try:
        with _intents(task.app.connection_for_write()) as intents:
            intents.note_delivery(response, task.request.id or str(uuid.uuid4()))
    except _AWAY:
        raise _again(task, schedule.BACKOFF_CAP) from None


def _named(delivery: Any) -> str | None:
    """Return the id of the job that ended; None where it is about no job's end.

    Raises UsageError.
    """
    if isinstance(delivery, str) and is_id(delivery):
        return delivery
    if not isinstance(delivery, Mapping):
        raise UsageError("heard takes an event, or the id of a response")
    try:
        found = named(delivery)
    except DeliveryError as error:
        raise UsageError(f"a delivery cannot be read: {error}") from None
    return None if found is None else found[1]


def _again(task: "Task[Any, Any]", seconds: float, **changes: Any) -> Exception:
    """Return the retry that gives the worker back.

    A waiting message that outlived the visibility timeout would be delivered twice: the
    longest wait is half of it. What an endpoint asked for is kept by the hold.
    """
    options: Mapping[str, Any] = task.app.conf.broker_transport_options or {}
    most = float(options.get("visibility_timeout", VISIBILITY_TIMEOUT)) / 2
    try:
        return task.retry(countdown=min(seconds, most), throw=False, **changes)
    except Reject:  # Celery would drop what it could not publish
        return Reject("the broker took no retry", requeue=True)


def _jitter() -> float:
    return random.random()  # noqa: S311  it spreads load


def _plan(given: Mapping[str, Any]) -> PollPlan:
    try:
        return PollPlan(**given)
    except TypeError:
        raise UsageError(
            "collect takes a record, expect, timeout and interval"
        ) from None


def _check_expiry(task: "Task[Any, Any]") -> None:
    """Refuse a message that could be delivered when its intent is forgotten.

    Raises UsageError.
    """
    request = task.request
    if request.called_directly or request.is_eager:
        return
    expires: Any = request.expires
    if isinstance(expires, str):
        expires = datetime.fromisoformat(expires)
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    now = datetime.now(UTC)  # which the sender's may differ from
    if expires is None or (expires - now).total_seconds() > EXPIRES + DAY:
        raise UsageError(
            f"bgresp.submit needs a message that expires, in {EXPIRES:g} s at most: "
            "later nobody knows whether it was posted"
        )


def _arguments(text: Any = None, **options: Any) -> Arguments:
    return Arguments.read(text, options)


def _bind(app: Celery, task: str, arguments: Arguments) -> None:
    """Let an id stand for what is asked.

    Raises UsageError when it stands for something else.
    """
    with _intents(app.connection_or_acquire()) as intents:
        intents.bind(task, arguments.digest, _bound_for(app))


def _bound_for(app: Celery) -> float | None:
    """Return how long an id is bound: while anything of it may be left.

    Its message, its intent, its results: in seconds, None where these are for good.
    """
    results: Any = app.conf.result_expires
    if results is None:
        return None
    if isinstance(results, timedelta):
        results = results.total_seconds()
    return EXPIRES + max(INTENTS_KEPT, float(results))


@contextmanager
def _intents(borrowed: Any) -> Iterator[Intents]:
    """Lend the intents, over a connection like the broker's own.

    The pool is that of kombu's channel, whose names kombu (5.4 to 5.7) does not
    promise: tests/celery/test_tasks.py. Raises ConfigError when the broker is no Redis.
    """
    with borrowed as connection:
        if connection.transport.driver_type != "redis":
            raise ConfigError(
                "bgresp.celery keeps its intents in the broker, which must be Redis, "
                f"not {connection.transport.driver_name}"
            )
        channel: Any = connection.default_channel
        pool = getattr(channel.client, "connection_pool", None)
        if pool is None:
            raise ConfigError("bgresp.celery cannot keep intents in a Redis Cluster")
        prefix = (connection.transport_options or {}).get("global_keyprefix", "")
        # Not kombu's own client: it would prefix some commands and not others.
        yield Intents(Redis(connection_pool=pool), prefix, INTENTS_KEPT)
