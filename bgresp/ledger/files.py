"""Files that survive a crash: private, synced, replaced whole.

Every call that can fail raises LedgerError with the path and the reason.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError

PRIVATE_FILE: Final = 0o600
PRIVATE_DIR: Final = 0o700
PUBLIC_FILE: Final = 0o666  # less the umask, as every program does
HINT: Final = "bgresp doctor (BGRESP_STATE_DIR chooses another folder)"
# What a file system answers that has no F_FULLFSYNC, as SMB and NFS on macOS.
_NO_FULL_SYNC: Final = {errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}


@contextmanager
def blamed(path: Path, verb: str) -> Iterator[None]:
    """Turn an OSError into a LedgerError that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LedgerError(f"cannot {verb} {path}: {reason}", hint=HINT) from error


def make_private(folder: Path) -> None:
    """Create a folder for us alone; tighten one that is ours."""
    with blamed(folder, "create"):
        folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(PRIVATE_DIR)


def open_append(path: Path) -> int:
    """Open a regular file of ours to read and append; create it private.

    Raises LedgerError where it is something else: never replaced, never followed.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with blamed(path, "open"):
        fd = os.open(path, flags | os.O_NONBLOCK, PRIVATE_FILE)
        try:
            _check(fd, path)
        except BaseException:
            os.close(fd)
            raise
    return fd


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; OSError as the system gave it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync(fd: int) -> None:
    """Make a file durable, or the names in a folder; OSError as the system gave it.

    On macOS fsync ends at the disk's own cache, and only F_FULLFSYNC goes beyond.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(fd, full)
        except OSError as error:
            if error.errno not in _NO_FULL_SYNC:
                raise  # a second sync could lie
        else:
            return
    os.fsync(fd)


def sync_data(fd: int) -> None:
    """Make the bytes that were appended durable; cheaper than sync where it can be."""
    if hasattr(os, "fdatasync"):  # macOS has none
        os.fdatasync(fd)
    else:
        sync(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a whole private file: temp, sync, rename, sync the folder."""
    with blamed(path, "write"):
        write_whole(path, [data], prefix=".tmp-", durable=durable)
        if durable:
            sync_folder(path.parent)


def write_whole(
    path: Path,
    pieces: Iterable[bytes],
    *,
    prefix: str = ".bgresp-",
    durable: bool = True,
    exclusive: bool = False,
    mode: int = PRIVATE_FILE,
) -> None:
    """Write a file whole or not at all: temp, sync, rename.

    A file that is not private (PUBLIC_FILE, less the umask) keeps the mode it had.

    Raises OSError; FileExistsError where the file is `exclusive` and the name taken: a
    link is as much in the way as a file.
    """
    temp = path.parent / f"{prefix}{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temp, flags, mode)
    try:
        try:
            if mode != PRIVATE_FILE:
                _keep_mode(fd, path)
            for piece in pieces:
                write_all(fd, piece)
            if durable:
                sync(fd)
        finally:
            os.close(fd)
        if exclusive:
            os.link(temp, path)
            temp.unlink()
        else:
            temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def _keep_mode(fd: int, path: Path) -> None:
    """Give a file the mode of the one that it replaces, where that is a file."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            os.fchmod(fd, stat.S_IMODE(found.st_mode) & 0o777)


def read(path: Path) -> bytes | None:
    """Return a file's bytes; None when there is no such file."""
    with blamed(path, "read"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _check(fd: int, path: Path) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise LedgerError(f"{path} is not a regular file", hint=HINT)
    is_trusted = os.getuid() == 0 or os.environ.get("BGRESP_TRUST_STATE_DIR") == "1"
    if found.st_uid != os.getuid() and not is_trusted:
        raise LedgerError(f"{path} belongs to another user", hint=HINT)
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.fchmod(fd, PRIVATE_FILE)
