"""The state folder itself: private, and explained to a stranger."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bgresp.core.errors import ConfigError
from bgresp.ledger import files

README: Final = """\
This folder is the ledger of bgresp, a command-line tool for background jobs of model
endpoints. ledger.jsonl (and sealed/, older lines) has one JSON record a line, the last
one for a key holds; responses/ has the answers, requests/ what was asked. It may hold
private text. index/ is derived and may be deleted.
"""
FOLDERS: Final = ("responses", "requests", "progress", "inflight")


TRUST: Final = "BGRESP_TRUST_STATE_DIR"


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
    from bgresp.ledger import rescue

    rescue.keep_ballast(state)
    if is_bare:
        files.replace(readme, README.encode(), durable=False)
