"""Deliveries of webhooks: verified, then acted upon by asking the endpoint itself.

A delivery is a hint, never the truth: it names a job, and what is recorded is what the
endpoint answers for that id. Signatures are those of Standard Webhooks, and MKA1's.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.config.settings import Settings
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    LedgerError,
    NotFinishedError,
    RefusedError,
)
from bgresp.core.model import Job, Status
from bgresp.core.reading import is_id
from bgresp.core.signals import Fault, FaultKind
from bgresp.core.text import parse_bounded
from bgresp.engine.endpoints import Endpoints, Group
from bgresp.engine.polling import JobPoller, News
from bgresp.engine.recorder import Recorder
from bgresp.engine.settle import claimed, draft_of, whole
from bgresp.ledger.line import is_key
from bgresp.ledger.saved import Deliveries, Delivery

MOST: Final = 1 << 20  # bytes of a delivery
_MOST_ID: Final = 512
_ENDS: Final = {
    "response.completed": Status.COMPLETED,
    "response.failed": Status.FAILED,
    "response.cancelled": Status.CANCELLED,
    "response.incomplete": Status.INCOMPLETE,
}
_BARE: Final = "x-webhook-signature"
_SIGNATURE: Final = re.compile(r"v1,[A-Za-z0-9+/]{43}=")  # of 32 bytes
_JOB: Final = (("data", "id"), ("response", "id"), ("response_id",), ("id",))
_LOOKS: Final = 3  # answers that a job is still open; then the slow poll has it
_FIRST_WAIT: Final = 2.0
_LONGEST_WAIT: Final = 300.0


class DeliveryError(Exception):
    """A delivery that is not believed: forged, old, malformed."""


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return a request's headers, by their names in lower case.

    Raises DeliveryError where one that counts is there twice: a proxy in front may have
    read the other.
    """
    found: dict[str, str] = {}
    for raw_name, value in pairs:
        name = raw_name.decode("latin-1").lower()
        if name in found and "webhook-" in name:
            raise DeliveryError(f"it has two headers {name}")
        found[name] = value.decode("latin-1")
    return found


def verified(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now: float
) -> Delivery | None:
    """Return what a delivery says; None where it is about no job's end.

    `headers` have lower-case names; without `secrets` no signature is asked for. Raises
    DeliveryError, whatever a stranger sends.
    """
    id_ = headers.get("webhook-id", "")
    is_bare = _BARE in headers and "webhook-signature" not in headers
    if is_bare and secrets:
        if not any(_is_bare(headers[_BARE], body, secret) for secret in secrets):
            raise DeliveryError("its signature is not right")
    elif secrets and not _is_signed(headers, body, secrets):
        raise DeliveryError("its signature or time is not right")
    if is_bare or not id_:
        id_ = hashlib.sha256(body).hexdigest()  # it has no other name
    if not 0 < len(id_) <= _MOST_ID or not id_.isprintable():
        raise DeliveryError("its id cannot be one")
    try:
        payload = parse_bounded(body)
    except ValueError:
        raise DeliveryError("its body is not JSON") from None
    if not isinstance(payload, dict):
        raise DeliveryError("its body is not an object")
    return _read(payload, id_, now)


def _read(payload: dict[str, Any], id_: str, now: float) -> Delivery | None:
    found = named(payload)
    return None if found is None else Delivery(id_, *found, now)


def named(payload: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the kind of an event and the id of the job that ended.

    None where it is about no job's end. Raises DeliveryError where it names none.
    """
    kind = payload.get("type") or payload.get("event")
    if not isinstance(kind, str):
        # MKA1 does not say what it sends: an object with a status says enough.
        kind = f"response.{payload.get('status')}"
    if kind not in _ENDS:
        return None
    for path in _JOB:
        value: Any = payload
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str) and is_id(value):
            return kind, value
    raise DeliveryError("it names no response")


def _is_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Verify as Standard Webhooks says; the library raises what it likes."""
    from standardwebhooks import Webhook

    given = headers.get("webhook-signature", "").split()
    # A malformed signature must not hide a good one after it, nor cost a digest.
    signatures = " ".join(one for one in given if _SIGNATURE.fullmatch(one))
    alone = {**headers, "webhook-signature": signatures}
    for secret in secrets:
        # As OpenAI's SDK reads a secret: without the prefix it is the key itself.
        key = secret if secret.startswith("whsec_") else secret.encode()
        try:
            Webhook(key).verify(body, alone, json_parse=False)
        except Exception:  # noqa: BLE001, S112 # ValueError, binascii.Error and others
            continue
        return True
    return False


def _is_bare(signature: str, body: bytes, secret: str) -> bool:
    """Verify MKA1's header: an HMAC-SHA256 of the body, in hex or base64."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256)
    given = signature.removeprefix("sha256=").encode("utf-8", "replace")
    expected = (digest.hexdigest().encode(), base64.b64encode(digest.digest()))
    return any(hmac.compare_digest(given, one) for one in expected)


@dataclass(slots=True)
class _Waiting:
    """A job that deliveries named, until it is dealt with."""

    type: str
    ids: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    due: float = 0.0
    looks: int = 0
    slot: str | None = None  # whose work it waits for


@dataclass(slots=True)
class Intake:
    """Puts deliveries on disk, each once, before they are answered.

    It is one event loop's, which does nothing else, so that no answer waits for a job.
    `hand_on` is given each delivery that is new, from that loop.
    """

    deliveries: Deliveries
    hand_on: Callable[[Delivery], object]
    say: Callable[[str], object]
    _came: list[tuple[Delivery, "asyncio.Future[None]"]] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)
    _writing: "asyncio.Task[None] | None" = None
    _has_said: bool = False

    async def take(self, delivery: Delivery) -> bool:
        """Put a delivery on disk, once; say whether it was new. Raises LedgerError."""
        coming = (future for one, future in self._came if one.id == delivery.id)
        if (written := next(coming, None)) is not None:
            await asyncio.shield(written)
            return False
        if delivery.id in self.deliveries:
            return False
        future = asyncio.get_running_loop().create_future()
        self._came.append((delivery, future))
        self._write_soon()
        await asyncio.shield(future)
        return True

    def finish(self, ids: Iterable[str]) -> None:
        """Write down that deliveries were dealt with."""
        self._done.update(ids)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write down what came and what was done: many of them at a time, one sync."""
        while self._came or self._done:
            came, done = list(self._came), set(self._done)
            try:
                await asyncio.to_thread(
                    self.deliveries.append, [one for one, _ in came], done
                )
            except BgrespError as error:
                self._came = self._came[len(came) :]
                for _, future in came:
                    future.set_exception(error)
                if not self._has_said:  # not for each that the endpoint repeats
                    self._has_said = True
                    self.say(error.message)
                if not came:
                    return  # done again after a restart: that harms nothing
                continue
            self._has_said = False
            self._came = self._came[len(came) :]
            self._done -= done
            for delivery, future in came:
                self.hand_on(delivery)
                future.set_result(None)


@dataclass(slots=True)
class Listener:
    """Brings in the jobs that deliveries name.

    `endpoints` reads the configuration: again where a job's endpoint was not in it, for
    this runs long. `tell` is given a job as it was and as it is; what it returns is
    awaited before the delivery counts as dealt with; then `finish` is given its id.
    `own` is the endpoint that is asked for ids nobody here knows, None where none is
    configured; `adopt` takes those into the ledger. What the ledger does not take is
    tried again, unless it is `strict`.
    """

    endpoints: Callable[[], Endpoints]
    recorder: Recorder
    finish: Callable[[set[str]], object]
    tell: Callable[[Job, Job], Awaitable[object] | None]
    say: Callable[[str], None]
    own: Settings | None = None
    adopt: bool = False
    strict: bool = False
    ignored: int = 0
    clock: Callable[[], float] = time.monotonic
    _endpoints: Endpoints | None = None
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _held: Counter[str] = field(default_factory=Counter)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _said: str | None = None

    def wait_for(self, delivery: Delivery) -> None:
        """Let `run` deal with a delivery that is on disk."""
        fresh = _Waiting(delivery.type)
        waiting = self._waiting.setdefault(str(delivery.job_id), fresh)
        waiting.type = delivery.type
        waiting.ids.add(delivery.id)
        waiting.due = self.clock()
        self._wake.set()

    async def run(self) -> None:
        """Bring in what was delivered, for ever. Raises LedgerError if `strict`."""
        try:
            while True:
                self._wake.clear()
                try:
                    self._start()
                except LedgerError as error:
                    self._failed(error)
                    await asyncio.sleep(_FIRST_WAIT)
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.discard(task)
                    task.result()
                await self._woken()
        finally:
            for task in self._tasks:
                task.cancel()

    async def _woken(self) -> None:
        free = [w.due for name, w in self._waiting.items() if self._is_free(name)]
        pause = max(0.0, min(free) - self.clock()) if free else None
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _is_free(self, name: str) -> bool:
        """Say whether nobody is at work on a job, or at the endpoint it waits for."""
        return not self._held[name] and self._waiting[name].slot not in self._busy

    def _start(self) -> None:
        """Begin to ask each endpoint that is not being asked about what is due."""
        now = self.clock()
        due = [n for n, w in self._waiting.items() if w.due <= now and self._is_free(n)]
        known: list[Job] = []
        unknown: list[str] = []
        for name in due:
            self._waiting[name].asked = set(self._waiting[name].ids)
            job = self.recorder.ledger.by_id(name)
            if job is None:
                self._waiting[name].slot = ""
                unknown.append(name)
            elif self._is_settled(job, self._waiting[name].type):
                # A crash may have come before anybody was told.
                self._follow(self._ended(name, job, job), name)
            else:
                known.append(job)

        for settings, jobs in self._grouped(known) if known else ():
            names = {str(job.id) for job in jobs}
            for name in names:
                self._waiting[name].slot = settings.identity
            if settings.identity not in self._busy:
                self._begin(settings.identity, names, self._ask(settings, jobs))
        if unknown and "" not in self._busy:
            self._begin("", set(unknown), self._settle_unknown(unknown))

    def _grouped(self, jobs: list[Job]) -> list[Group]:
        """Return jobs by their endpoints; those that are not configured wait."""
        strange: list[Job] = []
        groups = self._known_endpoints().grouped(
            jobs, lambda some, _: strange.extend(some)
        )
        if strange:
            self._endpoints = None

            def failed(some: list[Job], error: BgrespError) -> None:
                for job in some:
                    self.say(f"{job.ref}: {error.message}")
                    self._again(str(job.id))

            groups = self._known_endpoints().grouped(jobs, failed)
        return groups

    def _known_endpoints(self) -> Endpoints:
        if self._endpoints is None:
            self._endpoints = self.endpoints()
        return self._endpoints

    def _begin(self, slot: str, names: set[str], work: Awaitable[None]) -> None:
        self._busy.add(slot)
        self._held.update(names)

        async def worked() -> None:
            try:
                await work
            except LedgerError as error:
                self._failed(error)
                for name in names & self._waiting.keys():
                    self._again(name)
            finally:
                self._busy.discard(slot)
                self._held.subtract(names)
                self._held += Counter()  # what nobody holds is not kept
                self._wake.set()

        self._tasks.add(asyncio.create_task(worked()))

    def _failed(self, error: LedgerError) -> None:
        """Say what is wrong with the disk, once until something is done again."""
        if self.strict:
            raise error
        if error.message != self._said:
            self._said = error.message
            self.say(error.message)

    def _follow(self, work: Awaitable[None], name: str) -> None:
        """Let something end in its own time; the job is not asked about meanwhile."""
        self._begin(f"told {name}", {name}, work)

    async def _ask(self, settings: Settings, jobs: list[Job]) -> None:
        def take(news: News) -> None:
            name = str(news.before.id)
            if news.job.status.is_terminal or news.job.status is Status.LOST:
                self._follow(self._ended(name, news.before, news.job), name)
                return
            self.tell(news.before, news.job)
            self._again(name, looked=news.fault is None)

        try:
            async with self._known_endpoints().open(settings) as api:
                await JobPoller(api, self.recorder, take).all(jobs)
        except (ConfigError, RefusedError) as error:
            self.say(f"{settings.base_url}: {error.message}")
            for job in jobs:
                self._again(str(job.id))

    async def _settle_unknown(self, names: Iterable[str]) -> None:
        """See whether ids that nobody knows were made by submits without an outcome."""
        for name in names:
            try:
                await self._look_for(name)
            except (ConfigError, RefusedError, NotFinishedError) as error:
                # NotFinishedError: its submit is still at work, and will know the id.
                self.say(f"{name}: {error.message}")
                self._again(name)

    async def _look_for(self, name: str) -> None:
        lost = list(self.recorder.ledger.unsettled())
        self._endpoints = None if lost else self._endpoints
        groups = self._known_endpoints().grouped(lost, lambda *_: None)
        places = [settings for settings, _ in groups]
        if self.adopt and self.own is not None:
            places.append(self.own)
        unheard = False
        asked: set[str] = set()
        for settings in places:
            if settings.identity in asked:
                continue
            asked.add(settings.identity)
            async with self._known_endpoints().open(settings) as api:
                answer = await api.retrieve(name)
                if isinstance(answer, Fault):
                    unheard = unheard or answer.kind is not FaultKind.GONE
                    continue
                key = answer.reading.key
                before = self._lost(key, settings)
                job: Job | None = None
                if before is not None:
                    answer = await whole(api, before, name, answer)
                    job = claimed(api, self.recorder, name, answer, self.say)
                elif self.adopt and settings is self.own:
                    before = self.recorder.ledger.adopt(draft_of(name, settings))
                    job = self.recorder.heard(before, answer, settings.dialect)
            if before is not None and job is not None:
                await self._settled(name, before, job)
                return
        if unheard:
            self._again(name)
            return
        self.ignored += 1
        self._finish(name)

    def _lost(self, key: str | None, settings: Settings) -> Job | None:
        """Return the submit without an outcome that a key names, made at that endpoint.

        Another endpoint may say any key.
        """
        if key is None or not is_key(key):
            return None
        job = self.recorder.ledger.by_key(key)
        here = job is not None and job.base_url == settings.base_url
        return job if here and job is not None and job.status.is_unsettled else None

    async def _settled(self, name: str, before: Job, job: Job) -> None:
        if job.status.is_open:
            self.tell(before, job)
            self._again(name, looked=True)
        else:
            await self._ended(name, before, job)

    async def _ended(self, name: str, before: Job, job: Job) -> None:
        told = self.tell(before, job)
        if told is not None:
            await told
        self._finish(name)

    def _is_settled(self, job: Job, kind: str) -> bool:
        """Say whether a delivery has no news: its end is known, and the answer here."""
        owes = self.recorder.answers.owes(job)
        return job.status is _ENDS.get(kind) and not owes

    def _again(self, name: str, *, looked: bool = False) -> None:
        """Let a job be asked about later; one that stays open is the slow poll's."""
        waiting = self._waiting[name]
        waiting.looks += 1
        if looked and waiting.looks >= _LOOKS:
            self._finish(name)
            return
        if not looked:
            self._endpoints = None  # a key may have been changed
        pause = min(_FIRST_WAIT * 2 ** (waiting.looks - 1), _LONGEST_WAIT)
        waiting.due = self.clock() + pause

    def _finish(self, name: str) -> None:
        """Count as dealt with what had come when the job was asked about."""
        self._said = None
        waiting = self._waiting[name]
        done = set(waiting.asked)
        waiting.ids -= done
        if waiting.ids:
            waiting.due, waiting.looks = self.clock(), 0
        else:
            del self._waiting[name]
        self.finish(done)
