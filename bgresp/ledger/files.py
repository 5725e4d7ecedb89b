"""Files that survive a crash, locks that die with their process, and their folder.

Files are private, synced, replaced whole. Locks are the kernel's (the journal's, and
one a submit in flight), no pid files: a crash leaves none behind. Every call that can
fail raises LedgerError with the path and the reason. The state folder is private, and
explained to a stranger. An accepted job that the ledger cannot take is kept elsewhere:
`doctor --fix` brings it home.
"""

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bgresp.core.errors import ConfigError, LedgerError, NotFinishedError
from bgresp.core.model import Job

PRIVATE_FILE: Final = 0o600
PRIVATE_DIR: Final = 0o700
PUBLIC_FILE: Final = 0o666  # less the umask, as every program does
TRUST: Final = "BGRESP_TRUST_STATE_DIR"  # "1": whoever owns it
HINT: Final = "bgresp doctor; BGRESP_STATE_DIR chooses another folder"
# What a file system answers that has no F_FULLFSYNC, as SMB and NFS on macOS.
_NO_FULL_SYNC: Final = {errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}
README: Final = """\
This folder is the ledger of bgresp, a command-line tool for background jobs of model
endpoints. ledger.jsonl (and sealed/, older lines) has one JSON record a line, the last
one for a key holds; responses/ has the answers, requests/ what was asked. It may hold
private text. index/ is derived and may be deleted.
"""
FOLDERS: Final = ("responses", "requests", "progress", "inflight")
LOCK_WAIT: Final = 10.0
LOCK_POLL: Final = 0.004
LOCK_ANSWER: Final = 5.0  # seconds for a file system to say anything of a lock
# By their devices: file systems that answered this process, and those that did not.
_ANSWERED: Final[dict[int, bool]] = {}


class blamed:  # noqa: N801  no generator: each record enters a dozen
    """Turn an OSError of the block into a LedgerError that names the file."""

    __slots__ = ("path", "verb")

    def __init__(self, path: Path, verb: str) -> None:
        """Take the file, and what is done with it."""
        self.path = path
        self.verb = verb

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, _: object, error: BaseException | None, __: object
    ) -> Literal[False]:
        """Raise LedgerError for an OSError."""
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            said = f"cannot {self.verb} {self.path}: {reason}"
            raise LedgerError(said, hint=HINT) from error
        return False


def make_private(folder: Path) -> None:
    """Create a folder for us alone; tighten one that is ours."""
    with blamed(folder, "create"):
        folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(PRIVATE_DIR)


def open_append(path: Path, environ: Mapping[str, str] = os.environ) -> int:
    """Open a regular file of ours to read and append; create it private.

    Raises LedgerError where it is something else: never replaced, never followed.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with blamed(path, "open"):
        fd = os.open(path, flags | os.O_NONBLOCK, PRIVATE_FILE)
        try:
            _check(fd, path, trusts=environ.get(TRUST) == "1")
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


def sync_path(path: Path) -> None:
    """Make a file durable that was written and closed; one that is gone needs none.

    Raises LedgerError.
    """
    with blamed(path, "sync"), suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            sync(fd)
        finally:
            os.close(fd)


class Unsynced(NamedTuple):
    """A file of ours that was written, and is open until it is placed or dropped.

    It lies under the name `written` until it is on disk.
    """

    fd: int
    written: str
    path: Path

    def begin_sync(self) -> None:
        """Let it be written out, so that of many the syncs wait together.

        Sixteen that were told so are synced in a third of the time.
        """
        if hasattr(os, "posix_fadvise"):  # macOS has none
            with suppress(OSError):
                os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def place(self) -> None:
        """Make it durable, close it, and give it its name; the folder is not synced.

        Raises LedgerError.
        """
        with blamed(self.path, "write"):
            try:
                sync(self.fd)
                if self.written != str(self.path):
                    os.replace(self.written, self.path)  # noqa: PTH105  once a job
            except BaseException:
                self.drop()
                raise
            os.close(self.fd)

    def drop(self) -> None:
        """Close it; it goes, unless it has its name: a record may speak of it."""
        os.close(self.fd)
        if self.written != str(self.path):
            with suppress(OSError):
                os.unlink(self.written)  # noqa: PTH108


def write_unsynced(path: Path, data: bytes, *, is_new: bool) -> Unsynced:
    """Write a private file that is synced later, with others.

    One `is_new` where nobody looks for it yet: it has its name at once. Raises
    LedgerError.
    """
    written = str(path)
    if not is_new:
        written = f"{path.parent}/.tmp-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with blamed(path, "write"):
        found = Unsynced(os.open(written, flags, PRIVATE_FILE), written, path)
        try:
            write_all(found.fd, data)
        except BaseException:
            os.close(found.fd)
            os.unlink(written)  # noqa: PTH108
            raise
    return found


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
    """Write a file whole or not at all: see `writing`."""
    with writing(
        path, prefix=prefix, durable=durable, exclusive=exclusive, mode=mode
    ) as write:
        for piece in pieces:
            write(piece)


@contextmanager
def writing(
    path: Path,
    *,
    prefix: str = ".bgresp-",
    durable: bool = True,
    exclusive: bool = False,
    mode: int = PRIVATE_FILE,
) -> Iterator[Callable[[bytes], None]]:
    """Yield what takes a file's pieces; it is there at the end, whole, or not at all.

    Temp, sync, rename. A file that is not private (PUBLIC_FILE, less the umask) keeps
    the mode it had.

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
            yield partial(write_all, fd)
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


def _check(fd: int, path: Path, *, trusts: bool) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise LedgerError(f"{path} is not a regular file", hint=HINT)
    if found.st_uid != os.getuid() and os.getuid() != 0 and not trusts:
        raise LedgerError(f"{path} belongs to another user", hint=HINT)
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.fchmod(fd, PRIVATE_FILE)


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
        _answered(path, ask, LOCK_ANSWER)


def _acquire(path: Path, wait: float) -> int:
    """Take a lock; return the descriptor that holds it, for `_release`.

    Raises TimeoutError, other OSErrors, and LedgerError where nothing answers: one that
    comes too late is given back.
    """
    taken: list[int] = []
    _answered(
        path,
        lambda: taken.append(_locked(path, wait)),
        wait + LOCK_ANSWER,
        too_late=lambda: _release(taken.pop()),
    )
    return taken[0]


def _release(lock: int) -> None:
    """Give a lock back, also where a fork of ours has inherited its descriptor."""
    with suppress(OSError):  # what the lock guarded is done
        fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _locked(path: Path, wait: float) -> int:
    """Wait so many seconds for a lock on the file that has a name, made if need be.

    A kernel's lock, which dies with us. It counts only while the file has the name:
    who held it before may have removed it. Raises TimeoutError, other OSErrors.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    until = time.monotonic() + wait
    while True:
        fd = os.open(path, flags, PRIVATE_FILE)
        is_free = False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
            if os.path.samestat(os.fstat(fd), path.lstat()):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        if not is_free:
            if time.monotonic() >= until:
                raise TimeoutError
            time.sleep(LOCK_POLL)


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
    import threading  # who only reads takes no lock

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


@contextmanager
def held(path: Path, *, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold an exclusive lock while the block runs.

    Raises LedgerError when another process holds it too long, or when the file system
    has no locks.
    """
    with blamed(path, "lock"):
        try:
            lock = _acquire(path, wait)
        except TimeoutError:
            raise LedgerError(
                f"the ledger is busy: {path} was held for {wait:.0f} s",
                hint="try again; bgresp doctor tells more",
            ) from None
    try:
        yield
    finally:
        _release(lock)


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
    with blamed(path, "lock"):
        try:
            lock = _acquire(path, wait)
        except TimeoutError:
            raise NotFinishedError(
                "another bgresp is submitting under the same key",
                hint="run the same command again",
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # a file that stays behind locks nothing
            path.unlink(missing_ok=True)
        _release(lock)


def is_held(path: Path) -> bool:
    """Say whether a live process holds a submission's lock."""
    if not path.exists():
        return False
    try:
        lock = _acquire(path, 0)
    except TimeoutError:
        return True
    except OSError:
        return False
    _release(lock)
    return False


SALT: Final = "salt"
_SALT_BYTES: Final = 32


def key_digest(state: Path, key: str) -> str | None:
    """Return 8 hex digits that stand for an API key in this state folder alone.

    Its secret salt never leaves it: who reads a line elsewhere can try no keys against
    it. None where the salt can be neither read nor made.
    """
    path = state / SALT
    try:
        salt = read(path)
        if salt is None:
            salt = os.urandom(_SALT_BYTES)
            make_private(state)
            write_whole(path, [salt], exclusive=True)
    except FileExistsError:  # another process made it just now
        return key_digest(state, key)
    except (OSError, LedgerError):
        return None
    import hmac  # who only reads the ledger digests no key

    return hmac.new(salt, key.encode(), "sha256").hexdigest()[:8]


BALLAST: Final = "ballast"
BALLAST_BYTES: Final = 64 * 1024
STATE: Final = "rescued_from"
PREFIX: Final = "bgresp-rescue-"


def vouched(state: Path, environ: Mapping[str, str], *, uid: int) -> list[str]:
    """Return what is to be said of whose a state folder is, before it is read.

    Who else may write it may have written the ledger. Ours is made private; root may
    read everybody's. Raises ConfigError for another user's unless TRUST is 1.
    """
    said = []
    for path in (state, state / "ledger.jsonl", state / "sealed"):
        try:
            found = path.stat()
        except OSError:
            continue  # none yet; what else it may be reading it tells
        if found.st_uid != uid:
            said.append(f"{path} belongs to another user")
            if environ.get(TRUST) != "1" and uid != 0:
                hint = f"BGRESP_STATE_DIR=FOLDER, or {TRUST}=1 to read it all the same"
                raise ConfigError(said[-1], hint=hint)
        elif path == state and stat.S_IMODE(found.st_mode) & 0o077:
            said.append(_tightened(state, found.st_mode, environ))
    return said


def _tightened(state: Path, mode: int, environ: Mapping[str, str]) -> str:
    """Make a folder of ours private; return what to say of it.

    Raises ConfigError where it cannot be, and others may write it.
    """
    how = "write" if mode & 0o022 else "read"
    said = f"others could {how} {state}"
    try:
        state.chmod(PRIVATE_DIR)
        with_it = state / "ledger.jsonl"
        if with_it.is_file() and not with_it.is_symlink():
            with_it.chmod(PRIVATE_FILE)
    except OSError as error:
        if how == "write" and environ.get(TRUST) != "1":
            said += f", and it cannot be made private: {error.strerror}"
            raise ConfigError(said, hint=f"{TRUST}=1 to read it all the same") from None
        return said
    return f"{said}: made private now"


def prepare(state: Path) -> None:
    """Create what is missing, the ballast included.

    Raises LedgerError; then nothing may be sent.
    """
    readme = state / "README"
    with blamed(state, "look into"):
        is_new, is_bare = not (state / "inflight").is_dir(), not readme.exists()
    if is_new:
        make_private(state)
        for name in FOLDERS:
            make_private(state / name)

    keep_ballast(state)
    if is_bare:
        replace(readme, README.encode(), durable=False)


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
    replace(path, os.urandom(BALLAST_BYTES), durable=False)


def release_ballast(state: Path) -> None:
    """Give the ballast's room to the record that needs it."""
    path = state / BALLAST
    with blamed(path, "release"):
        os.truncate(path, 0)


def rescue_folder(environ: Mapping[str, str]) -> Path:
    """Return where rescue files lie: the run-time folder, else the temporary one."""
    import tempfile  # few ever rescue anything

    return Path(environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


def write_rescue(job: Job, environ: Mapping[str, str], state: Path) -> Path:
    """Write a job's record to a private file of its own; never over another.

    It says which state folder it belongs to.

    Raises LedgerError.
    """
    path = rescue_folder(environ) / f"{PREFIX}{job.key}.json"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    line = {**job.to_line(), STATE: str(state)}
    data = json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n"
    with blamed(path, "write"):
        fd = os.open(path, flags, PRIVATE_FILE)
        try:
            write_all(fd, data)
            sync(fd)
        finally:
            os.close(fd)
    return path


def rescue_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield rescue files that are ours."""
    try:
        paths = sorted(rescue_folder(environ).glob(f"{PREFIX}*.json"))
    except OSError:
        return
    for path in paths:
        try:
            ours = path.lstat().st_uid == os.getuid()
        except OSError:
            continue
        if ours and path.is_file() and not path.is_symlink():
            yield path
