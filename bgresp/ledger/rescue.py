"""The last resort: an accepted job that the ledger cannot take is kept elsewhere.

`doctor --fix` brings it home.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bgresp.core.model import Job
from bgresp.ledger import files

BALLAST: Final = "ballast"
BALLAST_BYTES: Final = 64 * 1024
STATE: Final = "rescued_from"
PREFIX: Final = "bgresp-rescue-"


def keep_ballast(state: Path) -> None:
    """Have 64 KiB to give away when the disk is full.

    Raises LedgerError: then the disk is full already, and nothing may be sent.
    """
    path = state / BALLAST
    try:
        if path.stat().st_size >= BALLAST_BYTES:
            return
    except OSError:
        pass
    files.replace(path, os.urandom(BALLAST_BYTES), durable=False)


def release_ballast(state: Path) -> None:
    """Give the ballast's room to the record that needs it."""
    path = state / BALLAST
    with files.blamed(path, "release"):
        os.truncate(path, 0)


def folder(environ: Mapping[str, str]) -> Path:
    """Return where rescue files lie: the run-time folder, else the temporary one."""
    return Path(environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


def write(job: Job, environ: Mapping[str, str], state: Path) -> Path:
    """Write a job's record to a private file of its own; never over another.

    It says which state folder it belongs to.

    Raises LedgerError.
    """
    path = folder(environ) / f"{PREFIX}{job.key}.json"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    line = {**job.to_line(), STATE: str(state)}
    data = json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n"
    with files.blamed(path, "write"):
        fd = os.open(path, flags, files.PRIVATE_FILE)
        try:
            files.write_all(fd, data)
            files.sync(fd)
        finally:
            os.close(fd)
    return path


def found(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield rescue files that are ours."""
    try:
        paths = sorted(folder(environ).glob(f"{PREFIX}*.json"))
    except OSError:
        return
    for path in paths:
        try:
            ours = path.lstat().st_uid == os.getuid()
        except OSError:
            continue
        if ours and path.is_file() and not path.is_symlink():
            yield path
