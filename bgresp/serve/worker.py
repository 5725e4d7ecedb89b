"""How many jobs run at once: the rest wait in order, and no more may wait."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial

from bgresp.serve.job import Job
from bgresp.serve.refusal import RefusalError, queue_full

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
