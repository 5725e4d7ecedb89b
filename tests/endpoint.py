"""An OpenAI-shaped endpoint as bgresp sees it, with what a test wants different."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, TypeVar

from bgresp.api.client import Api
from bgresp.config import files
from bgresp.core.dialect import Dialect, Op
from bgresp.core.dialect_schema import build
from bgresp.core.endpoint import Endpoint
from tests.fakeanswers import Answer, End

KEY = "sk-test-0123456789"
Result = TypeVar("Result")
Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def dialect(
    name: str = "openai",
    *,
    streaming: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    ops: Mapping[str, Op | None] | None = None,
) -> Dialect:
    """Build a built-in dialect, then change parts of it; an op of None is missing."""
    built = _built(name)
    changed = {**built.ops, **(ops or {})}
    return built._replace(
        streaming=built.streaming._replace(**(streaming or {})),
        limits=built.limits._replace(**(limits or {})),
        ops={op: how for op, how in changed.items() if how is not None},
    )


@cache
def _built(name: str) -> Dialect:
    return build(name, files.built_in())


def endpoint(
    base_url: str = "https://api.openai.com/v1",
    *,
    spoken: Dialect | None = None,
    key: str | None = KEY,
    **rest: Any,
) -> Endpoint:
    """Speak a dialect, OpenAI's by default, at a base URL."""
    return Endpoint("test", base_url, spoken or dialect(), key=key, **rest)


def using(place: Endpoint, ask: Callable[[Api], Awaitable[Result]]) -> Result:
    """Ask an endpoint in a loop of its own, and close its connections."""

    async def main() -> Result:
        api = Api(place)
        try:
            return await ask(api)
        finally:
            await api.aclose()

    return asyncio.run(main())


def patient_unless_hanging(answer: Answer) -> Dialect:
    """Give up soon on a server that says no more, and never on a slow machine."""
    hangs = getattr(answer, "end", None) is End.HANG
    return dialect(streaming={"idle_bytes": 0.1 if hangs else 60.0})


async def listed(values: AsyncIterator[Result]) -> list[Result]:
    """Take everything to the end."""
    return [value async for value in values]


@asynccontextmanager
async def listening(converse: Converse) -> AsyncIterator[str]:
    """Listen with a handler of the test's own; lend host:port, leave when all ended."""
    conversations: list[asyncio.Task[None]] = []

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await converse(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.append(asyncio.create_task(handle(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())
        await asyncio.gather(*conversations, return_exceptions=True)
