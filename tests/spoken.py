"""A server that answers what a table says: METHOD /path to replies, in their order.

For endpoints that do not speak as OpenAI does; the last reply of a route stays.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.fakejobs import HttpRequest


@dataclass(frozen=True, slots=True)
class Say:
    """One reply: an HTTP status, and JSON, or events where it is a list."""

    body: Any = ""
    status: int = 200

    def to_bytes(self) -> tuple[bytes, str]:
        """Return the body and its content type."""
        if isinstance(self.body, list):
            frames = (f"data: {json.dumps(event)}\n\n" for event in self.body)
            return "".join(frames).encode(), "text/event-stream"
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode(), "application/json"


@dataclass(slots=True)
class Spoken:
    """The server; `seen` are the requests that came, in their order."""

    routes: Mapping[str, Sequence[Say]]
    seen: list[HttpRequest] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _left: dict[str, list[Say]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._left = {route: list(says) for route, says in self.routes.items()}
        spoken = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {k.lower(): v for k, v in self.headers.items()}
                body = self.rfile.read(length)
                seen = HttpRequest(self.command, self.path, headers, body, 0.0)
                reply = spoken.answer(seen)
                raw, kind = reply.to_bytes()
                self.send_response(reply.status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_DELETE = _answer  # noqa: N815  its names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """Return the address, without a path."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, seen: HttpRequest) -> Say:
        """Return the next reply to a request; a route that is not there is a 404."""
        self.seen.append(seen)
        left = self._left.get(f"{seen.method} {seen.path}")
        if not left:
            return Say({"error": {"message": f"no route {seen.path}"}}, 404)
        return left.pop(0) if len(left) > 1 else left[0]

    def asked(self) -> list[str]:
        """Return the method and target of every request."""
        return [f"{seen.method} {seen.target}" for seen in self.seen]
