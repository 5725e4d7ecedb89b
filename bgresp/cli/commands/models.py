"""`bgresp models`: what an endpoint says it has; the free check of key and network."""

from typing import Any

from bgresp.cli import records
from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.core.errors import RefusedError
from bgresp.core.signals import Fault, FaultKind, error_of

FIELDS = ("id", "created", "object", "owned_by")


def models(common: Common) -> int:
    """List the models of an endpoint, where it lists them; it costs nothing.

    An answer proves that key and network are all right.

    Examples:

      bgresp models
      bgresp models -p work | grep large
    """
    context = Context.of(common, FIELDS)
    settings = context.settings()
    found: list[dict[str, Any]] = []

    async def ask() -> int:
        async with context.api(settings) as api:
            host = api.endpoint.host
            if not api.can("models"):
                raise RefusedError(f"{host} has no list of models", hint=_ELSE)
            page = await api.models()
        if isinstance(page, Fault):
            if page.kind is FaultKind.GONE:
                raise RefusedError(f"{host} does not list its models", hint=_ELSE)
            error = error_of(page, f"{host}: {page.message}")
            if error.retryable:  # what is usual then is this command
                error.hint = "the same command again; where it goes: bgresp config show"
            raise error
        named = (item for item in page["data"] if isinstance(item, dict))
        found.extend(item for item in named if isinstance(item.get("id"), str))
        return 0

    code = context.run(ask())
    _show(context, found)
    return code


_ELSE = "bgresp submit -m MODEL takes any name"


def _show(context: Context, found: list[dict[str, Any]]) -> None:
    wanted = context.common.wanted_fields()
    if context.is_json:
        rows = [{n: item.get(n) for n in wanted} if wanted else item for item in found]
        records.show(context, rows, single=False)
        return
    for item in sorted(found, key=lambda item: item["id"]):
        cells = (item.get(name) for name in wanted or ("id",))
        context.streams.line("\t".join("-" if c is None else str(c) for c in cells))
    if not found:
        context.say("the list of models is empty")
