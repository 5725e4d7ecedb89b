"""A model for the servers of others: chat completions on 127.0.0.1, told what to do.

The prompt says it: `words N` says N words and stops, `length N` runs into its limit
after N, `hold N` says N and waits to be released, `fail` is a refusal, `cut N` breaks
the connection off after N words.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn import Config, Server

WORD: Final = "fox{} "
KINDS: Final = ("words", "length", "hold", "fail", "cut")


def said(count: int) -> str:
    """Return what a model says that says so many words."""
    return "".join(WORD.format(n) for n in range(count))


class Upstream:
    """The model, in a thread of its own; `asked` are the bodies that it was sent."""

    def __init__(self) -> None:
        """Bind a free port."""
        self.asked: list[dict[str, Any]] = []
        self._released = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        route = Route("/v1/chat/completions", self._complete, methods=["POST"])
        config = Config(Starlette(routes=[route]), log_level="error", lifespan="off")
        self._server = Server(config)
        run = {"sockets": [self._socket]}
        self._thread = threading.Thread(target=self._server.run, kwargs=run)

    @property
    def base_url(self) -> str:
        """Return where chat completions are asked for, without that path."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def release(self) -> None:
        """Let every answer that holds end; those to come do not hold."""
        self._released.set()

    def hold(self) -> None:
        """Let answers hold again."""
        self._released.clear()

    def __enter__(self) -> Self:
        """Start answering."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, also what holds."""
        self.release()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        kind, count = _told(body)
        if kind == "fail":
            error = {"message": "made to fail", "type": "invalid_request_error"}
            return JSONResponse({"error": error}, 400)
        if body.get("stream"):
            stream = self._stream(kind, count)
            return StreamingResponse(stream, media_type="text/event-stream")
        await self._held(kind)
        message = {"role": "assistant", "content": said(count)}
        choice = {"index": 0, "message": message, "finish_reason": _reason(kind)}
        return JSONResponse({**_frame(), "choices": [choice], "usage": _usage(count)})

    async def _stream(self, kind: str, count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield _chunk({"role": "assistant", "content": WORD.format(number)})
        await self._held(kind)
        if kind == "cut":
            raise ConnectionAbortedError
        yield _chunk({}, _reason(kind))
        yield _sse({**_frame(), "choices": [], "usage": _usage(count)})
        yield "data: [DONE]\n\n"

    async def _held(self, kind: str) -> None:
        while kind == "hold" and not self._released.is_set():  # noqa: ASYNC110 # a test sets it
            await asyncio.sleep(0.01)


def _told(body: dict[str, Any]) -> tuple[str, int]:
    """Read the last message: its first word that is a kind, and the number after it."""
    content = body["messages"][-1]["content"]
    if not isinstance(content, str):
        content = " ".join(part.get("text", "") for part in content)
    words = content.split()
    kind = next((word for word in words if word in KINDS), "words")
    after = words[words.index(kind) + 1 :] if kind in words else []
    return kind, next((int(word) for word in after if word.isdigit()), 3)


def _reason(kind: str) -> str:
    return "length" if kind == "length" else "stop"


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 2, "completion_tokens": count, "total_tokens": count + 2}


def _frame() -> dict[str, Any]:
    return {"id": "chat-1", "object": "chat.completion", "created": 1, "model": "fake"}


def _chunk(delta: dict[str, Any], reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    frame = {**_frame(), "object": "chat.completion.chunk", "choices": [choice]}
    return _sse(frame)


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
