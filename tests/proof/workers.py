"""What a warmed process's forks run besides commands: appends, readers, compactions."""

import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger


def append(state: str, worker: str, count: str, run_bytes: str, seal_bytes: str) -> int:
    """Append so many submissions through one ledger.

    Others may keep its lock for ten seconds where many share a slow machine: then
    nothing was written, and it is done again.
    """
    sizes = int(run_bytes), int(seal_bytes)
    ledger = Ledger(Path(state), run_bytes=sizes[0], seal_bytes=sizes[1])
    for number in range(int(count)):
        _insist(partial(_append, ledger, f"{worker}-{number}"))
        if number % 16 == 15:
            _insist(ledger.tend)
    return 0


def _append(ledger: Ledger, name: str) -> None:
    with ledger.submitting(Job(key="", name=name)):
        pass


def _insist(write: Callable[[], None]) -> None:
    while True:
        try:
            return write()
        except LedgerError as error:
            if "the ledger is busy" not in error.message:
                raise


def fill(state: str, count: str) -> int:
    """Put settled jobs into a ledger, and what their history leaves behind."""
    ledger = Ledger(Path(state), run_bytes=1 << 16)
    for number in range(int(count)):
        draft = Job(key="", name=f"old-{number}", submit_key=f"old-{number}")
        with ledger.submitting(draft) as job:
            pass
        job = ledger.record(job._replace(id=f"resp_o{number}", status=Status.QUEUED))
        ledger.record(job._replace(status=Status.COMPLETED))
    return 0


def read(state: str, old: str, times: str) -> int:
    """Look at everything, fresh and with a ledger kept open; nothing may be missing."""
    kept, most = Ledger(Path(state)), 0
    for turn in range(int(times)):
        for ledger in (kept, Ledger(Path(state))):
            number = turn * 7 % int(old)
            found = ledger.by_submit_key(f"old-{number}")
            if found is None or found.name != f"old-{number}":
                return _failed(f"old-{number} is {found}")
            count = sum(1 for _ in ledger.newest())
            if count < most or ledger.bad:
                return _failed(f"{count} of {most} jobs, bad {ledger.bad}")
            most = count
    return 0


def compact(state: str, times: str) -> int:
    """Compact again and again, leaving the lock to others in between."""
    pause = threading.Event()
    for _ in range(int(times)):
        Ledger(Path(state)).compact()
        pause.wait(0.5)
    return 0


def _failed(why: str) -> int:
    sys.stdout.write(f"{why}\n")
    sys.stdout.flush()
    return 1
