"""`bgresp config trust`: join a base URL and the key of a profile, outright."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.config import trust as noted
from bgresp.config.settings import pair_of, resolve


@dataclass(frozen=True, slots=True)
class Trust:
    """What `config trust` takes."""

    url: Annotated[
        str, typer.Argument(metavar="BASE_URL", help="Where the key may go.")
    ]


def trust(options: Trust, common: Common) -> int:
    """Let the key of a profile go to a base URL that jobs in the ledger name.

    A ledger may come from elsewhere: a key goes to the base URL of a job only where
    the configuration, an earlier submit or this command says so. Which key: the one
    that submit --base-url BASE_URL would use; -p says of which profile. No key is
    read; the pair is kept in endpoints.jsonl beside config.toml.

    Examples:

      bgresp config trust https://llm.example.com/v1
      bgresp config trust https://llm.example.com/v1 -p work
    """
    context = Context.of(common)
    flags = replace(context.flags, base_url=options.url)
    settings = resolve(flags, context.environ, context.config)
    source = str(settings.key_source)
    pair = replace(pair_of(settings), trusted=True)
    path = noted.path_of(context.config.path)
    noted.add(path, [pair], context.machine.noted)
    if context.is_json:
        record = {"endpoints": str(path), "base_url": pair.base_url}
        record |= {"key_source": source, "profile": pair.profile}
        context.show_records([record], single=True)
    else:
        context.streams.line(f"{source} of {pair.profile} may go to {pair.base_url}")
    return 0
