"""HTTP at the door: uvicorn as the endpoint runs it, what every request passes first.

No logs, and an end to half-sent requests; then the key, who may knock, a request id,
the clock.
"""

import asyncio
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bgresp.core.text import one_line
from bgresp.serve import wire
from bgresp.serve.wire import Refusal, dumps

HEADERS_TIMEOUT = 10.0  # seconds for all headers of a request
_KEEP_ALIVE = 30
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# What tells nothing of anyone: a page has no key yet when it is opened.
KEYLESS = frozenset({"/healthz", "/", "/page.css", "/page.js", "/page.svg"})


class Connection(H11Protocol):
    """A connection that is closed when a request's headers do not come to their end.

    uvicorn waits for ever: a client that stalls would hold its socket until it leaves.
    """

    def __init__(
        self, *args: Any, headers_timeout: float, most: int | None, **kwargs: Any
    ) -> None:
        """Take what uvicorn gives, the time that headers have, and how many may be."""
        super().__init__(*args, **kwargs)
        self._headers_timeout = headers_timeout
        self._most = most
        self._headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, not for ever; hang up on one too many."""
        super().connection_made(transport)
        if self._most is not None and len(self.connections) > self._most:
            transport.abort()
            return
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the time runs on while headers are incomplete."""
        super().data_received(data)
        if self._has_request():
            self._unset()
        elif self.conn.trailing_data[0]:
            self._wait_for_headers()

    def on_response_complete(self) -> None:
        """Wait for the next request: idle it has uvicorn's time, begun it has ours."""
        super().on_response_complete()
        if self.conn.trailing_data[0] and not self.transport.is_closing():
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer."""
        self._unset()
        super().connection_lost(exc)

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        if self._headers_due is None:
            self._headers_due = self.loop.call_later(self._headers_timeout, self._late)

    def _unset(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _late(self) -> None:
        self._headers_due = None
        if not self._has_request():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn that is asked to stop and told to: in between, jobs come to their end."""

    stop_asked = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a signal; the second one does not wait."""
        if self.stop_asked:
            self.should_exit = True
        self.stop_asked = True

    async def serve_quietly(self, sockets: list[socket.socket]) -> None:
        """Serve until `should_exit`; signals are its caller's to hear."""
        await self._serve(sockets)


def quiet_server(
    app: Any, *, headers_timeout: float = HEADERS_TIMEOUT, most: int | None = None
) -> Server:
    """Return uvicorn without its logs, its lifespan and its choices.

    `most` are the connections that it has at a time.
    """
    protocol: Any = partial(Connection, headers_timeout=headers_timeout, most=most)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,  # whoever sends may say anything in X-Forwarded-For
        loop="asyncio",
        http=protocol,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    return Server(config)


class Gate:
    """The application behind a key, if there is one."""

    def __init__(
        self,
        app: App,
        *,
        key: str | None,
        clock: Callable[[], float],
        trace: Callable[[str], None] | None = None,
    ) -> None:
        """Guard `app`; without a key any key is taken, or none.

        `trace` is told of each request: its path, never its query, and its status.
        """
        self._trace = trace
        self._app = app
        self._key = key
        self._clock = clock
        self._open = 0
        self._last = clock()

    def quiet_for(self) -> float:
        """Return the seconds since the last request; zero while one is open."""
        return 0.0 if self._open else self._clock() - self._last

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            return
        self._open += 1
        try:
            await self._pass(scope, receive, _stamped(self._traced(scope, send)))
        finally:
            self._open -= 1
            self._last = self._clock()

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        no = None if scope["path"] in KEYLESS else self._refusal(headers)
        if no is None:
            await self._app(scope, receive, send)
        else:
            await _answer(no, send)

    def _traced(self, scope: Message, send: Send) -> Send:
        trace = self._trace
        if trace is None:
            return send

        async def tracing(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = f"{scope['method']} {scope['path']}: {message['status']}"
                trace(one_line(said))
            await send(message)

        return tracing

    def _refusal(self, headers: dict[bytes, bytes]) -> Refusal | None:
        host = headers.get(b"host", b"")
        if not _is_own_page(headers, host):
            return wire.foreign_page()
        if self._key is None:
            # A name that was rebound to this address is a stranger's (Host).
            return None if _is_local(host) else wire.foreign_page()
        wanted = f"Bearer {self._key}".encode()
        given = headers.get(b"authorization", b"")
        return None if hmac.compare_digest(wanted, given) else wire.unauthorized()


def _is_own_page(headers: dict[bytes, bytes], host: bytes) -> bool:
    """Say whether a browser's request comes from our page; programs say nothing."""
    own = {b"http://" + host, b"https://" + host}
    origin = headers.get(b"origin")
    site = headers.get(b"sec-fetch-site", b"none")
    return (origin is None or origin in own) and site in {b"none", b"same-origin"}


def _is_local(host: bytes) -> bool:
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name[:1] == "[" else name.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"", "localhost"} or name.endswith(".localhost")
    return True


def _stamped(send: Send) -> Send:
    stamp = (b"x-request-id", f"req_{secrets.token_hex(16)}".encode())

    async def stamping(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), stamp]
        await send(message)

    return stamping


async def _answer(no: Refusal, send: Send) -> None:
    body = dumps(no.body()).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": no.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
