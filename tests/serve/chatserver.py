"""A server of models that does what a script says: well, badly, or half."""

import json
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SSE = "text/event-stream"
JSON = "application/json"


@dataclass
class Reply:
    """A reply: its pieces, and how its connection ends (`end`, `cut`, `reset`, `hang`)."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    kind: str = SSE
    headers: dict[str, str] = field(default_factory=dict)
    end: str = "end"


@dataclass
class ChatServer:
    """The server as a test sees it: what it will say, and what it was asked."""

    base_url: str
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def says(self, path: str, *replies: Reply) -> None:
        """Let a path answer so, one reply after the other; the last for ever."""
        self.replies[path] = list(replies)

    @property
    def asked(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def take(self, path: str) -> Reply:
        left = self.replies.get(path)
        if not left:
            return json_reply({"error": {"message": "no such path"}}, status=404)
        return left.pop(0) if len(left) > 1 else left[0]


def sse(*payloads: Any, done: bool = True, end: str = "\n", **fields: Any) -> Reply:
    """Return a stream of payloads, each its own piece."""
    told = [f"data: {json.dumps(payload)}{end}{end}".encode() for payload in payloads]
    return Reply([*told, *([b"data: [DONE]\n\n"] if done else [])], **fields)


def json_reply(value: Any, *, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([json.dumps(value).encode()], status, JSON, named)


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """Run the server on a free port of loopback."""
    server: ChatServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def _reply(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.removeprefix("/v1/")
            server.requests.append((path, dict(self.headers), body))
            reply = server.take(path)
            self.send_response(reply.status)
            self.send_header("content-type", reply.kind)
            self.send_header("transfer-encoding", "chunked")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            if reply.end == "end":
                self.wfile.write(b"0\r\n\r\n")
                return
            self.close_connection = True
            if reply.end == "hang":
                server.released.wait(20)
            if reply.end == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    server = ChatServer(f"http://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()
