"""The tasks `bgresp.submit` and `bgresp.collect`, registered into an app."""

import random
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from celery import Celery, Task
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject
from celery.result import AsyncResult
from celery.utils.log import get_task_logger
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from bgresp.celery.asked import Asked, ready
from bgresp.celery.collecting import Open, Plan, collect
from bgresp.celery.intents import Intent, Intents
from bgresp.celery.submitting import LaterError, Submitting
from bgresp.core import schedule
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    UnknownOutcomeError,
    UsageError,
)

DAY: Final = 86_400.0
# An intent outlives the last message that could ask for it, by days of any clock.
EXPIRES: Final = 3 * DAY
INTENTS_KEPT: Final = 7 * DAY
POST_TIMEOUT: Final = 100.0
VISIBILITY_TIMEOUT: Final = 3600.0  # Celery's own default
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
    """The two tasks of one app, and the chain of both."""

    app: Celery
    submit: Any
    collect: Any

    def run(
        self,
        text: str | None = None,
        *,
        task_id: str | None = None,
        expect: float | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> "AsyncResult[Any]":
        """Submit, then collect; the result is the final record with its text.

        One job for one `task_id`, however often it is run; the result's id is the
        task's with `.answer`. `expect` is the answer's expected time, `timeout` our
        patience, in seconds. Raises UsageError before anything is sent.
        """
        Asked.read(text, options)
        task = task_id or str(uuid.uuid4())
        if task_id is not None:
            self._forget_failure(task)
        first = self.submit.s(text, **options).set(task_id=task)
        soon = schedule.pace(0.0, bounds=(1.0, 60.0), expect=expect)
        plan = {"expect": expect, "timeout": timeout}
        then = self.collect.s(**plan).set(task_id=f"{task}.answer", countdown=soon)
        result: AsyncResult[Any] = (first | then).apply_async()
        return result

    def _forget_failure(self, task: str) -> None:
        """Drop an earlier run's failure, or `get` would return it at once."""
        if isinstance(self.app.backend, DisabledBackend):
            return
        for id_ in (task, f"{task}.answer"):
            if self.app.AsyncResult(id_).failed():
                self.app.backend.forget(id_)


def install(app: Celery) -> Tasks:
    """Register both tasks into an app, whose broker must be Redis."""

    @app.task(name="bgresp.submit", expires=EXPIRES, **_TASK)
    def submit(self: "Task[Any, Any]", text: Any = None, **options: Any) -> Any:
        """Submit one background response; return its record.

        Takes text, profile, model, instructions, previous_id, metadata, body, changes,
        variables, tools, schema, max_output_tokens, name, group, labels. Raises
        bgresp.core.errors.UnknownOutcomeError, which names the key, when it may have
        been accepted.
        """
        asked, task = Asked.read(text, options), self.request.id or str(uuid.uuid4())
        _check_expiry(self)
        made = ready(task, asked)
        wanted = Intent(task, uuid.uuid4().hex, asked.digest, made.job)
        within = float(app.conf.get("bgresp_post_timeout", POST_TIMEOUT))
        tries = int(self.request.retries or 0)
        try:
            with _intents(app) as intents:
                one = Submitting(intents, wanted, made, within, tries, _jitter())
                return one.run().to_record()
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

        Takes the record that submit returned; expect and timeout in seconds.
        """
        try:
            with _intents(app) as intents:
                told = collect(record, _plan(plan), intents, _jitter())
        except _AWAY:
            raise _again(self, schedule.BACKOFF_CAP) from None
        if not isinstance(told, Open):
            return told
        raise _again(self, told.seconds, args=(told.record,), kwargs=asdict(told.plan))

    return Tasks(app, submit, collect_)


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


def _plan(given: Mapping[str, Any]) -> Plan:
    try:
        return Plan(**given)
    except TypeError:
        raise UsageError("collect takes a record, expect and timeout") from None


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


@contextmanager
def _intents(app: Celery) -> Iterator[Intents]:
    """Lend the intents, over a connection like the broker's own.

    Raises ConfigError when the broker is no Redis.
    """
    with app.connection_for_write() as connection:
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
