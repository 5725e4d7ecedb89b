"""Page through an endpoint's list of responses, newest first."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from bgresp.api.client import Api
from bgresp.core import paths
from bgresp.core.dialect import Dialect
from bgresp.core.reading import read_id
from bgresp.core.signals import Fault
from bgresp.core.times import unix
from bgresp.engine.gate import Gate

# An endpoint's clock may differ from ours by so much.
SLACK: Final = 3600.0

Items = list[Mapping[str, Any]]


async def pages(
    api: Api, gate: Gate, *, since: float, most: int
) -> AsyncGenerator[Items | Fault]:
    """Yield the responses a page, until they are older than `since` by far.

    At most so many pages; a Fault is the last that comes.
    """
    dialect = api.endpoint.dialect
    after: str | None = None
    for _ in range(most):
        await gate.turn()
        page = await api.list(after)
        if isinstance(page, Fault):
            yield page
            return
        items = [item for item in page["data"] if isinstance(item, Mapping)]
        yield items
        after = _next(dialect, page, after)
        if after is None or _reaches(items, since - SLACK, dialect):
            return


def _reaches(items: Items, since: float, dialect: Dialect) -> bool:
    """Say whether a page goes back before all we look for."""
    moments = [unix(paths.first(item, dialect.reads.created)) for item in items]
    return any(moment is not None and moment < since for moment in moments)


def _next(dialect: Dialect, page: Mapping[str, Any], after: str | None) -> str | None:
    """Return the id to go on after; None at the end of the list."""
    items = page["data"]
    if not items or not page.get("has_more", True):
        return None
    last = page.get("last_id") or read_id(dialect, items[-1])
    return last if isinstance(last, str) and last != after else None
