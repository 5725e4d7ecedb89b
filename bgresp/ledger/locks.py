"""Locks that die with their process: the journal's, and one a submit in flight.

Kernel locks only, no pid files: a crash leaves none behind.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgresp.core.errors import LedgerError, NotFinishedError
from bgresp.ledger.files import PRIVATE_FILE, blamed

if TYPE_CHECKING:
    from filelock import BaseFileLock

WAIT: Final = 10.0
POLL: Final = 0.004
ANSWER: Final = 5.0  # seconds for a file system to say anything of a lock
# By their devices: file systems that answered this process, and those that did not.
_ANSWERED: Final[dict[int, bool]] = {}


def prove(path: Path) -> None:
    """Ask a file's system for a lock on it, so that a wait for ever is met here.

    Where it has none to give, that is told by who needs it. Raises LedgerError.
    """

    def ask() -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pass  # an answer all the same
        finally:
            os.close(fd)

    if path.exists():
        _answered(path, ask, ANSWER)


def _acquire(lock: "BaseFileLock", path: Path, wait: float) -> None:
    """Take a lock; raises what filelock does, and LedgerError where nothing answers.

    One that comes too late is given back.
    """
    _answered(path, lock.acquire, wait + ANSWER, too_late=lock.release)


def _answered(
    path: Path,
    ask: Callable[[], object],
    patience: float,
    *,
    too_late: Callable[[], object] = lambda: None,
) -> None:
    """Ask for a lock, and for the first one of a file system in a thread.

    `too_late` is called, in that thread, where the answer comes after we gave up.

    On NFS whose lock service is gone flock never returns, not even with LOCK_NB, and
    no handler of a signal runs meanwhile; a thread that waits there ends with us.
    """
    device = path.parent.stat().st_dev
    if _ANSWERED.get(device):
        ask()
        return
    raised: list[BaseException] = []
    came: list[bool] = []  # in time, or not: who is first to say so decides
    turn = threading.Lock()

    def run() -> None:
        try:
            ask()
        except BaseException as error:  # noqa: BLE001  raised again below
            raised.append(error)
        with turn:
            came.append(True)
        if not came[0] and not raised:
            too_late()
        _ANSWERED[device] = True

    if device not in _ANSWERED:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(patience)
    with turn:
        came.append(False)
    if not came[0]:
        _ANSWERED.setdefault(device, False)
        raise LedgerError(
            f"the file system does not answer for a lock on {path}: "
            "is it NFS without its lock service?",
            hint="export BGRESP_STATE_DIR=FOLDER, one on a local disk",
        )
    if raised:
        raise raised[0]


def _lock(path: Path, wait: float) -> "BaseFileLock":
    from filelock import UnixFileLock

    return UnixFileLock(
        path,
        timeout=wait,
        mode=PRIVATE_FILE,
        poll_interval=POLL,
        fallback_to_soft=False,
        thread_local=False,  # one thread may take it for another
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
            _acquire(lock, path, wait)
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
    import hashlib  # most commands claim nothing

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
            _acquire(lock, path, wait)
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
        _acquire(lock, path, 0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
