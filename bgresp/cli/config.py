"""`bgresp config path` and `show`: where the configuration lies, and what holds."""

from dataclasses import asdict
from typing import Any, Final

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.config import files, places
from bgresp.core.errors import worst
from bgresp.render.streams import as_json
from bgresp.render.table import show_rows

SCHEMA: Final = "bgresp.config/1"


def path(common: Common) -> int:
    """Print where config.toml, the profiles and the ledger's folder lie.

    Examples:

      bgresp config path
      BGRESP_CONFIG=./bgresp.toml bgresp config path --json
    """
    context = Context.of(common)
    config = places.config_path(context.environ)
    found = {
        "config": str(config),
        "profiles": str(config.parent / "profiles"),
        "state": str(places.state_path(context.environ)),
    }
    if context.is_json:
        context.show_records([found], single=True)
    else:
        show_rows(context.streams, [list(place) for place in found.items()])
    return 0


def show(common: Common) -> int:
    """Print each value that holds, and its origin; keys only as `set`.

    -p asks about another profile; -v adds what its dialect says. No key is read, no
    api_key_cmd is run. What is wrong elsewhere in the configuration is told: exit 4.

    Examples:

      bgresp config show
      bgresp config show -p work -v
    """
    from bgresp.config.effective import Effective
    from bgresp.config.profiles import mistakes

    context = Context.of(common)
    effective = Effective(context.flags, context.environ, context.config)
    values = list(effective.all(everything=common.verbose))
    if common.jsonl:
        context.show_records([asdict(value) for value in values], single=False)
    elif common.json:
        held = {v.key: {"value": v.value, "origin": v.origin} for v in values}
        record = {"schema": SCHEMA, "config": str(context.config.path), "values": held}
        context.show_records([record], single=True)
    else:
        show_rows(context.streams, [[v.key, _plain(v.value), v.origin] for v in values])
    lost = files.astray(context.environ)
    if lost is not None:
        context.say(lost)
    wrong = list(mistakes(context.config))
    for mistake in wrong:
        errors.show(context.streams, mistake)
    return int(worst(mistake.code for mistake in wrong))


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "not set"
    return value if isinstance(value, str) else as_json(value)
