"""`bgresp listen`: told by the endpoint when a job ends, instead of asking it."""

import asyncio
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from bgresp.cli import errors, refs
from bgresp.cli.commands.sync import show_change
from bgresp.cli.context import Context
from bgresp.cli.errors import DetachedError
from bgresp.cli.options import (
    FOLLOW,
    Common,
    Host,
    Notify,
    Port,
    Refs,
    Uds,
    check_port,
    opt,
    seconds,
)
from bgresp.core.errors import (
    ConfigError,
    LedgerError,
    NotFinishedError,
    UsageError,
    worst,
)
from bgresp.core.model import Job
from bgresp.ledger import files

if TYPE_CHECKING:
    from bgresp.config.settings import Settings
    from bgresp.engine.endpoints import Endpoints
    from bgresp.engine.webhooks import Intake
    from bgresp.serve.http import Server

MOST_CONNECTIONS: Final = 256
PATIENCE: Final = 10.0  # seconds for the body of a delivery


class Options(NamedTuple):
    """What `listen` takes."""

    host: Host = "127.0.0.1"
    port: Port = 0
    uds: Uds = None
    path: Annotated[
        str | None, opt("--path", help="Accept this path alone.", metavar="PATH")
    ] = None
    secret_env: Annotated[
        list[str] | None,
        opt(
            "--secret-env",
            help="The signing secret is in this variable (repeat).",
            metavar="NAME",
        ),
    ] = None
    adopt: Annotated[
        bool, opt("--adopt", help="Add jobs that the ledger does not know.")
    ] = False
    print_url: Annotated[bool, opt("--print-url", help="Print the address first.")] = (
        False
    )
    once: Annotated[
        bool,
        opt(
            "--once",
            help="Stop when the named jobs have ended; exit as they did.",
            panel=FOLLOW,
        ),
    ] = False
    interval: Annotated[
        str,
        opt(
            "--interval",
            help="Ask the endpoint every D all the same.",
            metavar="D",
            panel=FOLLOW,
        ),
    ] = "5m"
    notify: Notify = None


def listen(which: Refs, options: Options, common: Common) -> int:
    """Receive signed webhooks, and fetch the jobs that they name.

    A delivery is a hint: the endpoint is asked for the job, and what it answers is
    saved. Prints a line a changed job: id, old status, new status.

    Examples:

      bgresp listen --port 8090 --secret-env OPENAI_WEBHOOK_SECRET
      bgresp listen --port 8090 --secret-env NEW --secret-env OLD
      bgresp listen --port 8090 --secret-env SECRET --once --group night
    """
    context = Context.of(common, rows=False)
    check_port(options.port)
    context.notify(options.notify)
    context.hidden.update(options.secret_env or [])  # no hook sees them
    secrets = _secrets(options, context)
    interval = seconds(options.interval)
    if options.path is not None and not options.path.startswith("/"):
        raise UsageError("--path takes a path: /webhooks")
    if not interval:
        raise UsageError("--interval takes a duration above 0")
    chosen = _chosen(context, which, options)
    from bgresp.serve.daemon import check_extra

    check_extra("listening", ("uvicorn", "standardwebhooks"))
    from bgresp.serve.server import Hints, is_loopback, listening

    context.ledger.prepare()
    with ExitStack() as until_done:
        try:
            lock = files.inflight(context.state / "webhooks.lock", wait=0.0)
            until_done.enter_context(lock)
        except NotFinishedError:
            message = "another `bgresp listen` is running for this state folder"
            raise UsageError(message, hint="stop it first") from None
        found = listening(
            options.host,
            options.port,
            options.uds,
            hints=Hints("bgresp listen --port 0", "bgresp listen --uds ANOTHER_PATH"),
            environ=context.environ,
        )
        listeners = until_done.enter_context(found)
        if not secrets:
            if not all(map(is_loopback, listeners)):
                message = "listening beyond this machine needs a secret"
                raise ConfigError(message, hint="bgresp listen --secret-env NAME")
            context.say("no --secret-env: deliveries are not verified")
        listening_ = Listening(context, secrets, chosen, options, interval)
        try:
            return context.run(listening_.run(listeners))
        except DetachedError:
            if options.once:
                raise
            return 0  # what serves until it is stopped has ended well


def _secrets(options: Options, context: Context) -> list[str]:
    """Return the secrets of the variables. Raises ConfigError."""
    from bgresp.config.secret import webhook_secret

    found = []
    for name in options.secret_env or []:
        secret = webhook_secret(name, context.environ)
        if secret is None:
            message = f"no secret: {name!r} is not set"
            raise ConfigError(message, hint=f"export {name}=whsec_...")
        found.append(secret)
    return found


def _chosen(context: Context, which: Refs, options: Options) -> list[Job]:
    """Return the jobs that --once waits for. Raises UsageError, NoSuchJobError."""
    if options.once:
        jobs = refs.chosen(context, which).known()
        refs.require_some(context, jobs, which)
        return jobs
    selector = which.selector(context.common, now=context.now)
    if which.refs or selector._replace(profile=None).given:
        raise UsageError("REFs and selectors are for --once")
    return []


@dataclass(slots=True)
class Listening:
    """One invocation: a server, the listener behind it, and a slow poll beside it.

    The server has a thread and an event loop of its own: what jobs need, a slow disk or
    an endpoint that hangs, makes no answer to a delivery late.
    """

    context: Context
    secrets: list[str]
    chosen: list[Job]
    options: Options
    interval: float
    _final: dict[str, Job] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _intake: "Intake | None" = None
    _here: asyncio.AbstractEventLoop | None = None
    _server_loop: asyncio.AbstractEventLoop | None = None
    _unread: str | None = None  # why the configuration cannot be read anew

    async def run(self, listeners: list[socket.socket]) -> int:
        """Serve until a signal comes, or with --once until the jobs have ended."""
        from bgresp.engine.webhooks import Intake, Listener
        from bgresp.ledger.saved import Deliveries
        from bgresp.serve.http import quiet_server

        context = self.context
        self._here = asyncio.get_running_loop()
        self._final = {job.key: job for job in self.chosen}
        deliveries = Deliveries(context.state, time.time)
        listener = Listener(
            self._endpoints,
            context.recorder,
            self._finish,
            self._tell,
            context.say,
            own=self._own(),
            adopt=self.options.adopt,
            strict=self.options.once,
        )
        for delivery in deliveries.load():  # an earlier process left it
            listener.wait_for(delivery)
        self._intake = Intake(
            deliveries, lambda one: self._call(listener.wait_for, one), self._say
        )
        server = quiet_server(self._app, most=_most_connections())
        address = listeners[0].getsockname()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        url = f"http://{host}:{address[1]}{self.options.path or '/'}"
        if self.options.print_url:
            context.streams.line(url)
        context.say(f"listening on {url} (Ctrl-C stops)")
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._server_loop = runner.get_loop()
        serving = asyncio.create_task(
            asyncio.to_thread(_serve, runner, server, listeners)
        )
        others = [
            asyncio.create_task(listener.run()),
            asyncio.create_task(self._poll()),
            asyncio.create_task(self._until_ended()),
        ]
        try:
            done, _ = await asyncio.wait(
                [serving, *others], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            server.should_exit = True
            for task in others:
                task.cancel()
            await asyncio.gather(serving, *others, return_exceptions=True)
            if context.common.verbose and listener.ignored:
                count = listener.ignored
                many = "1 delivery was" if count == 1 else f"{count} deliveries were"
                context.say(f"{many} about jobs of others")
        return int(worst([int(job.exit_code) for job in self._final.values()]))

    def _finish(self, ids: set[str]) -> None:
        """Write down what was dealt with, where deliveries are written."""
        assert self._intake is not None
        assert self._server_loop is not None
        # Closed when we leave: then it is dealt with again, which harms nothing.
        _call_in(self._server_loop, self._intake.finish, ids)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        """Call a function in the loop of the jobs."""
        assert self._here is not None
        _call_in(self._here, function, *args)

    def _say(self, message: str) -> None:
        self._call(self.context.say, message)

    def _own(self) -> "Settings | None":
        """Return the endpoint of -p; None where none is configured."""
        try:
            return self.context.settings()
        except ConfigError:
            if self.options.adopt or self.context.common.profile:
                raise
            return None

    def _endpoints(self) -> "Endpoints":
        """Return the endpoints as they are configured by now.

        While somebody edits the configuration what was read before holds.
        """
        try:
            found, self._unread = self.context.read_anew(), None
        except ConfigError as error:
            found = self.context.endpoints
            if error.message != self._unread:
                self._unread = error.message
                self.context.say(error.message)
        return found

    def _tell(self, before: Job, job: Job) -> Awaitable[None] | None:
        if job.key in self._final:
            self._final[job.key] = job
            self._changed.set()
        if job.status is not before.status:
            show_change(self.context, before, job)
        return self.context.ended(job)

    def _polled(self, before: Job, job: Job) -> None:
        if job.status is not before.status:
            self._tell(before, job)

    def _is_any_left(self) -> bool:
        return any(job.status.may_change for job in self._final.values())

    async def _until_ended(self) -> None:
        """Wait until the jobs of --once are over; without it for ever."""
        while not self.options.once or self._is_any_left():
            self._changed.clear()
            await self._changed.wait()

    async def _poll(self) -> None:
        """Ask slowly, now and then: a delivery may have been lost."""
        while True:
            try:
                await self._ask()
            except LedgerError as error:
                if self.options.once:
                    raise
                self.context.say(error.message)  # its disk may have room again
            await asyncio.sleep(self.interval)

    async def _ask(self) -> None:
        """Ask about every job that is open, or that --once waits for."""
        from bgresp.engine.scheduler import Sync, due

        context = self.context

        jobs: Iterable[Job] = due(
            context.recorder, Refs().selector(context.common, now=context.now)
        )
        if self.options.once:
            jobs = [job for key in self._final if (job := self._now(key))]
        one = Sync(context.recorder, self._polled, context.say)
        troubles = errors.Troubles(context.streams)
        await one.everywhere(self._endpoints(), list(jobs), troubles.add)
        for job, fault in one.unheard:
            troubles.unheard(job, fault)
        troubles.tell()

    def _now(self, key: str) -> Job | None:
        """Return a job as it stands, where it may still change."""
        job = self.context.ledger.by_key(key)
        if job is not None:
            self._final[key] = job
            self._changed.set()
        return job if job is not None and job.status.may_change else None

    async def _app(
        self, scope: MutableMapping[str, Any], receive: Any, send: Any
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status = await self._answered(scope, receive)
        except Exception as error:  # noqa: BLE001 # a bug: told, and delivered again
            self._say(f"internal error, a delivery was not taken: {error!r}")
            status = 500
        headers = [(b"content-length", b"0")]
        if status >= 400:
            headers.append((b"connection", b"close"))  # its body may not be read
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    async def _answered(self, scope: MutableMapping[str, Any], receive: Any) -> int:
        """Return the status of a request's answer; a delivery is on disk then."""
        if self.options.path not in {None, scope["path"]}:
            return 404
        if scope["method"] != "POST":
            return 405
        body = await _body(receive)
        if isinstance(body, int):
            return body
        return await self._taken(scope["headers"], body)

    async def _taken(self, pairs: Iterable[tuple[bytes, bytes]], body: bytes) -> int:
        from bgresp.engine.webhooks import DeliveryError, headers_of, verified

        assert self._intake is not None
        try:
            now, headers = self.context.now, headers_of(pairs)
            delivery = verified(headers, body, self.secrets, now=now)
            if delivery is not None:
                await self._intake.take(delivery)
        except DeliveryError as error:
            if self.context.common.verbose:
                self._say(f"a delivery was refused: {error}")
            return 400
        except LedgerError:
            return 503  # it comes again
        return 200


def _call_in(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object
) -> None:
    """Call a function in the loop of another thread, unless that is closed already."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


def _most_connections() -> int:
    """Return how many strangers may be connected: files must be left for our work."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, soft // 2) if soft > 0 else MOST_CONNECTIONS


def _serve(
    runner: asyncio.Runner, server: "Server", listeners: list[socket.socket]
) -> None:
    """Answer deliveries, in a thread of its own, until the server is to exit."""
    with runner:
        runner.run(server.serve_quietly(listeners))


async def _body(receive: Any) -> bytes | int:
    """Read a body; a status where it is too large, comes too slowly, or is cut."""
    from bgresp.engine.webhooks import MOST

    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400
                body += message.get("body", b"")
                if len(body) > MOST:
                    return 413
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        return 408
