"""Tasks at work on rows, so many at once, and how they end: in good order, or at once.

Imports nothing of ours.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Work = Coroutine[Any, Any, None]


@dataclass(slots=True)
class Crew:
    """At most `size` tasks; `stopping` once none is to begin."""

    size: int
    stopping: bool = False
    error: BaseException | None = None
    _room: asyncio.Semaphore = field(init=False)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _idle: set["asyncio.Task[Any] | None"] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make room."""
        self._room = asyncio.Semaphore(self.size)

    async def start(self, work: Work) -> None:
        """Start work as soon as there is room."""
        try:
            await self._room.acquire()
        except asyncio.CancelledError:
            work.close()
            raise
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Mark the running task as one that nothing is lost with."""
        task = asyncio.current_task()
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    def stop(self, error: BaseException | None = None) -> None:
        """Let nobody begin; idle tasks leave, the others finish what they do."""
        self.stopping = True
        self.error = self.error or error
        for task in self._idle:
            if task is not None:
                task.cancel()

    async def rest(self) -> None:
        """Wait until nobody is at work."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def leave(self) -> None:
        """Ask all to leave, and wait for them; when cancelled meanwhile, ask again."""
        self.stopping = True
        self._cancel()
        while self._tasks:
            try:
                await self.rest()
            except asyncio.CancelledError:
                self._cancel()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._room.release()
        if not task.cancelled() and task.exception() is not None:
            self.stop(task.exception())
