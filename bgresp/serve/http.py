"""uvicorn as the endpoint runs it: no logs, and an end to half-sent requests."""

import asyncio
import socket
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_TIMEOUT = 10.0  # seconds for all headers of a request
_KEEP_ALIVE = 30


class Connection(H11Protocol):
    """A connection that is closed when a request's headers do not come to their end.

    uvicorn waits for ever: a client that stalls would hold its socket until it leaves.
    """

    def __init__(self, *args: Any, headers_timeout: float, **kwargs: Any) -> None:
        """Take what uvicorn gives, and the time that headers have."""
        super().__init__(*args, **kwargs)
        self._headers_timeout = headers_timeout
        self._headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, not for ever."""
        super().connection_made(transport)
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


def quiet_server(app: Any, *, headers_timeout: float = HEADERS_TIMEOUT) -> Server:
    """Return uvicorn without its logs, its lifespan and its choices."""
    protocol: Any = partial(Connection, headers_timeout=headers_timeout)
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
