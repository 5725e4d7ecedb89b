"""Records that the ledger could not take when they were made: bring them home."""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job
from bgresp.engine.recorder import Recorder
from bgresp.ledger import rescue
from bgresp.ledger.files import blamed

MOST: Final = 1 << 20


def waiting(recorder: Recorder, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield rescue files of this ledger, wherever the process that wrote them looked.

    A cron job has no XDG_RUNTIME_DIR, and so wrote to the temporary folder. A file that
    cannot be read is ours until somebody has looked at it.
    """
    home = str(recorder.ledger.state)
    for path in dict.fromkeys((*rescue.found(environ), *rescue.found({}))):
        try:
            belongs = _line(path).get(rescue.STATE, home)
        except (LedgerError, OSError):
            belongs = home
        if belongs == home:
            yield path


def bring_home(recorder: Recorder, path: Path) -> Job:
    """Record what a rescue file says, then drop it; twice does no harm.

    Raises LedgerError; then the file stays.
    """
    with blamed(path, "read"):
        line = _line(path)
    line.pop(rescue.STATE, None)
    try:
        job = Job.from_line(line)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LedgerError(f"{path} is no record of a job") from None
    recorded = recorder.ledger.record(job)
    with blamed(path, "remove"):
        path.unlink(missing_ok=True)
    return recorded


def check_whole(recorder: Recorder, environ: Mapping[str, str] = os.environ) -> None:
    """Check that the ledger hides no submit; rescued records are brought home first.

    Raises LedgerError.
    """
    try:
        recorder.ledger.check_whole()
    except LedgerError:
        paths = list(waiting(recorder, environ))
        if not paths:
            raise
        for path in paths:
            bring_home(recorder, path)
        recorder.ledger.check_whole()


def _line(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise LedgerError(f"{path} is no record of a job") from None
    if not isinstance(found, dict):
        raise LedgerError(f"{path} is no record of a job")
    return found


def _read(path: Path) -> bytes:
    """Read a file of ours only: the temporary folder is everybody's."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(file.fileno())
        ours = found.st_uid == os.getuid() and stat.S_ISREG(found.st_mode)
        if not ours or found.st_size > MOST:
            raise LedgerError(f"{path} is not a small file of ours")
        return file.read(MOST)
