"""The local endpoint seen from outside: find it, start it, stop it.

Imports nothing heavy: the server runs in a process of its own.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from bgresp.core.errors import BgrespError, ConfigError
from bgresp.serve.engine_options import EngineOptions, without_keys

if TYPE_CHECKING:
    from subprocess import Popen

FOLDER = "serve"
_FILE = "endpoint.json"
DOOR = "open.html"  # leads a browser to the page, with the key (see `daemon`)
IDLE = 900.0  # a detached endpoint leaves after so many seconds without work
OWN_PACKAGES: Final = ("starlette", "uvicorn")
_STEP = 0.05
_STOP_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class RunningEndpoint:
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


def read(folder: Path) -> tuple[RunningEndpoint, int] | None:
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


def publish(folder: Path, endpoint: RunningEndpoint) -> None:
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


def _parse(text: bytes) -> RunningEndpoint:
    fields = json.loads(text)
    return RunningEndpoint(
        base_url=str(fields["base_url"]),
        key=fields["key"],
        pid=int(fields["pid"]),
        engine=str(fields.get("engine", "")),
        grace=float(fields.get("grace", 0.0)),
    )


@dataclass(frozen=True, slots=True)
class Launch:
    """Which endpoint of a state folder is meant, and how it is started.

    `engine` is None where a profile's is not known any more: then the endpoint is found
    if it runs, and not started. `secrets` are variables that hold anyone's key.
    """

    profile: str = ""
    engine: EngineOptions | None = field(default_factory=EngineOptions)
    workers: int | None = None
    secrets: frozenset[str] = frozenset()

    def arguments(self) -> list[str]:
        """Return what `python -m bgresp.serve` is told of it."""
        found = [f"--profile={self.profile}"] if self.profile else []
        if self.workers is not None:
            found.append(f"--workers={self.workers}")
        return [*found, *(self.engine.arguments() if self.engine else [])]

    @property
    def named(self) -> str:
        """Return what a command is told of the profile."""
        return f" -p {shlex.quote(self.profile)}" if self.profile else ""


PLAIN = Launch()


def find(state: Path, profile: str = "") -> RunningEndpoint | None:
    """Return the endpoint of this state folder and profile if its process lives."""
    found = read(folder_of(state, profile))
    if found is None:
        return None
    os.close(found[1])
    return found[0]


def ensure(
    state: Path,
    launch: Launch = PLAIN,
    *,
    say: Callable[[str], None],
    wait: float = 15.0,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.monotonic,
) -> RunningEndpoint:
    """Find the endpoint of this state folder, or start it in the background.

    Raises ConfigError where it does not run and nothing says what would run its jobs.
    """
    deadline = clock() + wait
    running = find(state, launch.profile)
    if running is not None and _answers(running):
        return _checked(running, launch, say)
    if launch.engine is None:
        raise ConfigError(
            f"profile {launch.profile!r} does not say any more what runs its jobs",
            hint="give it exec or upstream again: bgresp config edit",
        )
    check_extra()
    launch.engine.upstream_key(environ)
    folder = private_folder(state, launch.profile)
    while clock() < deadline:
        turn = try_lock(folder / "start.lock")
        if turn is not None:
            try:
                return _start(
                    state,
                    launch,
                    say=say,
                    environ=environ,
                    is_late=lambda: clock() >= deadline,
                )
            finally:
                os.close(turn)
        time.sleep(_STEP)
        running = find(state, launch.profile)
        if running is not None and _answers(running):
            return running
    raise BgrespError("the local endpoint does not answer", hint=_log_hint(folder))


def _checked(
    running: RunningEndpoint, launch: Launch, say: Callable[[str], None]
) -> RunningEndpoint:
    """Say where a profile was changed since its endpoint started; it may have jobs."""
    if launch.profile and launch.engine and running.engine != launch.engine.digest():
        say(
            f"the endpoint of profile {launch.profile!r} runs as it was configured "
            f"before; bgresp serve{launch.named} --stop lets it start anew"
        )
    return running


def stop(
    state: Path,
    profile: str | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Stop the endpoint of a profile, without one every one; False if none ran."""
    if profile is None:
        # Each is asked before any is waited for: they end together.
        found = [read(folder) for folder in all_folders(state)]
    else:
        found = [read(folder_of(state, profile))]
    running = [one for one in found if one is not None]
    try:
        for one, _ in running:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGTERM)
        for one, handle in running:
            _wait_for_end(one, handle, clock)
    finally:
        for _, handle in running:
            os.close(handle)
    return bool(running)


def _wait_for_end(
    running: RunningEndpoint, handle: int, clock: Callable[[], float]
) -> None:
    deadline = clock() + running.grace + _STOP_WAIT
    while not is_free(handle):
        if clock() > deadline:
            message = f"the local endpoint did not stop (process {running.pid})"
            raise BgrespError(message)
        time.sleep(_STEP)


def page_url(running: RunningEndpoint) -> str:
    """Return the address of the endpoint's page, without its key."""
    return f"{running.base_url.removesuffix('/v1')}/"


_OPEN: Final = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"


def open_page(
    state: Path,
    running: RunningEndpoint,
    *,
    say: Callable[[str], None],
    profile: str = "",
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Open the endpoint's page in the user's browser, or say how to open it by hand.

    The key must not stand in a browser's argv, where ps shows it: a private file leads
    there, and a fragment (which no browser sends to anyone) carries it to the page.
    """
    from html import escape
    from urllib.parse import quote

    page = page_url(running)
    url, by_hand = page, f"open {page} in a browser"
    if running.key is not None:
        door = private_folder(state, profile) / DOOR
        target = escape(f"{page}#key={quote(running.key, safe='')}")
        handle = os.open(door, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(
                "<!doctype html><title>bgresp</title>"
                f'<meta http-equiv="refresh" content="0;url={target}">\n'
            )
        url, by_hand = door.as_uri(), f"open {door} in a browser"
    say(
        f"opened {page}"
        if _browse(url, environ)
        else f"no browser was found; {by_hand}"
    )


def _browse(url: str, environ: Mapping[str, str]) -> bool:
    """Open a URL in the first browser there is; False where that is one of text.

    Without a display the standard library falls back on lynx and its like: they run no
    script, and take the terminal that serves.
    """
    import subprocess
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    of_text = {"www-browser", "links", "elinks", "lynx", "w3m"}
    name = Path(str(getattr(browser, "name", ""))).name
    if name in of_text:
        return False
    # By another process: a browser has no business with our keys.
    command = [sys.executable, "-I", "-c", _OPEN, url]
    kept = without_keys(environ)
    done = subprocess.run(  # noqa: S603  ours
        command, env=kept, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def check_extra(
    who: str = "the local endpoint", packages: Sequence[str] = OWN_PACKAGES
) -> None:
    """Raise ConfigError, what to type, if packages that `who` needs are missing."""
    if any(find_spec(name) is None for name in packages):
        message = f"{who} needs the extra 'local'"
        raise ConfigError(message, hint="pip install 'bgresp[local]'")


def _start(
    state: Path,
    launch: Launch,
    *,
    say: Callable[[str], None],
    environ: Mapping[str, str],
    is_late: Callable[[], bool],
) -> RunningEndpoint:
    """Start a server, unless one came up while we waited for our turn."""
    process: Popen[bytes] | None = None
    folder = folder_of(state, launch.profile)
    while not is_late():
        running = find(state, launch.profile)
        if running is not None and _answers(running):
            if process is None or running.pid != process.pid:
                return running
            # It outlives us: without this Popen's destructor would complain.
            process.returncode = 0
            say(
                f"started the local endpoint at {running.base_url} "
                f"(stops when idle for 15m; bgresp serve{launch.named} --stop)"
            )
            return replace(running, started=True)
        if process is None and running is None:
            process = _spawn(state, folder, launch, environ)
        elif process is not None and process.poll() is not None and running is None:
            break
        time.sleep(_STEP)
    _abandon(process)
    message = f"the local endpoint did not start: {_last_line(folder / 'log')}"
    raise BgrespError(message, hint=_log_hint(folder))


def _spawn(
    state: Path, folder: Path, launch: Launch, environ: Mapping[str, str]
) -> "Popen[bytes]":
    from subprocess import DEVNULL, Popen

    command = [sys.executable, "-P", "-m", "bgresp.serve"]
    command += ["--state", str(state.absolute()), "--detached", "--idle", str(IDLE)]
    command += launch.arguments()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    log = os.open(folder / "log", flags, 0o600)
    try:
        return Popen(  # noqa: S603 # our own module under our own interpreter
            command,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_environment(state, launch, environ),
            start_new_session=True,
        )
    finally:
        os.close(log)


def _environment(
    state: Path, launch: Launch, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return our environment without keys, but the engine's, and where bgresp is."""
    needed = launch.engine.needed if launch.engine else frozenset()
    kept = without_keys(environ, named=launch.secrets, passed=needed)
    kept["BGRESP_STATE_DIR"] = str(state.absolute())
    source = Path(__file__).resolve().parents[2]
    if source.name not in {"site-packages", "dist-packages"}:
        # A source tree, and -P keeps the current folder out of the path.
        path = [*filter(None, [kept.get("PYTHONPATH")]), str(source)]
        kept["PYTHONPATH"] = os.pathsep.join(path)
    return kept


def _answers(running: RunningEndpoint) -> bool:
    """Say whether the server at this address is that process."""
    import json
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    address = urlsplit(running.base_url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        body = json.loads(connection.getresponse().read())
        return isinstance(body, dict) and body.get("pid") == running.pid
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _abandon(process: "Popen[bytes] | None") -> None:
    if process is not None and process.poll() is None:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    return next((line for line in reversed(lines) if line.strip()), "no reason given")


def _log_hint(folder: Path) -> str:
    return f"see {folder / 'log'}"
