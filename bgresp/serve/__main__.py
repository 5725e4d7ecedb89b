"""`python -m bgresp.serve`: the endpoint's process, without the command line's weight.

This is what a detached endpoint runs; `bgresp serve` calls `server.run` itself.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from bgresp.core.errors import BgrespError
from bgresp.serve import server
from bgresp.serve.engine_options import add_arguments, from_arguments
from bgresp.serve.server import ServeOptions


def main(argv: list[str]) -> int:
    """Serve as the arguments say; a trouble is one line on stderr."""
    try:
        return server.run(_options(argv))
    except BgrespError as error:
        sys.stderr.write(f"{error.message} ({error.hint})\n")
        return int(error.code)


def _options(argv: list[str]) -> ServeOptions:
    parser = argparse.ArgumentParser(prog="python -m bgresp.serve")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--profile")
    parser.add_argument("--key-env")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--idle", type=float)
    parser.add_argument("--detached", action="store_true")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--queue", type=int)
    parser.add_argument("--disk", type=int)
    parser.add_argument("--rerun", action="store_true")
    parser.add_argument("--grace", type=float)
    parser.add_argument("--max-run", type=float)
    parser.add_argument("--retention", type=float)
    parser.add_argument("--webhook-url")
    parser.add_argument("--webhook-secret-env")
    parser.add_argument("--webhook-allow", action="append")
    add_arguments(parser)
    engine, given = from_arguments(vars(parser.parse_args(argv)))
    known: dict[str, Any] = {n: v for n, v in given.items() if v is not None}
    allowed = tuple(known.pop("webhook_allow", ()))
    return ServeOptions(engine=engine, webhook_allow=allowed, **known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
