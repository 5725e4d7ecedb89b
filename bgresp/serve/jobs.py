"""What the endpoint does with jobs: takes them in, has them run, ends them.

Knows the store, the workers and an engine, not HTTP. Time comes from its clock.
"""

import asyncio
import errno
import hashlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final

from bgresp.serve import wire
from bgresp.serve.engines import Engine, EngineError, Outcome, Work
from bgresp.serve.job import Clock, Job, Workers
from bgresp.serve.store import DamagedError, Entry, Event, Store, numbered
from bgresp.serve.webhooks import WebhookOptions, WebhookSender
from bgresp.serve.wire import (
    LAST_EVENTS,
    OPEN,
    Json,
    RefusalError,
    dumps,
    invalid,
    items,
    not_found,
    reference,
)

RETENTION: Final = 24 * 3600.0
UNSTORED: Final = 600.0  # as OpenAI keeps a background response with store=false
MAX_RUN: Final = 30 * 60.0
DISK: Final = 8 * 1024**3
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: the tenant, and the key that makes a retry harmless."""

    tenant: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a result is kept after its end, how long a job may run (seconds).

    `disk` is how many bytes all jobs may take. With `rerun` a job that ran when an
    earlier process died runs again, instead of having failed.
    """

    retention: float = RETENTION
    max_run: float = MAX_RUN
    disk: int = DISK
    rerun: bool = False


class JobQueue:
    """All the jobs of one endpoint, and the engine that runs them."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        *,
        engine: Engine,
        clock: Clock,
        limits: Limits,
        webhooks: WebhookSender | None = None,
    ) -> None:
        """Put together; `open` reads the store."""
        self._store = store
        self._workers = workers
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._webhooks = webhooks or WebhookSender(WebhookOptions(), store, clock)
        self._jobs: dict[str, Job] = {}
        self._creating: dict[tuple[str, str], asyncio.Task[Entry]] = {}
        self._coming = 0
        self._closing = False

    @property
    def idle(self) -> bool:
        """Say whether no job is queued or running, and nobody is to be told of one."""
        return self._workers.idle and not self._coming and self._webhooks.idle

    @property
    def running(self) -> bool:
        """Say whether a job runs."""
        return any(True for _ in self._workers.running())

    def open(self) -> None:
        """Load the store: what waited waits again, what ran has failed or waits."""
        self._store.load()
        for entry in self._store:
            if entry.ended is None:
                self._recover(entry)
            elif self._store.is_owed(entry.id):
                self._webhooks.ended(entry, str(self._stored(entry)["status"]))

    async def tell(self) -> None:
        """Send the webhooks of jobs that end, for ever."""
        await self._webhooks.run()

    def start(self) -> None:
        """Begin to run jobs; needs a running event loop."""
        self._workers.start(self._run)

    def stop_accepting(self) -> None:
        """Take no new job and begin none; what runs goes on."""
        self._closing = True
        self._workers.pause()

    async def close(self) -> None:
        """End what runs as interrupted; background jobs that wait are kept waiting."""
        self.stop_accepting()
        for job in self._jobs.values():
            if job.entry.background and job.response["status"] == "queued":
                if job.log is not None:
                    job.log.close()
                continue
            self._attempt(job, partial(_interrupt, job))
            self._workers.drop(job)
        await self._workers.drain()

    async def create(self, request: Json, caller: Caller) -> Entry:
        """Accept a job, or return the one that this idempotency key stands for.

        It is on disk then. Raises RefusalError.
        """
        key = caller.idempotency_key
        if key is None:
            return await self._accept(request, caller)
        slot = (caller.tenant, key)
        while (other := self._creating.get(slot)) is not None:
            await asyncio.wait({other})
        known = self._known(caller)
        if known is not None:
            if known.digest not in {None, _digest(request)}:
                raise RefusalError(wire.key_reused())
            return known
        task = asyncio.ensure_future(self._accept(request, caller))
        self._creating[slot] = task
        task.add_done_callback(lambda _: self._creating.pop(slot))
        return await asyncio.shield(task)

    def find(self, job_id: str, tenant: str | None) -> Entry:
        """Return the entry of a tenant's job, or of anyone's, or refuse."""
        entry = self._store.get(job_id)
        if entry is None or not self._shows(entry, tenant):
            raise RefusalError(not_found(job_id))
        return entry

    def entries(self, tenant: str | None) -> list[Entry]:
        """Return a tenant's stored jobs, or those of all, oldest first."""
        shown = (entry for entry in self._store if self._shows(entry, tenant))
        return [entry for entry in shown if entry.stored]

    def response(self, entry: Entry) -> Json:
        """Return the Response object as it is now."""
        job = self._jobs.get(entry.id)
        if job is not None:
            return job.response
        try:
            return self._stored(entry)
        except FileNotFoundError:
            raise RefusalError(not_found(entry.id)) from None

    def growing(self, entry: Entry) -> tuple[str, int] | None:
        """Return an open job's text so far and its pieces' count; None if it ended."""
        job = self._jobs.get(entry.id)
        return None if job is None or job.ended.is_set() else job.growing()

    def now(self) -> float:
        """Return the time as the jobs' own times are told, in Unix seconds."""
        return self._clock()

    def request(self, entry: Entry) -> Json:
        """Return the body that created a job, or refuse."""
        try:
            return self._store.request(entry.id)
        except (FileNotFoundError, DamagedError):
            raise RefusalError(not_found(entry.id)) from None

    async def models(self) -> list[str]:
        """Return the names of the engine's models. Raises EngineError."""
        return await self._engine.models()

    def follow(self, entry: Entry, after: int) -> AsyncIterator[Event | None]:
        """Yield a streamable job's events above `after`, then those to come."""
        job = self._jobs.get(entry.id)
        if job is None or job.log is None:
            return self._replay(entry, after)
        return job.log.follow(after)

    async def settled(self, entry: Entry) -> None:
        """Wait until a job has ended."""
        job = self._jobs.get(entry.id)
        if job is not None:
            await job.ended.wait()

    def cancel(self, entry: Entry) -> None:
        """Cancel a job if it is open."""
        job = self._jobs.get(entry.id)
        if job is not None:
            self._attempt(job, job.cancel)
            self._workers.drop(job)

    def delete(self, entry: Entry) -> None:
        """Cancel a job if it is open, then drop it for good."""
        self.cancel(entry)
        self._jobs.pop(entry.id, None)
        self._store.forget(entry.id)

    def leave(self, entry: Entry) -> None:
        """Let go of a synchronous job: its connection is all that keeps it alive."""
        self.cancel(entry)
        if not entry.stored and self._store.get(entry.id) is not None:
            self.delete(entry)

    def sweep(self) -> None:
        """End the jobs that ran too long and drop what need not be kept."""
        now = self._clock()
        for job in self._workers.running():
            self._store.measure(job.id)
            if job.started is not None and now - job.started > self._limits.max_run:
                limit = f"{self._limits.max_run:g} seconds"
                told = f"The response ran longer than {limit}."
                self._attempt(job, partial(job.fail, "max_run_exceeded", told))
                self._workers.drop(job)
        for job in self._jobs.values():
            if job.ended.is_set() and not job.saved:
                self._attempt(job, job.save, quiet=True)
        self._jobs = {key: job for key, job in self._jobs.items() if not job.saved}
        for entry in self._store:
            if self._expired(entry):
                self._store.forget(entry.id)

    async def _accept(self, request: Json, caller: Caller) -> Entry:
        if self._closing:
            raise RefusalError(wire.stopping())
        self._check_previous(request, caller.tenant)
        self._workers.make_room(self._coming)
        if self._store.size >= self._limits.disk:
            raise RefusalError(wire.storage_full())
        entry = self._entry(request, caller)
        request, notice = self._webhooks.options.taken(request)
        request = await self._resolved(request, caller.tenant)
        name = self._engine.name
        response = wire.response(entry.id, request, entry.created, name)
        job = self._job(entry, response)
        self._coming += 1
        try:
            # In a thread: a sync takes as long as the disk likes, and others stream.
            await asyncio.to_thread(
                self._store.write_new, entry, request, response, notice
            )
            job.open()
        except OSError as error:
            self._store.discard(entry.id)
            if error.errno not in _FULL:
                raise
            raise RefusalError(wire.storage_full()) from None
        finally:
            self._coming -= 1
        self._store.index(entry)
        self._store.measure(entry.id)
        self._jobs[entry.id] = job
        self._workers.put(job)
        return entry

    async def _run(self, job: Job) -> None:
        """Let the engine answer a job; whatever becomes of it, the job has ended."""
        try:
            job.start()
            async with aclosing(self._engine.run(await self._work(job))) as told:  # type: ignore[type-var]
                async for piece in told:
                    if isinstance(piece, Outcome):
                        job.finish(piece)
                        return
                    job.add(piece)
            job.fail("server_error", "The engine ended without an outcome.")
        except EngineError as error:
            self._attempt(job, partial(job.fail, error.code, str(error)))
        except OSError as error:
            reason = error.strerror or str(error)
            if job.ended.is_set():
                _complain(job, error)
            told_why = f"The answer could not be written down: {reason}."
            self._attempt(job, partial(job.fail, "storage_failed", told_why))
        except Exception as error:  # noqa: BLE001 # whatever it was, the job has ended
            message = f"The engine failed: {error!r}"
            self._attempt(job, partial(job.fail, "server_error", message))

    async def _work(self, job: Job) -> Work:
        """Return what the engine is asked: the conversation before, then the request.

        Raises EngineError.
        """
        try:
            request = self._store.request(job.id)
            before = await self._conversation(request, job.entry.tenant)
        except (FileNotFoundError, DamagedError):
            message = "The stored request cannot be read any more."
            raise EngineError("record_damaged", message) from None
        new = items(job.id, request)
        return Work(job.id, request, [*before, *new], new=len(before))

    async def _conversation(self, request: Json, tenant: str) -> list[Json]:
        """Return the items of the responses that a request continues, oldest first."""
        turns: list[list[Json]] = []
        while (previous := request.get("previous_response_id")) is not None:
            entry = self._store.get(previous)
            if entry is None or not self._shows(entry, tenant):
                message = f"The previous response '{previous}' is gone."
                raise EngineError("previous_response_not_found", message)
            await self.settled(entry)  # it was before us in the queue
            request = self._store.request(entry.id)
            answered = self.response(entry).get("output") or []
            turns.append([*items(entry.id, request), *answered])
        return [item for turn in reversed(turns) for item in turn]

    def _recover(self, entry: Entry) -> None:
        """Take up a job that an earlier process left open."""
        response = self._stored(entry)
        job = self._job(entry, response)
        # Should it not reach the disk, it has failed in memory at least.
        self._jobs[entry.id] = job
        self._attempt(job, job.reopen)
        waited = response["status"] == "queued"
        if not entry.background or not (waited or self._limits.rerun):
            self._attempt(job, partial(_interrupt, job))
            return
        if not waited:
            self._attempt(job, job.requeue)
        self._workers.put(job)

    def _attempt(
        self, job: Job, change: Callable[[], None], *, quiet: bool = False
    ) -> None:
        """Change a job; a disk that refuses it is told of, and costs nothing else."""
        try:
            change()
        except OSError as error:
            if not quiet:
                _complain(job, error)

    async def _replay(self, entry: Entry, after: int) -> AsyncIterator[Event | None]:
        """Yield the events of a job that has ended; the last is its end in any case."""
        last, kind = after, ""
        count = 0
        for number, event in self._store.events(entry.id, -1):
            count, kind = number + 1, event.type
            if number > last:
                yield event
        if kind not in LAST_EVENTS:
            # A crash or a full disk kept the last event from the log, not the record.
            response = self.response(entry)
            if response["status"] not in OPEN and count > after:
                yield numbered(wire.lifecycle(response["status"], response), count)

    def _stored(self, entry: Entry) -> Json:
        try:
            return self._store.response(entry.id)
        except DamagedError:
            background = entry.background
            return wire.damaged(entry.id, entry.created, background=background)

    def _known(self, caller: Caller) -> Entry | None:
        if caller.idempotency_key is None:
            return None
        entry = self._store.by_key(caller.tenant, caller.idempotency_key)
        return None if entry is None or self._expired(entry) else entry

    def _check_previous(self, request: Json, tenant: str) -> None:
        """Refuse a conversation with a missing link."""
        found = request
        while (previous := found.get("previous_response_id")) is not None:
            try:
                found = self.request(self.find(previous, tenant))
            except RefusalError:
                message = f"Previous response with id '{previous}' not found."
                param, code = "previous_response_id", "previous_response_not_found"
                raise RefusalError(invalid(message, param, code)) from None

    async def _resolved(self, request: Json, tenant: str) -> Json:
        """Return a request with the items that its input refers to by their ids.

        They are copied: what they come from may be deleted while this job waits.
        """
        given = request["input"]
        if isinstance(given, str) or not any(reference(item) for item in given):
            return request
        named = [name for item in given if (name := reference(item)) is not None]
        sources = [entry for entry in self._store if self._shows(entry, tenant)]
        found = await asyncio.to_thread(self._items_named, set(named), sources)
        for name in named:
            if name not in found:
                raise RefusalError(wire.no_item(name))
        whole = [found[name] if (name := reference(i)) else i for i in given]
        return {**request, "input": whole}

    def _items_named(self, names: set[str], sources: list[Entry]) -> dict[str, Json]:
        """Look for items by their ids, in the newest jobs first; any thread may."""
        found: dict[str, Json] = {}
        for entry in reversed(sources):
            if names <= found.keys():
                break
            try:
                candidates = items(entry.id, self.request(entry))
                candidates += self.response(entry).get("output") or []
            except RefusalError:
                continue  # it went meanwhile
            found |= {i["id"]: i for i in candidates if i.get("id") in names}
        return found

    def _entry(self, request: Json, caller: Caller) -> Entry:
        return Entry(
            id=f"resp_{secrets.token_hex(16)}",
            tenant=caller.tenant,
            created=self._clock(),
            background=bool(request.get("background")),
            streamable=bool(request.get("stream")),
            stored=request.get("store") is not False,
            idempotency_key=caller.idempotency_key,
            digest=_digest(request),
        )

    def _job(self, entry: Entry, response: Json) -> Job:
        return Job(
            entry,
            response,
            store=self._store,
            clock=self._clock,
            on_end=self._webhooks.ended,
        )

    def _shows(self, entry: Entry, tenant: str | None) -> bool:
        theirs = tenant is None or entry.tenant == tenant
        return theirs and not self._expired(entry)

    def _expired(self, entry: Entry) -> bool:
        if entry.ended is None:
            return False
        kept = self._limits.retention if entry.stored else UNSTORED
        return self._clock() - entry.ended > kept


def _digest(request: Json) -> str:
    return hashlib.sha256(dumps(request).encode("ascii")).hexdigest()


def _complain(job: Job, error: OSError) -> None:
    sys.stderr.write(f"{job.id}: {error}\n")


def _interrupt(job: Job) -> None:
    message = "The server stopped before the response was done."
    job.fail("server_restarted", message)
