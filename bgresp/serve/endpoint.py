"""Where the running endpoint is: `endpoint.json`, believed only while it is locked.

The server holds an OS lock on the very file that it wrote, for its life. A reader
tries the lock of the file that it has open: text and lock are of one process, so
neither a stale file nor a reused process id can deceive. Standard library alone.
"""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

FOLDER = "serve"
_FILE = "endpoint.json"
DOOR = "open.html"  # leads a browser to the page, with the key (see `daemon`)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running local endpoint; `started` says whether this call started it.

    `engine` is what runs its jobs, as a digest; `grace` the seconds that they have to
    end when it is stopped.
    """

    base_url: str
    key: str | None
    pid: int
    started: bool = False
    engine: str = ""
    grace: float = 0.0


def read(folder: Path) -> tuple[Endpoint, int] | None:
    """Return the endpoint of a living server and its open file, or None.

    The file's lock becomes free when that server ends.
    """
    try:
        handle = os.open(folder / _FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if not is_free(handle):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return _parse(os.pread(handle, 65536, 0)), handle
    os.close(handle)
    return None


def publish(folder: Path, endpoint: Endpoint) -> None:
    """Write the file, locked before anyone can see it and until this process ends."""
    temporary = folder / f"{_FILE}.{os.getpid()}"
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    fields = {
        "base_url": endpoint.base_url,
        "key": endpoint.key,
        "pid": endpoint.pid,
        "engine": endpoint.engine,
        "grace": endpoint.grace,
    }
    os.write(handle, json.dumps(fields).encode())
    temporary.replace(folder / _FILE)


def retract(folder: Path) -> None:
    """Remove the file; only its writer may."""
    for name in (_FILE, DOOR):
        (folder / name).unlink(missing_ok=True)


def try_lock(path: Path) -> int | None:
    """Take the lock at `path` without waiting; None if another has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def is_free(handle: int) -> bool:
    """Say whether nobody holds the lock of an open file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def folder_of(state: Path, profile: str = "") -> Path:
    """Return the folder of the endpoint of a profile; of the plain one without."""
    folder = state / FOLDER
    if not profile:
        return folder
    # Any printable text may be a profile's name, and dots alone lead elsewhere.
    return folder / "profiles" / quote(profile, safe="").replace(".", "%2E")


def all_folders(state: Path) -> list[Path]:
    """Return the folders of every endpoint that a state folder has had."""
    return [state / FOLDER, *sorted((state / FOLDER / "profiles").glob("*/"))]


def private_folder(state: Path, profile: str = "") -> Path:
    """Create the endpoint's folder below the state folder and return it."""
    folder = folder_of(state, profile)
    for missing in (state, state / FOLDER, folder.parent, folder):
        missing.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _parse(text: bytes) -> Endpoint:
    fields = json.loads(text)
    return Endpoint(
        base_url=str(fields["base_url"]),
        key=fields["key"],
        pid=int(fields["pid"]),
        engine=str(fields.get("engine", "")),
        grace=float(fields.get("grace", 0.0)),
    )
