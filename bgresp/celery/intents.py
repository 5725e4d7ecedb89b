"""Intents in the broker's Redis: which execution of a task may post, and what came.

All that decides is one atomic step of Redis, by its clock: SET NX for the first claim,
a compare-and-set for every later change.
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from bgresp.core import update
from bgresp.core.errors import ConfigError, UsageError
from bgresp.core.model import Job, Status
from bgresp.core.schedule import RETRY_AFTER_CAP

if TYPE_CHECKING:
    from redis import Redis

INTENT: Final = "bgresp:intent:"
HOLD: Final = "bgresp:hold:"
ASKED: Final = "bgresp:asked:"
HEARD: Final = "bgresp:heard:"
# An endpoint may deliver so long before anybody here knows the job's id.
HEARD_KEPT: Final = 86_400.0
_SWAP: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_HOLD: Final = """
if redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Intent:
    """One task's submit: its record, and the execution that alone may post it.

    `since` is when it was first claimed, `at` when it was claimed last: seconds of the
    store's clock. `asked` is a digest of the task's arguments.
    """

    task: str
    owner: str
    asked: str
    job: Job
    since: float = 0.0
    at: float = 0.0
    raw: bytes = b""

    @property
    def may_be_claimed(self) -> bool:
        """Say whether it was surely not accepted: not sent, or refused."""
        return self.job.status is Status.REJECTED

    def encoded(self) -> bytes:
        """Return the form that is stored."""
        told: dict[str, Any] = {"owner": self.owner, "asked": self.asked}
        told |= {"since": self.since, "at": self.at, "job": self.job.to_line()}
        return json.dumps(told, separators=(",", ":")).encode("ascii")

    @classmethod
    def read(cls, task: str, raw: bytes) -> "Intent":
        """Read what was stored.

        Raises ConfigError when it is none of ours: it must not be taken for absent.
        """
        try:
            told: dict[str, Any] = json.loads(raw)
            job = Job.from_line(told["job"])
            owner, asked = str(told["owner"]), str(told["asked"])
            return cls(task, owner, asked, job, told["since"], told["at"], raw)
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"the intent of task {task} cannot be read") from None


@dataclass(frozen=True)
class Intents:
    """The intents of one broker; `kept` is how long each outlives its last change."""

    redis: "Redis"
    prefix: str
    kept: float

    def now(self) -> float:
        """Return the store's clock: workers' own may differ."""
        seconds, micros = self.redis.time()
        return float(seconds) + float(micros) / 1e6

    def check(self) -> None:
        """Refuse a store that may forget an intent to make room.

        Raises ConfigError.
        """
        from redis.exceptions import ResponseError

        try:
            memory: Any = self.redis.info("memory")
        except ResponseError:  # not permitted to ask
            return
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy != "noeviction":
            raise ConfigError(
                f"the broker may forget intents: its maxmemory-policy is {policy}, "
                "and must be noeviction"
            )

    def bind(self, task: str, asked: str, kept: float | None) -> None:
        """Let a task's id stand for one request, by the digest of its arguments.

        It does for `kept` seconds after its last use, or for good. Raises UsageError
        when it stands for another: that one's answer must not be taken for this one's.
        """
        found = self.find(task)
        name = f"{self.prefix}{ASKED}{task}"
        left = None if kept is None else int(kept * 1000)
        held = found.asked if found else self._bound(name, asked, left)
        if held != asked:
            raise another_request(task)
        self.redis.set(name, asked, px=left)

    def _bound(self, name: str, asked: str, left: int | None) -> str:
        """Return the digest under a name: the first that was put there."""
        while True:
            if self.redis.set(name, asked, nx=True, px=left):
                return asked
            held: Any = self.redis.get(name)
            if held is not None:  # else it expired in between
                return str(held, "ascii", "replace")

    def find(self, task: str) -> Intent | None:
        """Return a task's intent; None while there is none."""
        raw: Any = self.redis.get(self._name(task))
        return None if raw is None else Intent.read(task, raw)

    def claim(self, wanted: Intent) -> Intent:
        """Return the intent that holds; the caller may post only if it is its owner.

        One that was surely not accepted may be claimed again, by one execution.
        """
        while True:
            found, now = self.find(wanted.task), self.now()
            if found is not None and found.owner == wanted.owner:
                return found
            if found is not None and not found.may_be_claimed:
                return found
            since = found.since if found else now
            if self._swapped(found, replace(wanted, since=since, at=now)):
                return replace(wanted, since=since, at=now)

    def record(self, mine: Intent, job: Job) -> Intent:
        """Record what became of a submit, by rank; nothing if another has the claim.

        Whoever posted knows better than a store that lost the intent: it is put back.
        """
        while True:
            found = self.find(mine.task)
            if found is not None and found.owner != mine.owner:
                return found
            held = found or mine
            told = replace(held, job=update.merge(held.job, job))
            if self._swapped(found, told):
                return told

    def hold(self, endpoint: str, seconds: float) -> None:
        """Let nobody of the fleet ask an endpoint for so long: it said so.

        For an hour at most, as everywhere: what asks for years means none of it.
        """
        wait = max(1, int(min(seconds, RETRY_AFTER_CAP) * 1000))
        self._hold(keys=[f"{self.prefix}{HOLD}{endpoint}"], args=[wait])

    def held(self, endpoint: str) -> float:
        """Return the seconds for which an endpoint is not to be asked."""
        left: Any = self.redis.pttl(f"{self.prefix}{HOLD}{endpoint}")
        return max(0.0, int(left) / 1000)

    def note_delivery(self, response: str, delivery: str) -> None:
        """Remember that a delivery named a response, for who collects it or will."""
        name, kept = f"{self.prefix}{HEARD}{response}", int(HEARD_KEPT * 1000)
        self.redis.set(name, delivery, px=kept)

    def delivery_of(self, response: str) -> str | None:
        """Return the last delivery that named a response."""
        raw: Any = self.redis.get(f"{self.prefix}{HEARD}{response}")
        return None if raw is None else str(raw, "utf-8", "replace")

    def _swapped(self, old: Intent | None, new: Intent) -> bool:
        name, raw, kept = self._name(new.task), new.encoded(), int(self.kept * 1000)
        if old is None:
            return bool(self.redis.set(name, raw, nx=True, px=kept))
        return bool(self._swap(keys=[name], args=[old.raw, raw, kept]))

    def _name(self, task: str) -> str:
        return f"{self.prefix}{INTENT}{task}"

    @cached_property
    def _swap(self) -> Any:
        return self.redis.register_script(_SWAP)

    @cached_property
    def _hold(self) -> Any:
        return self.redis.register_script(_HOLD)


def another_request(task: str) -> UsageError:
    """Return what is said of an id that stands for another request."""
    return UsageError(
        f"task {task} was used for another request",
        hint="take another task_id: one id is one request",
    )
