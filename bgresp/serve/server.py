"""The endpoint's process: lock, sockets, application, and when to stop.

It listens at an address, a private unix socket, or what systemd opened. Imports
starlette and uvicorn inside `run`; the job machinery is plain asyncio.
"""

import asyncio
import ipaddress
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from bgresp.core.errors import BgrespError, ConfigError, UsageError
from bgresp.serve import daemon
from bgresp.serve.daemon import IDLE, RunningEndpoint, check_extra, open_page
from bgresp.serve.engine_options import EngineOptions
from bgresp.serve.job import Workers
from bgresp.serve.jobs import DISK, MAX_RUN, RETENTION, JobQueue, Limits
from bgresp.serve.store import Store
from bgresp.serve.webhooks import WebhookOptions, WebhookSender

if TYPE_CHECKING:
    from bgresp.serve.http import Gate, Server

QUEUE_LIMIT = 10_000
GRACE = 10.0  # seconds that running jobs have to end when the server stops
_TICK = 0.1
_SWEEP = 1.0
_PATIENCE = 1.0  # a server that has just stopped may hold its lock a moment longer
_FIRST: Final = 3  # the first descriptor that systemd hands over
_BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `bgresp serve` may be told; `log` takes what it says instead of stderr.

    `secrets` are the names of variables that hold anyone's key; `verbose` tells of each
    request.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    idle: float | None = None
    detached: bool = False
    workers: int = 2
    queue: int = QUEUE_LIMIT
    disk: int = DISK
    rerun: bool = False
    grace: float = GRACE
    engine: EngineOptions = field(default_factory=EngineOptions)
    max_run: float = MAX_RUN
    retention: float = RETENTION
    log: Callable[[str], None] | None = None
    verbose: bool = False
    opens: bool = False
    uds: Path | None = None
    secrets: tuple[str, ...] = ()
    profile: str = ""
    key_env: str | None = None
    webhook_url: str | None = None
    webhook_secret_env: str | None = None
    webhook_allow: tuple[str, ...] = ()
    environ: MutableMapping[str, str] = field(
        default_factory=lambda: os.environ, repr=False
    )
    now: Callable[[], float] = time.time

    def say(self, text: str) -> None:
        """Tell the person who started the server."""
        if self.log is not None:
            self.log(text)
            return
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def run(options: ServeOptions) -> int:
    """Serve until a signal comes or nothing is left to do; return the exit code."""
    check_extra()
    folder = daemon.private_folder(options.state, options.profile)
    lock = _lock(folder)
    try:
        with listening(
            options.host,
            options.port,
            options.uds,
            hints=HINTS,
            environ=options.environ,
        ) as listeners:
            listener = listeners[0]
            key = _key(options)
            if key is None and not all(map(is_loopback, listeners)):
                raise ConfigError(
                    f"an endpoint on {options.host} needs a key",
                    hint="export SERVE_KEY=...; bgresp serve --key-env SERVE_KEY",
                )
            where = _where(options, listener, key)
            queue = _queue(options, folder)
            queue.open()
            # Its lock goes with the process: who stops us waits for our very end.
            daemon.publish(folder, where)
            try:
                asyncio.run(_serve(options, queue, listeners=listeners, where=where))
            finally:
                daemon.retract(folder)
    finally:
        os.close(lock)
    return 0


def _lock(folder: Path) -> int:
    deadline = time.monotonic() + _PATIENCE
    while (handle := daemon.try_lock(folder / "lock")) is None:
        if time.monotonic() > deadline:
            found = daemon.read(folder)
            at = f" at {found[0].base_url}" if found else ""
            message = f"a local endpoint already runs for this state folder{at}"
            raise UsageError(message, hint="bgresp serve --stop")
        time.sleep(_TICK)
    return handle


def _where(
    options: ServeOptions, listener: socket.socket, key: str | None
) -> RunningEndpoint:
    address = listener.getsockname()
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # how to reach it
    host = here.get(address[0], address[0])
    shown = f"[{host}]" if ":" in host else host
    return RunningEndpoint(
        base_url=f"http://{shown}:{address[1]}/v1",
        key=key,
        pid=os.getpid(),
        started=True,
        engine=options.engine.digest(),
        grace=options.grace,
    )


def _key(options: ServeOptions) -> str | None:
    """Return the key that every request must bring; None where none has to.

    Raises ConfigError where one is needed and none is named.
    """
    if options.key_env is not None:
        key = options.environ.get(options.key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            message = f"no key for the endpoint: {options.key_env} has none"
            raise ConfigError(message, hint=f"export {options.key_env}=...")
        return key
    if options.detached:
        return secrets.token_urlsafe(32)
    return None


def _webhooks(options: ServeOptions) -> WebhookOptions:
    """Return where webhooks go. Raises ConfigError, UsageError."""
    name = options.webhook_secret_env
    secret = options.environ.get(name, "").strip() if name is not None else None
    if secret == "":
        message = f"no secret for webhooks: {name} is not set"
        raise ConfigError(message, hint=f"export {name}=whsec_...")
    found = WebhookOptions(options.webhook_url, secret, options.webhook_allow)
    found.check()
    return found


def _queue(options: ServeOptions, folder: Path) -> JobQueue:
    store = Store(folder / "jobs")
    ours = filter(None, [options.key_env, options.webhook_secret_env])
    return JobQueue(
        store,
        Workers(count=options.workers, limit=options.queue),
        engine=options.engine.build(options.environ, [*options.secrets, *ours]),
        clock=options.now,
        limits=Limits(
            retention=options.retention,
            max_run=options.max_run,
            disk=options.disk,
            rerun=options.rerun,
        ),
        webhooks=WebhookSender(_webhooks(options), store, options.now),
    )


def _greet(options: ServeOptions, where: RunningEndpoint) -> None:
    if options.detached:
        return
    options.say(f"listening on {where.base_url} (Ctrl-C stops)")
    if options.opens:
        # Beside the server: some browsers are waited for, and ask for the page first.
        opening = partial(
            open_page,
            options.state,
            where,
            say=options.say,
            profile=options.profile,
        )
        Thread(target=opening, daemon=True).start()


async def _serve(
    options: ServeOptions,
    queue: JobQueue,
    *,
    listeners: list[socket.socket],
    where: RunningEndpoint,
) -> None:
    from bgresp.serve.app import build
    from bgresp.serve.http import Gate, quiet_server

    idle = IDLE if options.idle is None and options.detached else options.idle
    trace = options.say if options.verbose else None
    gate = Gate(build(queue), key=where.key, clock=time.monotonic, trace=trace)
    server = quiet_server(gate)
    with _stopped_by_signals(server):
        _greet(options, where)
        policy = StopPolicy(idle=idle, grace=options.grace)
        tending = asyncio.ensure_future(tend(server, queue, gate=gate, policy=policy))
        await server.serve(sockets=listeners)
        await tending


@contextmanager
def _stopped_by_signals(server: "Server") -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server instead of the process.

    uvicorn listens to them only while it serves: we do before and after.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    leave = server.handle_exit
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """When a server stops by itself, and how long running jobs may then take."""

    idle: float | None = None
    grace: float = 0.0


async def tend(
    server: "Server", queue: JobQueue, *, gate: "Gate", policy: StopPolicy
) -> None:
    """Run the jobs, sweep, watch for idleness; end in order when asked to stop.

    A second request to stop does not wait for running jobs.
    """
    now = asyncio.get_running_loop().time
    due = now()
    queue.start()
    telling = asyncio.ensure_future(queue.tell())
    while not (server.stop_asked or server.should_exit):
        if now() >= due:
            due = now() + _SWEEP
            _sweep(queue)
        if policy.idle is not None and queue.idle and gate.quiet_for() >= policy.idle:
            break
        await asyncio.sleep(_TICK)
    queue.stop_accepting()
    end = now() + policy.grace
    while queue.running and now() < end and not server.should_exit:  # noqa: ASYNC110
        await asyncio.sleep(_TICK)
    await queue.close()
    telling.cancel()  # what is owed is on disk
    await asyncio.gather(telling, return_exceptions=True)
    server.should_exit = True


def _sweep(queue: JobQueue) -> None:
    try:
        queue.sweep()
    except OSError as error:
        sys.stderr.write(f"cannot tidy up: {error}\n")


class Hints(NamedTuple):
    """What to type where the address, or the unix socket, cannot be had."""

    address: str
    path: str


HINTS: Final = Hints("bgresp serve --port 0", "bgresp serve --uds ANOTHER_PATH")


@contextmanager
def listening(
    host: str,
    port: int,
    uds: Path | None,
    *,
    hints: Hints,
    environ: MutableMapping[str, str],
) -> Iterator[list[socket.socket]]:
    """Listen on an address, and on a unix socket where one is named; close them.

    The first is the address: the one that systemd opened, where the environment says
    so, which is taken out of it. Raises BgrespError.
    """
    with ExitStack() as stack:
        given = [stack.enter_context(one) for one in _inherited(environ)]
        addresses = [one for one in given if one.family != socket.AF_UNIX]
        others = [one for one in given if one.family == socket.AF_UNIX]
        if not addresses:
            addresses = [stack.enter_context(_bound(host, port, hints.address))]
        if uds is not None:
            others.append(stack.enter_context(_unix(uds, hints.path)))
        yield [*addresses, *others]


def is_loopback(listener: socket.socket) -> bool:
    """Say whether none but this machine reaches an address, or a unix socket."""
    if listener.family == socket.AF_UNIX:
        return True
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _inherited(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the sockets of socket activation; each is taken once."""
    mine = environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not mine or not count.isdecimal():
        return []
    try:
        found = [socket.socket(fileno=_FIRST + n) for n in range(int(count))]
    except OSError as error:
        reason = error.strerror or str(error)
        said = f"no socket of systemd can be used: {reason}"
        raise BgrespError(said, hint="without LISTEN_FDS it opens its own") from None
    for one in found:
        one.set_inheritable(False)
    return found


def _bound(host: str, port: int, hint: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"cannot listen on {host} port {port}: {reason}"
        raise BgrespError(message, hint=hint) from None


@contextmanager
def _unix(path: Path, hint: str) -> Iterator[socket.socket]:
    """Listen on a unix socket that none but its owner may open."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            _clear(path, hint)
            # Bound under another name, and there only once it is private.
            hidden = path.with_name(f".{path.name}.{os.getpid()}")
            listener.bind(str(hidden))
            hidden.chmod(0o600)
            listener.listen(_BACKLOG)
            hidden.rename(path)
        except OSError as error:
            raise _no_socket(path, error.strerror or str(error), hint) from None
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _clear(path: Path, hint: str) -> None:
    """Remove a socket that a killed server left; refuse what is anything else."""
    if not path.is_socket():
        if path.exists():
            raise _no_socket(path, "it is not a socket", hint)
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise _no_socket(path, "a server listens there", hint)


def _no_socket(path: Path, reason: str, hint: str) -> BgrespError:
    return BgrespError(f"cannot listen on {path}: {reason}", hint=hint)
