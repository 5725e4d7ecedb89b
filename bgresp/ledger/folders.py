"""The state folder itself: private, and explained to a stranger; and the last resort.

An accepted job that the ledger cannot take is kept elsewhere: `doctor --fix` brings it
home.
"""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bgresp.core.errors import ConfigError, LedgerError
from bgresp.core.model import Job
from bgresp.ledger import files
from bgresp.ledger.files import TRUST

README: Final = """\
This folder is the ledger of bgresp, a command-line tool for background jobs of model
endpoints. ledger.jsonl (and sealed/, older lines) has one JSON record a line, the last
one for a key holds; responses/ has the answers, requests/ what was asked. It may hold
private text. index/ is derived and may be deleted.
"""
FOLDERS: Final = ("responses", "requests", "progress", "inflight")


SALT: Final = "salt"
_SALT_BYTES: Final = 32


def key_digest(state: Path, key: str) -> str | None:
    """Return 8 hex digits that stand for an API key in this state folder alone.

    Its secret salt never leaves it: who reads a line elsewhere can try no keys against
    it. None where the salt can be neither read nor made.
    """
    path = state / SALT
    try:
        salt = files.read(path)
        if salt is None:
            salt = os.urandom(_SALT_BYTES)
            files.make_private(state)
            files.write_whole(path, [salt], exclusive=True)
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
        state.chmod(files.PRIVATE_DIR)
        with_it = state / "ledger.jsonl"
        if with_it.is_file() and not with_it.is_symlink():
            with_it.chmod(files.PRIVATE_FILE)
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
    with files.blamed(state, "look into"):
        is_new, is_bare = not (state / "inflight").is_dir(), not readme.exists()
    if is_new:
        files.make_private(state)
        for name in FOLDERS:
            files.make_private(state / name)

    keep_ballast(state)
    if is_bare:
        files.replace(readme, README.encode(), durable=False)


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
    with files.blamed(path, "write"):
        fd = os.open(path, flags, files.PRIVATE_FILE)
        try:
            files.write_all(fd, data)
            files.sync(fd)
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
