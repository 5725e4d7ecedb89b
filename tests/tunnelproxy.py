"""An HTTPS proxy on loopback, and what stands behind it: a server with a private CA.

It answers CONNECT as it is told to; a tunnel that stands ends in TLS of its own, for any
host's name, and what comes out of it goes to a FakeServer.
"""

import asyncio
import socket
import ssl
import struct
import threading
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trustme

HOST: Final = "llm.test"
BASE_URL: Final = f"https://{HOST}/v1"
_PAUSE: Final = 0.1
_HEAD_END: Final = b"\r\n\r\n"


class Connect(StrEnum):
    """What becomes of a CONNECT, or of the request behind it."""

    LET_THROUGH = "let through"
    LATE = "let through late"
    RESET = "reset"
    HALF = "closed in mid-reply"
    UNAUTHORIZED = "407 Proxy Authentication Required"
    FORBIDDEN = "403 Forbidden"
    BAD_GATEWAY = "502 Bad Gateway"
    CLOSE = "closed without a word"
    SILENT = "silent"
    NO_TLS = "cut as soon as the tunnel stands"
    NO_REPLY = "cut once the server has the request"


class TunnelProxy:
    """A proxy in a thread, usable as a context manager; `connects` counts CONNECTs."""

    def __init__(self, upstream: tuple[str, int], *how: Connect) -> None:
        """Take where tunnels lead, and how to answer; the last one holds on."""
        self.upstream, self.how = upstream, [*how]
        self.connects = 0
        self._ca = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(HOST).configure_cert(self._tls)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no connection."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def environ(self, folder: Path) -> dict[str, str]:
        """Return the variables that lead through it and trust its CA."""
        ca = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(ca))
        return {"HTTPS_PROXY": self.url, "SSL_CERT_FILE": str(ca)}

    @property
    def url(self) -> str:
        """Return the proxy's URL."""
        return f"http://127.0.0.1:{self._port}"

    def _run(self, ready: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = self._loop.create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(_HEAD_END)
                assert head.startswith(b"CONNECT "), head
                self.connects += 1
                how = self.how.pop(0) if len(self.how) > 1 else self.how[0]
                await self._do(how, reader, writer)
        finally:
            writer.transport.abort()

    async def _do(
        self, how: Connect, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if how is Connect.CLOSE:
            return
        if how is Connect.RESET:
            sock: socket.socket = writer.get_extra_info("socket")
            # No lingering: closing sends RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return
        if how is Connect.HALF:
            writer.write(b"HTTP/1.1 20")
            await writer.drain()
            return
        if how is Connect.LATE:
            await asyncio.sleep(_PAUSE)
        if how is Connect.SILENT:
            await reader.read()
            return
        if how[0].isdigit():
            writer.write(f"HTTP/1.1 {how}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        if how is Connect.NO_TLS:
            return
        await writer.start_tls(self._tls)
        source, sink = await asyncio.open_connection(*self.upstream)
        try:
            requests = self._loop.create_task(_passed(reader, sink))
            if how is Connect.NO_REPLY:
                await source.read(1)
            else:
                await _passed(source, writer)
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)
        finally:
            sink.transport.abort()


async def _passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(65536):
        sink.write(piece)
        await sink.drain()
