"""An event loop whose time jumps to the next timer: tests of waiting never wait.

Nothing ready and no timer is a deadlock and raises, unless real I/O or a thread of the
executor is still at work. Real I/O gets `patience` real seconds before time jumps.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Args = TypeVarTuple("Args")
_PATIENCE = 1.0


class _Selector(selectors.DefaultSelector):
    """Select as ever, but report the time not waited to `skip`."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.patience = patience
        self.threads = 0
        self.skip: Callable[[float], None] = lambda _: None

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for real work only; else let the virtual time pass."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.threads:
            return super().select(None)
        # One descriptor is the loop's own: the pipe by which threads wake it.
        if len(self.get_map()) > 1:
            ready = super().select(None if timeout is None else self.patience)
        elif timeout is None:
            raise RuntimeError("deadlock: nothing is ready and no timer is set")
        if not ready and timeout is not None:
            self.skip(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that starts at time 0 and never sleeps where it can jump."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        """Take the real seconds that pending I/O may use before time jumps."""
        self._now = 0.0
        self._jumping = _Selector(patience)
        super().__init__(self._jumping)
        self._jumping.skip = self.advance

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so much virtual time pass at once."""
        self._now += seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Args], Result], *args: *Args
    ) -> asyncio.Future[Result]:
        """Run in a thread, during which time stands still."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncio's signature since 3.12
    ) -> None:
        """Join the executor's threads, during which time stands still."""
        self._jumping.threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jumping.threads -= 1

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1


def run_virtual(
    work: Coroutine[Any, Any, Result], *, patience: float = _PATIENCE
) -> Result:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(patience)) as runner:
        return runner.run(work)
