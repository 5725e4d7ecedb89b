"""The local endpoint in a thread of the test, and as processes of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve import daemon
from bgresp.serve.app import BODY_TIMEOUT, build
from bgresp.serve.http import HEADERS_TIMEOUT, Gate, Server, quiet_server
from bgresp.serve.job import Workers
from bgresp.serve.jobs import JobQueue, Limits
from bgresp.serve.server import StopPolicy, tend
from bgresp.serve.store import Store
from bgresp.serve.webhooks import WebhookOptions, WebhookSender
from tests.serve.endpoints import (
    DEADLINE,
    ROOT,
    Connect,
    Launch,
    Scripted,
    Serve,
    Served,
    openai,
    wait_until,
)


@contextmanager
def serving(
    folder: Path,
    *,
    key: str | None = None,
    count: int = 2,
    limit: int = 100,
    engine: Any = None,
    limits: Limits | None = None,
    headers_timeout: float = HEADERS_TIMEOUT,
    body_timeout: float = BODY_TIMEOUT,
    webhooks: WebhookOptions | None = None,
) -> Iterator[Served]:
    """Serve a folder of jobs in a thread of this process."""
    scripted = Scripted()
    store = Store(folder)
    queue = JobQueue(
        store,
        Workers(count=count, limit=limit),
        engine=engine or scripted,
        clock=time.time,
        limits=limits or Limits(),
        webhooks=WebhookSender(webhooks or WebhookOptions(), store, time.time),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    gate = Gate(build(queue, body_timeout=body_timeout), key=key, clock=time.monotonic)
    server = quiet_server(gate, headers_timeout=headers_timeout)
    stop = _in_thread(queue, listener, gate=gate, server=server)
    try:
        with ExitStack() as clients:
            yield Served(f"http://127.0.0.1:{port}/v1", scripted, key, clients)
    finally:
        stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve in threads of this process; options are those of the parts."""
    with ExitStack() as stack:

        def start(**options: Any) -> Served:
            return stack.enter_context(serving(tmp_path / "jobs", **options))

        yield start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve once for all tests of a module that leave no job behind."""
    with serving(tmp_path_factory.mktemp("shared") / "jobs") as served:
        yield served


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


@pytest.fixture
def sdk(served: Served) -> openai.OpenAI:
    return served.sdk()


def _in_thread(
    queue: JobQueue, listener: socket.socket, *, gate: Gate, server: Server
) -> Callable[[], None]:

    async def main() -> None:
        tending = asyncio.ensure_future(
            tend(server, queue, gate=gate, policy=StopPolicy())
        )
        await server.serve(sockets=[listener])
        await tending

    queue.open()
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()

    return stop


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """Lend a state folder; whatever endpoint runs for it at the end is stopped."""
    folder = tmp_path / "state"
    yield folder
    daemon.stop(folder)


@pytest.fixture
def launch(state: Path) -> Iterator[Launch]:
    """Run `python -m bgresp.serve` for the state folder and wait until it listens."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, ready: bool = True) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bgresp.serve", "--state", str(state)]
        process = subprocess.Popen(
            [*command, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        processes.append(process)
        if ready:
            wait_until(lambda: daemon.find(state) or process.poll() is not None)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return an SDK client of the endpoint that runs for a state folder."""
    with ExitStack() as stack:

        def client(state: Path) -> openai.OpenAI:
            running = daemon.find(state)
            assert running is not None
            return stack.enter_context(
                openai.OpenAI(
                    base_url=running.base_url,
                    api_key=running.key or "any",
                    max_retries=0,
                    timeout=DEADLINE,
                )
            )

        yield client
