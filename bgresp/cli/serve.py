"""`bgresp serve`: the local endpoint, background mode on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt, seconds
from bgresp.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Options:
    """What `serve` takes."""

    host: Annotated[
        str, opt("--host", help="The address to listen on.", metavar="ADDRESS")
    ] = "127.0.0.1"
    port: Annotated[
        int, opt("--port", help="The port; 0 takes a free one.", metavar="N")
    ] = 0
    uds: Annotated[
        Path | None,
        opt("--uds", help="Listen on a unix socket, too.", metavar="PATH"),
    ] = None
    idle: Annotated[
        str | None,
        opt("--idle", help="Stop when idle for so long.", metavar="D"),
    ] = None
    opens: Annotated[
        bool, opt("--open", help="Open its page in a browser: the jobs, live.")
    ] = False
    stop: Annotated[bool, opt("--stop", help="Stop the one that runs.")] = False


def serve(options: Options, common: Common) -> int:
    """Run a background-mode endpoint on this machine.

    Examples:

      bgresp serve --port 8080
      bgresp submit prompt.txt -p local
      bgresp serve --open
      bgresp serve --stop
    """
    from bgresp.serve import daemon

    context = Context.of(common)
    if options.stop:
        stopped = daemon.stop(context.state)
        context.say("stopped" if stopped else "no local endpoint was running")
        return 0
    if options.opens and (running := daemon.find(context.state)) is not None:
        daemon.open_page(context.state, running, said=context.say)
        return 0
    if not 0 <= options.port <= 65535:
        raise UsageError("--port takes 0 to 65535")
    daemon.check_extra()
    from bgresp.serve.server import ServeOptions, run

    return run(
        ServeOptions(
            state=context.state,
            host=options.host,
            port=options.port,
            idle=seconds(options.idle),
            said=context.say if context.is_json else None,
            opens=options.opens,
            uds=options.uds,
        )
    )
