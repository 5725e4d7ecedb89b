"""Run a coroutine so that Ctrl-C, SIGTERM and SIGHUP detach instead of killing.

The first signal cancels the main task, which keeps what is known; the process then
ends with 128 + the signal's number. Only `cancel` cancels a job.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final

from bgresp.cli.context import Context
from bgresp.ledger import files

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DetachedError(Exception):
    """A signal asked us to leave; the jobs go on."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


def run(context: Context, work: Coroutine[Any, Any, int]) -> int:
    """Run to the end and return the exit code.

    Raises DetachedError when a signal came first; stderr says then how to go on.
    Raises LedgerError where the state folder's file system answers for no lock.
    """

    async def whole() -> int:
        try:
            return await work
        finally:
            await context.drain_notices()

    # Here Ctrl-C is heard; in the loop it would wait as long as the lock does.
    try:
        files.prove(context.state / "README")
    except BaseException:
        work.close()
        raise
    try:
        return _run(whole())
    except DetachedError:
        if context.detached:
            context.say(f"detached; {context.detached}")
        raise


def _run(work: Coroutine[Any, Any, int]) -> int:
    received: list[int] = []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(work)

        def detach(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, detach, number)
        try:
            return await task
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    try:
        code = asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
        raise DetachedError(received[0]) from None
    if received:
        raise DetachedError(received[0])
    return code
