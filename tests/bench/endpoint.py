"""An endpoint that costs next to nothing, so that what a client costs can be seen.

    python -m tests.bench.endpoint [DELTAS]

Prints its base URL. Every create is taken; a job is over when it is asked about, unless
its id says that it goes on; its stream tells so many deltas, each in a chunk of its
own, as fast as they are read.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from subprocess import PIPE, Popen
from typing import Any, Final

from tests.bench.ledgers import OPEN
from tests.command import ROOT

TEXT: Final = "a few words "
_WINDOW: Final = 64  # chunks that are written together
_IDS: Final = count(1)


def _response(id_: str, status: str, text: str = "") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    return {
        "id": id_,
        "object": "response",
        "created_at": 1_780_000_000,
        "status": status,
        "background": True,
        "model": "m",
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _events(id_: str, deltas: int) -> Iterator[bytes]:
    """Yield the events of a stream, each as a chunk."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": _response(id_, "queued")}),
        ("response.in_progress", {"response": _response(id_, "in_progress")}),
    ]
    text = ("response.output_text.delta", {**place, "delta": TEXT, "logprobs": []})
    over = _response(id_, "completed", TEXT * deltas)
    numbers = count()
    for name, said in (
        *told,
        *([text] * deltas),
        ("response.completed", {"response": over}),
    ):
        payload = {"type": name, "sequence_number": next(numbers), **said}
        event = b"event: %b\ndata: %b\n\n" % (
            name.encode(),
            json.dumps(payload).encode(),
        )
        yield b"%x\r\n%b\r\n" % (len(event), event)


class _Connection(asyncio.Protocol):
    """Answers requests in the order in which they come."""

    deltas = 0

    def __init__(self) -> None:
        self._got = bytearray()
        self._ready = asyncio.Event()
        self._ready.set()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        self._ready.clear()

    def resume_writing(self) -> None:
        self._ready.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._ready.set()

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (head := self._got.find(b"\r\n\r\n")) >= 0:
            first, *lines = bytes(self._got[:head]).split(b"\r\n")
            told = dict(line.lower().split(b":", 1) for line in lines)
            size = head + 4 + int(told.get(b"content-length", 0))
            if len(self._got) < size:
                return
            del self._got[:size]
            method, path, _ = first.decode().split()
            self._answer(method, path)

    def _answer(self, method: str, path: str) -> None:
        path, _, query = path.partition("?")
        name = path.rpartition("/")[2]
        if method == "POST":
            self._json(_response(f"resp_{next(_IDS):048x}", "queued"))
        elif "stream=true" in query.lower():
            self._task = asyncio.create_task(self._stream(name))
        elif name == "responses":
            self._json({"object": "list", "data": [], "has_more": False})
        else:
            status = "in_progress" if name.startswith(OPEN) else "completed"
            self._json(_response(name, status, TEXT))

    def _json(self, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        self._transport.write(
            b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        )

    async def _stream(self, name: str) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        self._transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        some: list[bytes] = []
        for chunk in (*_events(name, self.deltas), b"0\r\n\r\n"):
            some.append(chunk)
            if len(some) == _WINDOW or chunk == b"0\r\n\r\n":
                await self._ready.wait()
                self._transport.write(b"".join(some))
                some.clear()


@contextmanager
def running(deltas: int) -> Iterator[str]:
    """Run the endpoint in a process of its own; yield its base URL."""
    argv = [sys.executable, "-m", "tests.bench.endpoint", str(deltas)]
    with Popen(argv, stdout=PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _serve(deltas: int) -> None:
    _Connection.deltas = deltas
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) if sys.argv[1:] else 0))
