"""Locks that die with their process: the journal's, and one a submit in flight.

Kernel locks only, no pid files: a crash leaves none behind.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgresp.core.errors import LedgerError, NotFinishedError
from bgresp.ledger.files import PRIVATE_FILE, blamed

if TYPE_CHECKING:
    from filelock import BaseFileLock

WAIT: Final = 10.0
POLL: Final = 0.004


def _lock(path: Path, wait: float) -> "BaseFileLock":
    from filelock import UnixFileLock

    return UnixFileLock(
        path,
        timeout=wait,
        mode=PRIVATE_FILE,
        poll_interval=POLL,
        fallback_to_soft=False,
    )


@contextmanager
def held(path: Path, *, wait: float = WAIT) -> Iterator[None]:
    """Hold an exclusive lock while the block runs.

    Raises LedgerError when another process holds it too long, or when the file system
    has no locks.
    """
    from filelock import Timeout

    lock = _lock(path, wait)
    with blamed(path, "lock"):
        try:
            lock.acquire()
        except Timeout:
            raise LedgerError(
                f"the ledger is busy: {path} was held for {wait:.0f} s",
                hint="try again; bgresp doctor tells more",
            ) from None
    try:
        yield
    finally:
        lock.release()


def inflight_path(folder: Path, *, key: str, submit_key: str | None = None) -> Path:
    """Return the lock file of one submission; never built from a user's text."""
    if submit_key is None:
        return folder / f"{key}.lock"
    return claim_path(folder, f"key:{submit_key}")


def claim_path(folder: Path, name: str) -> Path:
    """Return the lock file of a claim: named by a digest of its name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return folder / f"c-{digest[:40]}.lock"


@contextmanager
def inflight(path: Path, *, wait: float) -> Iterator[None]:
    """Hold a submission's lock from its intent to its outcome; then drop the file.

    Raises NotFinishedError when another process is still submitting under it.
    """
    from filelock import Timeout

    lock = _lock(path, wait)
    with blamed(path, "lock"):
        try:
            lock.acquire()
        except Timeout:
            raise NotFinishedError(
                "another bgresp is submitting under the same key",
                hint="run the same command again",
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # a file that stays behind locks nothing
            path.unlink(missing_ok=True)
        lock.release()


def is_held(path: Path) -> bool:
    """Say whether a live process holds a submission's lock."""
    from filelock import Timeout

    if not path.exists():
        return False
    lock = _lock(path, 0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
