"""Lists as OpenAI pages them: `limit`, `order`, `after` and the list envelope.

Pure; imports `refusal` and `wire`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bgresp.serve.refusal import RefusalError, invalid
from bgresp.serve.wire import Json

_DEFAULT, _MOST = 20, 100


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a list that is asked for."""

    limit: int
    newest_first: bool
    after: str | None

    def cut(self, ids: Sequence[str]) -> tuple[list[int], bool]:
        """Choose positions in a list of ascending order; say whether more follow."""
        order = list(range(len(ids)))
        if self.newest_first:
            order.reverse()
        if self.after is not None:
            if self.after not in ids:
                raise RefusalError(invalid(f"No such item: '{self.after}'.", "after"))
            order = order[order.index(ids.index(self.after)) + 1 :]
        return order[: self.limit], len(order) > self.limit


def page(query: Mapping[str, str]) -> Page:
    """Read the query of a list call, or refuse it."""
    limit = query.get("limit", str(_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST):
        message = f"Invalid 'limit': expected an integer from 1 to {_MOST}."
        raise RefusalError(invalid(message, "limit"))
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise RefusalError(invalid("Invalid 'order': expected asc or desc.", "order"))
    return Page(int(limit), order == "desc", query.get("after"))


def envelope(data: list[Json], *, has_more: bool) -> Json:
    """Wrap one page."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
