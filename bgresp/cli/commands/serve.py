"""`bgresp serve`: the local endpoint, background mode on this machine."""

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, NamedTuple

from bgresp.cli.context import Context
from bgresp.cli.options import (
    ENGINE,
    LIMITS,
    WEBHOOKS,
    Common,
    Host,
    Port,
    Uds,
    UpstreamApi,
    UpstreamKeyEnv,
    WholeRequest,
    check_port,
    opt,
    seconds,
)
from bgresp.core.errors import UsageError

if TYPE_CHECKING:
    from bgresp.serve.daemon import Launch
    from bgresp.serve.engine_options import EngineOptions

_MIB = 1024 * 1024


class Options(NamedTuple):
    """What `serve` takes."""

    host: Host = "127.0.0.1"
    port: Port = 0
    uds: Uds = None
    key_env: Annotated[
        str | None,
        opt("--key-env", help="Require the key in this variable.", metavar="NAME"),
    ] = None
    idle: Annotated[
        str | None,
        opt("--idle", help="Stop after D without a job.", metavar="D"),
    ] = None
    opens: Annotated[
        bool, opt("--open", help="Open its page in a browser: the jobs, live.")
    ] = False
    stop: Annotated[
        bool, opt("--stop", help="Stop the one that runs; with -p that profile's.")
    ] = False
    command: Annotated[
        str | None,
        opt(
            "--exec",
            help="Run CMD for each job: prompt on stdin, answer on stdout.",
            metavar="CMD",
            panel=ENGINE,
        ),
    ] = None
    whole_request: WholeRequest = False
    upstream: Annotated[
        str | None,
        opt(
            "--upstream",
            help="Ask a server that speaks Responses or chat completions.",
            metavar="URL",
            panel=ENGINE,
        ),
    ] = None
    upstream_key_env: UpstreamKeyEnv = None
    upstream_api: UpstreamApi = None
    workers: Annotated[
        int | None,
        opt("--workers", help="Run N jobs at once (2).", metavar="N", panel=LIMITS),
    ] = None
    queue: Annotated[
        int,
        opt(
            "--queue",
            help="Let N jobs wait; more get a 429.",
            metavar="N",
            panel=LIMITS,
        ),
    ] = 10_000
    max_run: Annotated[
        str,
        opt("--max-run", help="A job may run for D.", metavar="D", panel=LIMITS),
    ] = "30m"
    retention: Annotated[
        str,
        opt("--retention", help="Keep answers for D.", metavar="D", panel=LIMITS),
    ] = "24h"
    disk: Annotated[
        int,
        opt("--disk", help="All jobs may take N MiB.", metavar="N", panel=LIMITS),
    ] = 8192
    grace: Annotated[
        str,
        opt(
            "--grace",
            help="When stopped, give running jobs D to end.",
            metavar="D",
            panel=LIMITS,
        ),
    ] = "10s"
    webhook_url: Annotated[
        str | None,
        opt(
            "--webhook-url",
            help="Notify URL of each job that ends.",
            metavar="URL",
            panel=WEBHOOKS,
        ),
    ] = None
    webhook_secret_env: Annotated[
        str | None,
        opt(
            "--webhook-secret-env",
            help="The variable with the secret that signs them.",
            metavar="NAME",
            panel=WEBHOOKS,
        ),
    ] = None
    webhook_allow: Annotated[
        list[str] | None,
        opt(
            "--webhook-allow",
            help="Let a request name a URL there (repeat).",
            metavar="ORIGIN",
            panel=WEBHOOKS,
        ),
    ] = None
    rerun: Annotated[
        bool,
        opt(
            "--rerun",
            help="After a crash, run the jobs again that ran.",
            panel=LIMITS,
        ),
    ] = False


def serve(options: Options, common: Common) -> int:
    """Run a background-mode endpoint on this machine.

    Examples:

      bgresp serve --port 8080
      bgresp serve --exec 'llm -m smol'
      bgresp serve --upstream http://127.0.0.1:11434/v1
      bgresp submit prompt.txt -p local
      bgresp serve --open
      bgresp serve --stop
    """
    from bgresp.serve import daemon

    context = Context.of(common, ())
    launch = _launch(context, options)
    profile = launch.profile
    if options.stop:
        stopped = daemon.stop(context.state, profile if common.profile else None)
        context.say("stopped" if stopped else "no local endpoint was running")
        return 0
    if options.opens and (running := daemon.find(context.state, profile)) is not None:
        daemon.open_page(context.state, running, say=context.say, profile=profile)
        return 0
    _check(options, launch)
    daemon.check_extra()
    from bgresp.serve.server import ServeOptions, run

    limits = {
        name: value
        for name, value in (
            ("max_run", seconds(options.max_run)),
            ("retention", seconds(options.retention)),
            ("grace", seconds(options.grace)),
            ("workers", options.workers or launch.workers),
        )
        if value is not None
    }
    return run(
        ServeOptions(
            state=context.state,
            host=options.host,
            port=options.port,
            idle=seconds(options.idle),
            log=context.say if context.is_json else None,
            verbose=common.verbose,
            environ=context.environ,
            opens=options.opens,
            uds=options.uds,
            key_env=options.key_env,
            profile=profile,
            engine=_engine(options, launch),
            queue=options.queue,
            disk=options.disk * _MIB,
            rerun=options.rerun,
            webhook_url=options.webhook_url,
            webhook_secret_env=options.webhook_secret_env,
            webhook_allow=tuple(options.webhook_allow or ()),
            secrets=tuple(launch.secrets),
            **limits,  # type: ignore[arg-type]
        )
    )


def _launch(context: Context, options: Options) -> "Launch":
    """Return which endpoint is meant: that of a profile with -p, else the plain one.

    Raises ConfigError, and UsageError where the profile is no endpoint of ours.
    """
    from bgresp.config.urls import LOCAL

    if not context.common.profile:
        return context.launch_of(LOCAL, context.config.default_profile)
    settings = context.settings(keyed=False)
    if not settings.is_local:
        raise UsageError(
            f"profile {settings.profile!r} is served elsewhere",
            hint='bgresp serve runs profiles with dialect = "local"',
        )
    launch = context.launch_of(settings.base_url, settings.profile)
    if launch.profile and (options.command or options.upstream):
        raise UsageError(f"profile {launch.profile!r} says what runs its jobs")
    return launch


def _engine(options: Options, launch: "Launch") -> "EngineOptions":
    """Return the engine of the options, or else of the profile. Raises UsageError."""
    from bgresp.serve.engine_options import EngineOptions

    if launch.profile and launch.engine is not None:
        return launch.engine
    try:
        command = tuple(shlex.split(options.command or ""))
    except ValueError as error:
        raise UsageError(f"--exec: {error}") from None
    if options.command is not None and not command:
        raise UsageError("--exec takes a program and its arguments")
    engine = replace(
        launch.engine or EngineOptions(),
        command=command,
        whole_request=options.whole_request,
        upstream=options.upstream,
        upstream_key_env=options.upstream_key_env,
        upstream_api=options.upstream_api,
    )
    engine.check()
    return engine


def _check(options: Options, launch: "Launch") -> None:
    """Refuse what cannot be meant. Raises UsageError."""
    check_port(options.port)
    for name, value in (
        ("--workers", options.workers),
        ("--queue", options.queue),
        ("--disk", options.disk),
    ):
        if value is not None and value < 1:
            raise UsageError(f"{name} takes 1 or more")
    _engine(options, launch)
