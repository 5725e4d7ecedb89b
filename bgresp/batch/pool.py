"""Rows at work, so many at once, and how their tasks end: in good order, or at once."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Work = Coroutine[Any, Any, None]


@dataclass(slots=True)
class WorkerPool:
    """Runs the work of at most `size` rows; `stopping` once none is to begin."""

    size: int
    stopping: bool = False
    error: BaseException | None = None
    _permits: asyncio.Semaphore = field(init=False)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _idle: set["asyncio.Task[Any] | None"] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make its permits."""
        self._permits = asyncio.Semaphore(self.size)

    async def acquire(self) -> None:
        """Wait for room for one row; once the pool is stopping there is no wait."""
        await self._permits.acquire()

    def release(self) -> None:
        """Make room: one row is over."""
        self._permits.release()

    def start(self, work: Work) -> "asyncio.Task[None]":
        """Start work; what it raises stops the pool."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Mark the running task as one that nothing is lost with.

        Raises CancelledError where the pool is stopping.
        """
        if self.stopping:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    def stop(self, error: BaseException | None = None) -> None:
        """Let nobody begin; idle tasks leave, the others finish what they do."""
        if not self.stopping:
            for _ in range(self.size):
                self._permits.release()  # for who waits: a row that is left is not over
        self.stopping = True
        self.error = self.error or error
        for task in self._idle:
            if task is not None:
                task.cancel()

    async def wait(self, but: "asyncio.Task[None] | None" = None) -> None:
        """Wait until nobody, or only the task `but`, is at work."""
        while left := self._tasks - {but}:
            await asyncio.wait(left)

    async def cancel_all(self) -> None:
        """Ask all to leave, and wait for them; when cancelled meanwhile, ask again."""
        self.stopping = True
        self._cancel()
        while self._tasks:
            try:
                await self.wait()
            except asyncio.CancelledError:
                self._cancel()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.stop(task.exception())
