"""Rows that come from a thread: in order, and with whatever goes wrong there."""

import asyncio
import sqlite3
from collections.abc import Iterator

import pytest

from bgresp.batch.files import from_thread
from bgresp.core.errors import UsageError
from bgresp.core.manifest import Row


@pytest.mark.parametrize(
    "error",
    [UsageError("bad"), OSError("gone"), sqlite3.OperationalError("disk is full")],
)
def test_what_goes_wrong_reaches_who_reads(error: Exception) -> None:
    """Every row before comes first; nobody waits for one that cannot come."""
    found: list[int] = []

    def rows() -> Iterator[tuple[int, Row]]:
        for number in range(1, 40):
            yield number, Row(str(number))
        raise error

    async def main() -> None:
        async for number, _ in from_thread(rows()):
            found.append(number)

    with pytest.raises(type(error), match=str(error)):
        asyncio.run(main())
    assert list(range(1, 40)) == found
