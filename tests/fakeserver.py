"""A Responses endpoint on 127.0.0.1 that misbehaves exactly as a test scripts it.

It runs on asyncio streams in a thread of its own, so that synchronous tests and real
subprocesses can talk to it. fakejobs.py is its usual behaviour, fakeanswers.py what
can be scripted, fakewire.py what a job's history is made of.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from tests.fakeanswers import (
    Answer,
    End,
    Forever,
    Performed,
    Reply,
    Script,
    Snapshot,
    Stream,
    as_json,
)
from tests.fakehttp import (
    Wire,
    answer_wire,
    read_request,
    reply_wire,
    stream_wire,
    write,
)
from tests.fakejobs import OPERATIONS, HttpRequest, Jobs, Tell, says
from tests.fakewire import FOX

_HOST = "127.0.0.1"


class FakeServer:
    """A scripted endpoint, usable as a context manager; counts all it is asked."""

    def __init__(
        self,
        *,
        tell: str | Tell = FOX,
        polls: Sequence[str] = ("in_progress",),
        idempotent: bool = False,
        listing: bool = False,
        keep_alive: bool = False,
    ) -> None:
        """Take the text or history of each job, and what polls show before its end."""
        told = says(tell) if isinstance(tell, str) else tell
        self.together = 0  # so many creates have to come before anything is answered
        self._came_together = asyncio.Event()
        self._jobs = Jobs(told, polls, idempotent, listing)
        self._keep_alive = keep_alive
        self._seen: list[HttpRequest] = []
        self._counts: Counter[str] = Counter()
        self._crashes: list[Exception] = []
        self._script = Script()
        self._changed = threading.Condition()
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._socket = socket.create_server((_HOST, 0), backlog=1024)
        self.address: tuple[str, int] = self._socket.getsockname()
        self._loop, self._stopped = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection, and verify unless an exception is in flight."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        if kind is None:
            self.verify()

    @property
    def base_url(self) -> str:
        """Return the base URL, up to /v1."""
        return f"http://{_HOST}:{self.address[1]}/v1"

    @property
    def requests(self) -> tuple[HttpRequest, ...]:
        """Return all requests so far, in the order of their arrival."""
        with self._changed:
            return tuple(self._seen)

    @property
    def creates(self) -> tuple[HttpRequest, ...]:
        """Return the requests that asked for a new job."""
        return self.asked("create")

    @property
    def jobs(self) -> dict[str, str]:
        """Return the status of every job that was made and not deleted."""
        with self._changed:
            return {job.id: job.status for job in self._jobs.kept.values()}

    def asked(self, operation: str, job: str | None = None) -> tuple[HttpRequest, ...]:
        """Return the requests of one operation, on one job or on any."""
        return tuple(
            seen
            for seen in self.requests
            if seen.operation == operation and job in (None, seen.job)
        )

    def count(self, method: str, path: str) -> int:
        """Count the requests of that method and path, whatever their query."""
        return [(s.method, s.path) for s in self.requests].count((method, path))

    def cancels(self, job: str | None = None) -> int:
        """Count the cancel requests."""
        return len(self.asked("cancel", job))

    def wait_for(self, operation: str, times: int = 1, *, timeout: float = 30) -> None:
        """Block until an operation was asked so many times."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._counts[operation] >= times, timeout
            ):
                raise AssertionError(f"{operation} not asked {times} times")

    def script(
        self, operation: str, *replies: Answer | Forever, job: str | None = None
    ) -> None:
        """Queue answers for the next requests of an operation, on one job or any."""
        if operation not in OPERATIONS:
            raise ValueError(f"{operation}: not one of {', '.join(OPERATIONS)}")
        with self._changed:
            self._script.add(operation, job, replies)

    def verify(self) -> None:
        """Fail when a scripted answer was left unused or the server itself broke."""
        if self._crashes:
            raise AssertionError("the fake server broke") from self._crashes[0]
        with self._changed:
            unused = self._script.unused()
        if unused:
            raise AssertionError("never asked for:\n" + "\n".join(unused))

    def refuse(self) -> None:
        """Refuse new connections, and keep the port."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result()

    def accept(self) -> None:
        """Accept connections, at first or again."""
        asyncio.run_coroutine_threadsafe(self._accept(), self._loop).result()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        await self._stopped.wait()
        await self._stop_accepting()
        for _ in range(3):  # some were accepted meanwhile; what was aborted closes
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await asyncio.sleep(0)

    async def _accept(self) -> None:
        self._server = await asyncio.start_server(self._connected, sock=self._socket)

    async def _stop_accepting(self) -> None:
        """Close the listener; asyncio leaks what it accepts as its server closes."""
        self._loop.remove_reader(self._socket.fileno())
        for _ in range(3):  # what was accepted becomes a connection of ours
            await asyncio.sleep(0)
        self._server.close()
        self._socket.close()

    async def _refuse(self) -> None:
        await self._stop_accepting()
        # Bound but not listening: refuses, and nobody else can take the port.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(self.address)

    def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.transport.set_write_buffer_limits(0)  # drain() means: in the kernel
        task = self._loop.create_task(self._converse(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Not in a finally: a task that is cancelled before its start has none.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while seen := await read_request(reader):
                wire = self._answer(seen)
                if self._counts["create"] >= self.together:
                    self._came_together.set()
                await self._came_together.wait()
                await write(wire, reader, writer)
                if not self._keep_alive or wire.end is not End.EOF:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        except Exception as error:  # noqa: BLE001 - verify() raises it
            self._crashes.append(error)

    def _answer(self, seen: HttpRequest) -> Wire:
        with self._changed:
            self._seen.append(seen)
            self._counts[seen.operation] += 1
            self._changed.notify_all()
            headers = {"x-request-id": f"req_{len(self._seen)}"}
            headers |= {} if self._keep_alive else {"Connection": "close"}
            return self._wire(seen, headers)

    def _wire(self, seen: HttpRequest, headers: dict[str, str]) -> Wire:
        answer = self._script.take(seen.operation, seen.job) or _usual(seen)
        match answer:
            case Performed():
                self._jobs.perform(seen)
                return answer_wire(answer.answer, headers)
            case Snapshot():
                return reply_wire(self._snapshot(answer, seen), headers)
            case Stream():
                return self._stream(answer, seen, headers)
            case _:
                return answer_wire(answer, headers)

    def _snapshot(self, answer: Snapshot, seen: HttpRequest) -> Reply:
        job, reply = self._jobs.perform(seen)
        if job and answer.status:
            reply = as_json(job.move(answer.status))
        return answer.change(replace(reply, status=answer.http) if job else reply)

    def _stream(
        self, answer: Stream, seen: HttpRequest, headers: dict[str, str]
    ) -> Wire:
        creates = seen.operation == "create"
        job, reply = (self._jobs.perform if creates else self._jobs.find)(seen)
        if job is None:
            return reply_wire(reply, headers)
        after, history = seen.query.get("starting_after"), job.history()
        told = history if answer.events is None else answer.events
        events = answer.select(told, None if after is None else int(after))
        if events and events[-1] == history[-1]:
            job.finish()
        return stream_wire(answer, events, headers)


def _usual(seen: HttpRequest) -> Answer:
    body = seen.json if seen.operation == "create" else None
    streamed = isinstance(body, dict) and body.get("stream")
    return Stream() if streamed or seen.operation == "stream" else Snapshot()
