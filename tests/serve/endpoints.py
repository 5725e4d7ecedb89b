"""What the tests of the local endpoint share: an engine on a string, and waiting."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from bgresp.serve.engines import Demo, EngineError, EngineNews, Outcome, Work
from bgresp.serve.output import OutputWriter
from bgresp.serve.wire import usage

if TYPE_CHECKING:
    import openai as openai  # noqa: PLC0414  the tests have it from here
    from openai.types.responses import Response
    from pydantic import TypeAdapter

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0


class Lazy:
    """A module that is imported when something of it is used first."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for marks of its own
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


if not TYPE_CHECKING:  # every worker collects these tests, and few run them
    openai = Lazy("openai")


@cache
def event_schema() -> TypeAdapter[Any]:
    """Return what checks an event of a stream as the SDK models it."""
    from pydantic import TypeAdapter

    return TypeAdapter(openai.types.responses.ResponseStreamEvent)


@dataclass
class Scripted:
    """An engine that does what the prompt says: hold, fail, burst, or the demo."""

    released: threading.Event = field(default_factory=threading.Event)
    name: str = "demo"

    async def run(self, work: Work) -> AsyncIterator[EngineNews]:
        what = work.request["input"]
        writer = OutputWriter(work.id)
        if what == "hold":
            yield writer.text("first ")
            while not self.released.is_set():  # noqa: ASYNC110 # set by another thread
                await asyncio.sleep(0.005)
            yield writer.text("second")
            yield writer.finish()
            yield Outcome(usage(1, 2))
        elif what == "fail":
            yield writer.text("half ")
            raise EngineError("server_error", "as asked")
        elif what == "burst":
            raise RuntimeError(what)
        elif what == "silent":
            yield writer.finish(empty=True)
            yield Outcome(usage(1, 0))
        else:
            async for piece in Demo(pace=0).run(work):
                yield piece

    async def models(self) -> list[str]:
        return ["demo"]


@dataclass
class Served:
    """A served endpoint: its address, its engine, and clients for it."""

    base_url: str
    engine: Scripted
    key: str | None
    clients: ExitStack

    def sdk(self, *, key: str = "any", **headers: str) -> openai.OpenAI:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.clients.enter_context(
            openai.OpenAI(
                base_url=self.base_url,
                api_key=self.key or key,
                default_headers=named,
                max_retries=0,
                timeout=DEADLINE,
            )
        )

    @property
    def http(self) -> httpx.Client:
        headers = {} if self.key is None else {"authorization": f"Bearer {self.key}"}
        client = httpx.Client(
            base_url=self.base_url,
            headers=headers,
            timeout=DEADLINE,
            trust_env=False,
            verify=False,  # noqa: S501 # plain HTTP; spares a TLS context
        )
        return self.clients.enter_context(client)


Serve = Callable[..., Served]
Launch = Callable[..., Popen[str]]
Connect = Callable[[Path], "openai.OpenAI"]


def connected(served: Served) -> socket.socket:
    """Connect to an endpoint, to talk to it byte by byte."""
    address = urlsplit(served.base_url)
    assert address.port is not None
    return socket.create_connection(("127.0.0.1", address.port), DEADLINE)


def wait_until(true: Callable[[], Any], *, deadline: float = DEADLINE) -> Any:
    """Poll until something holds; return what it gave."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not (found := true()):
        assert time.monotonic() < end, "it never came true"
        pause.wait(0.02)
    return found


def is_gone(pid: int) -> bool:
    """Say whether a process has ended; one that nobody has waited for has, too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # it ended between the two questions: is there a /proc?
        return Path("/proc/self/stat").exists()


def create(sdk: openai.OpenAI, prompt: str, **fields: Any) -> Response:
    """Create a background response."""
    response: Response = sdk.responses.create(
        model="demo", input=prompt, background=True, **fields
    )
    return response


def stream(sdk: openai.OpenAI, prompt: str) -> Any:
    """Create a background response that can be streamed; return its open stream."""
    return sdk.responses.create(
        model="demo", input=prompt, background=True, stream=True
    )


def poll(
    sdk: openai.OpenAI, response_id: str, *statuses: str, deadline: float = DEADLINE
) -> Response:
    """Retrieve until the response has one of the statuses, by default a final one."""
    wanted = statuses or ("completed", "failed", "incomplete", "cancelled")

    def look() -> Response | None:
        response = sdk.responses.retrieve(response_id)
        return response if response.status in wanted else None

    found: Response = wait_until(look, deadline=deadline)
    return found
