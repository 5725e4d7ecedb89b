"""One open job: its Response object, its events, and the ways it can end.

Each change is on disk before anyone sees it. So many run at once; the rest wait in
order, and no more may wait.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from bgresp.serve import wire
from bgresp.serve.engines import EngineError, Outcome
from bgresp.serve.output import Output
from bgresp.serve.store import Entry, EventLog, Store
from bgresp.serve.wire import Json, RefusalError, queue_full

Clock = Callable[[], float]
MOST: Final = 64 * 1024 * 1024  # characters of an answer: more has run away


class Job:
    """A job that is queued or in progress, until it ends, once."""

    def __init__(
        self,
        entry: Entry,
        response: Json,
        *,
        store: Store,
        clock: Clock,
        on_end: Callable[[Entry, str], None] | None = None,
    ) -> None:
        """Take up a job that is in the store; `on_end` is told how it ended."""
        self.id = entry.id
        self.entry = entry
        self.response = response
        self.log: EventLog | None = None
        self.started: float | None = None
        self.ended = asyncio.Event()
        self.saved = False
        self._store = store
        self._clock = clock
        self._on_end = on_end
        self._output = Output()

    def open(self) -> None:
        """Emit the first events of a new job. Raises OSError."""
        if self.entry.streamable:
            self.log = EventLog(self._store.events_path(self.id))
            self._emit(wire.opening(self.response))

    def reopen(self) -> None:
        """Take up the events that an earlier process left. Raises OSError."""
        if self.entry.streamable:
            self.log = EventLog(self._store.events_path(self.id))
            self._output = Output(self.log.payloads())
            if not len(self.log):
                self._emit(wire.opening(self.response))

    def growing(self) -> tuple[str, int]:
        """Return the text so far, and in how many pieces it came."""
        return self._output.text(), self._output.deltas

    def requeue(self) -> None:
        """Let a job wait again that ran when a process died. Raises OSError.

        Its events begin anew: numbers without a gap tell of one run. The old ones go
        before the record says `queued`, which would let them stand.
        """
        self._output = Output()
        if self.log is not None:
            self.log.clear()
        self.response = {**self.response, "status": "queued"}
        self._store.put(self.entry, self.response)
        self._emit(wire.opening(self.response))

    def start(self) -> None:
        """Go from queued to in progress. Raises OSError."""
        self.started = self._clock()
        self.response = {**self.response, "status": "in_progress"}
        self._store.put(self.entry, self.response)
        self._emit([wire.lifecycle("in_progress", self.response)])

    def add(self, events: Sequence[Json]) -> None:
        """Take events of output items from the engine.

        Raises OSError, and EngineError where the answer has no end.
        """
        if self.ended.is_set():
            return
        self._emit(events)
        if self._output.size > MOST:
            raise EngineError("answer_too_large", f"The answer is above {MOST} bytes.")

    def finish(self, outcome: Outcome) -> None:
        """End as completed, or incomplete when the engine stopped short."""
        reason = outcome.incomplete_reason
        self._end(
            "incomplete" if reason else "completed",
            **outcome.fields,
            output=outcome.output or self._output.items(),
            usage=wire.filled_usage(outcome.usage),
            incomplete_details={"reason": reason} if reason else None,
        )

    def fail(self, code: str, message: str) -> None:
        """End as failed; what output there is stays."""
        error = {"code": code, "message": message}
        self._end("failed", output=self._output.items(), error=error)

    def cancel(self) -> None:
        """End as cancelled; what output there is stays."""
        self._end("cancelled", output=self._output.items())

    def save(self) -> None:
        """Write the record of a job that has ended. Raises OSError."""
        self._store.put(self.entry, self.response)
        self.saved = True

    def _end(self, status: str, **fields: object) -> None:
        if self.ended.is_set():
            return
        now = self._clock()
        completed_at = int(now) if status == "completed" else None
        changed = {"status": status, "completed_at": completed_at, **fields}
        self.response = {**self.response, **changed}
        self.entry = replace(self.entry, ended=now)
        self.ended.set()
        # A full disk withholds no answer from those who wait: it is in memory, and
        # saved as soon as there is room (see `JobQueue.sweep`).
        try:
            self.save()
        finally:
            try:
                # OpenAI names no event for cancelled; this one is what MKA1 sends.
                if self.log is not None:
                    self.log.append_last(wire.lifecycle(status, self.response))
            finally:
                if self.log is not None:
                    self.log.close()
                if self._on_end is not None:
                    self._on_end(self.entry, status)

    def _emit(self, payloads: Sequence[Json]) -> None:
        if self.log is not None and payloads:
            self.log.append(*payloads)
        for payload in payloads:
            self._output.apply(payload)


Run = Callable[[Job], Coroutine[None, None, None]]


class Workers:
    """A bounded queue of jobs, so many of which run."""

    def __init__(self, *, count: int, limit: int) -> None:
        """Run at most `count` jobs at once and let at most `limit` wait."""
        self._count = count
        self._limit = limit
        self._run: Run | None = None
        self._waiting: dict[str, Job] = {}
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}

    @property
    def idle(self) -> bool:
        """Say whether no job waits or runs."""
        return not self._waiting and not self._running

    def running(self) -> Iterator[Job]:
        """Iterate over a copy of the running jobs."""
        return iter([job for job, _ in self._running.values()])

    def make_room(self, coming: int = 0) -> None:
        """Refuse if one more job could not wait, besides those that come."""
        if len(self._waiting) + coming >= self._limit:
            raise RefusalError(queue_full(self._limit))

    def start(self, run: Run) -> None:
        """Begin to run what waits and what comes."""
        self._run = run
        self._pump()

    def pause(self) -> None:
        """Begin no other job."""
        self._run = None

    def put(self, job: Job) -> None:
        """Let a job wait for its turn."""
        self._waiting[job.id] = job
        self._pump()

    def drop(self, job: Job) -> None:
        """Stop working on a job that has ended some other way."""
        self._waiting.pop(job.id, None)
        if job.id in self._running:
            self._running[job.id][1].cancel()

    async def drain(self) -> None:
        """Wait until every task that runs is gone."""
        tasks = [task for _, task in self._running.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pump(self) -> None:
        while self._run and self._waiting and len(self._running) < self._count:
            job = self._waiting.pop(next(iter(self._waiting)))
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._running[job.id] = (job, task)
            task.add_done_callback(partial(self._next, job.id))

    def _next(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self._running[job_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # The disk, most likely: the job has ended in memory at least.
            sys.stderr.write(f"{job_id}: {error!r}\n")
        self._pump()
