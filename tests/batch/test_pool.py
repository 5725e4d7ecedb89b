"""How the rows at work end: nobody waits for room that will never be."""

import asyncio

from bgresp.batch.rows import WorkerPool
from tests.virtualclock import run_virtual


def test_who_waits_for_room_is_let_go_when_all_stops() -> None:
    """A row waits for ever for one that is left as it is."""

    async def main() -> bool:
        pool = WorkerPool(1)
        await pool.acquire()  # by a row that is followed no longer, and never leaves
        waiting = [pool.start(pool.acquire()) for _ in range(1)]
        await asyncio.sleep(1)
        pool.stop()
        await pool.wait()
        return all(task.done() for task in waiting)

    assert run_virtual(main())
