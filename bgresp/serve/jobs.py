"""What the endpoint does with jobs: takes them in, hands them out, ends them.

Knows the store and the workers, not HTTP. Time comes from its clock.
"""

import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from bgresp.serve import wire
from bgresp.serve.job import Clock, Job
from bgresp.serve.log import Event, replay
from bgresp.serve.refusal import RefusalError, invalid, not_found, stopping
from bgresp.serve.store import DamagedError, Entry, Store
from bgresp.serve.wire import Json
from bgresp.serve.worker import Workers

RETENTION = 24 * 3600.0
MAX_RUN = 30 * 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: the tenant, and the key that makes a retry harmless."""

    tenant: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a result is kept after its end, and how long a job may run."""

    retention: float = RETENTION
    max_run: float = MAX_RUN


class JobQueue:
    """All the jobs of one endpoint."""

    def __init__(
        self, store: Store, workers: Workers, *, clock: Clock, limits: Limits
    ) -> None:
        """Put together; `open` reads the store."""
        self._store = store
        self._workers = workers
        self._clock = clock
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._closing = False

    @property
    def idle(self) -> bool:
        """Say whether no job is queued or running."""
        return self._workers.idle

    def open(self) -> None:
        """Load the store; what an earlier process left open has failed."""
        self._store.load()
        for entry in self._store:
            if entry.ended is None:
                job = self._job(entry, self._stored(entry))
                # Should it not reach the disk, it has failed in memory at least.
                self._jobs[entry.id] = job
                for step in (job.reopen, partial(_interrupt, job)):
                    try:
                        step()
                    except OSError as error:
                        sys.stderr.write(f"{entry.id}: {error}\n")

    async def close(self) -> None:
        """End every open job as interrupted and wait for the workers."""
        self._closing = True
        for job in self._jobs.values():
            _interrupt(job)
            self._workers.drop(job)
        await self._workers.drain()

    def create(self, request: Json, caller: Caller) -> Entry:
        """Accept a job, or return the one this idempotency key stands for."""
        known = self._known(caller)
        if known is not None:
            return known
        if self._closing:
            raise RefusalError(stopping())
        self._check_previous(request, caller.tenant)
        self._workers.make_room()
        entry = self._entry(request, caller)
        response = wire.response(entry.id, request, entry.created)
        job = self._job(entry, response)
        job.open()
        self._store.add(entry, request, response)
        self._jobs[entry.id] = job
        self._workers.put(job)
        return entry

    def find(self, job_id: str, tenant: str | None) -> Entry:
        """Return the entry of a tenant's job, or of anyone's, or refuse."""
        entry = self._store.get(job_id)
        if entry is None or not self._shows(entry, tenant):
            raise RefusalError(not_found(job_id))
        return entry

    def entries(self, tenant: str | None) -> list[Entry]:
        """Return a tenant's jobs, or those of all, oldest first."""
        return [entry for entry in self._store if self._shows(entry, tenant)]

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

    def follow(self, entry: Entry, after: int) -> AsyncIterator[Event | None]:
        """Yield a streamable job's events above `after`, then those to come."""
        job = self._jobs.get(entry.id)
        if job is None or job.log is None:
            return replay(self._store.events(entry.id), after)
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
            job.cancel()
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
            if job.started is not None and now - job.started > self._limits.max_run:
                limit = f"{self._limits.max_run:g} seconds"
                job.fail("max_run_exceeded", f"The response ran longer than {limit}.")
                self._workers.drop(job)
        self._jobs = {key: job for key, job in self._jobs.items() if not job.saved}
        for entry in self._store:
            if self._expired(entry):
                self._store.forget(entry.id)

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
        previous = request.get("previous_response_id")
        if previous is None:
            return
        try:
            self.find(previous, tenant)
        except RefusalError:
            message = f"Previous response with id '{previous}' not found."
            param, code = "previous_response_id", "previous_response_not_found"
            raise RefusalError(invalid(message, param, code)) from None

    def _entry(self, request: Json, caller: Caller) -> Entry:
        return Entry(
            id=f"resp_{secrets.token_hex(16)}",
            tenant=caller.tenant,
            created=self._clock(),
            background=bool(request.get("background")),
            streamable=bool(request.get("stream")),
            stored=request.get("store") is not False,
            idempotency_key=caller.idempotency_key,
        )

    def _job(self, entry: Entry, response: Json) -> Job:
        return Job(entry, response, store=self._store, clock=self._clock)

    def _shows(self, entry: Entry, tenant: str | None) -> bool:
        theirs = tenant is None or entry.tenant == tenant
        return entry.stored and theirs and not self._expired(entry)

    def _expired(self, entry: Entry) -> bool:
        if entry.ended is None:
            return False
        return self._clock() - entry.ended > self._limits.retention


def _interrupt(job: Job) -> None:
    message = "The server stopped before the response was done."
    job.fail("server_restarted", message)
