"""A client of one connection that is ours: HTTP/1.1 by h11 over asyncio's streams.

It takes the place of httpx where no proxy stands between (PERFORMANCE.md 4 and 6): its
import and its layers cost more than all else a submit does, and of a request that
failed they do not tell whether a byte of it left. Here `Sent` is told before the socket
is. Redirects, cookies and compression are nobody's business.
"""

import asyncio
import os
import re
import select
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import h11

from bgresp.api.transport import (
    CONNECT_TIMEOUT,
    NO_HEADER,
    WRITE_TIMEOUT,
    ExchangeError,
    Failure,
    Request,
    Response,
    Sent,
    of_system,
)

KEPT: Final = 5.0  # seconds for which an idle connection is used again, as httpx does
_LARGEST_HEAD: Final = 100 << 10  # bytes of a reply's status line and headers
_MOST_HELD: Final = 256 << 10  # bytes that came and nobody took: then no more is read
_PIECE: Final = 256 << 10
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_PORTS: Final = {"http": 80, "https": 443}
_SECOND_FAMILY: Final = 0.25  # seconds until another address is tried, too (RFC 8305)
_PATH: Final = "/%:@!$&'()*+,;=~"  # what a path holds as it is (RFC 3986)
_STRAY: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFINITE: Final = re.compile(rb"HTTP/1\.[01] [234]")
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_REFUSED: Final = 300  # a status from which on the rest of a request is not wanted
_TURNS: Final = 4  # of the loop, until what a socket holds is told through TLS


class Address(NamedTuple):
    """Where a base URL leads; `authority` is how the Host header says it."""

    host: str
    port: int
    is_tls: bool
    authority: str


def address(url: str) -> Address:
    """Return where a URL leads. Raises ExchangeError "unformed" where it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ExchangeError(Failure.UNFORMED, f"not a URL: {error}") from None
    usual = _PORTS.get(parts.scheme)
    if usual is None or not host:
        raise ExchangeError(Failure.UNFORMED, "not a URL of http or https")
    if not host.isascii():
        host = _in_ascii(host)
    if ":" in host:
        host = host.replace("%25", "%", 1)  # before a zone (RFC 6874)
    shown = f"[{_without_zone(host)}]" if ":" in host else host
    authority = shown if port in {None, usual} else f"{shown}:{port}"
    port = usual if port is None else port
    return Address(host, port, parts.scheme == "https", authority)


def _without_zone(host: str) -> str:
    """Return an address as others know it: a zone is this machine's own."""
    return host.partition("%")[0] if ":" in host else host


def _in_ascii(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ExchangeError(Failure.UNFORMED, "not the name of a host") from None


def target(request: Request) -> str:
    """Return a request's path and query as its first line has them."""
    path = _STRAY.sub("%25", urlsplit(request.url).path) or "/"
    query = urlencode(request.params, doseq=True)
    return quote(path, safe=_PATH) + (f"?{query}" if query else "")


class _Wire(asyncio.Protocol):
    """The connection itself: what came is h11's until somebody takes it.

    One timer serves all waits: set again only where it went off too early.
    """

    __slots__ = (
        *("gone", "idle_since", "is_torn", "_ended", "_error", "_held", "_http"),
        *("_is_full", "_is_spoiled", "_is_stopped", "_loop", "_reply", "_socket"),
        *("_timer", "_until", "_waiter", "_was_cut"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.gone: asyncio.Future[None] = loop.create_future()
        self.idle_since: float | None = None
        self.is_torn = self._was_cut = False
        self._loop = loop
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        self._held = 0
        self._ended = self._is_full = self._is_spoiled = self._is_stopped = False
        self._error: Exception | None = None
        self._reply: h11.Response | None = None
        self._socket: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._waiter: asyncio.Future[None] | None = None

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._held += len(data)
        if self._held > _MOST_HELD and not self._is_stopped:
            self._is_stopped = True
            self._socket.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended, self._was_cut = True, self._lacks_farewell()
        self._wake()

    def _lacks_farewell(self) -> bool:
        """Say whether anybody between may have ended what TLS protects.

        asyncio tells of both ends alike; what is read after a farewell is nothing.
        """
        tls = self._socket.get_extra_info("ssl_object")
        try:
            return tls is not None and tls.read(1) != b""
        except ssl.SSLError:  # it still waits for one
            return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._was_cut |= not self._ended  # by ourselves
        self._ended, self._error = True, exc
        if not self.gone.done():
            self.gone.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake()

    # What an exchange asks for.

    def is_usable(self, now: float) -> bool:
        """Say whether another request may go out: the server neither left nor spoke."""
        idle, at_rest = self.idle_since, not (self._ended or self._held)
        is_kept = at_rest and idle is not None and now - idle <= KEPT
        return is_kept and not self._has_news()

    def _has_news(self) -> bool:
        """Say whether the socket holds what the loop did not read yet.

        Some servers leave after each reply without a word of it: what they are sent
        next, before the loop came to see that, would be lost.
        """
        socket = self._socket.get_extra_info("socket")
        return socket is not None and _is_readable(socket.fileno())

    async def stand(self) -> None:
        """Make sure that a new connection stands. Raises ExchangeError.

        One that was cut before a byte was written took no request, though a 503 came
        first, which would leave a doubt. What settles the matter is read as a reply.
        """
        await self._catch_up()
        if self._ended and not _DEFINITE.match(self._http.trailing_data[0]):
            said = "the connection was closed at once"
            error = self._error
            raise ExchangeError(
                Failure.UNCONNECTED, said if error is None else _first(error)
            ) from error

    async def _catch_up(self) -> None:
        """Let the loop read what the socket holds."""
        for _ in range(_TURNS):
            if self._ended or not self._has_news():
                return
            await asyncio.sleep(0)

    def abort(self) -> None:
        self._socket.abort()

    async def send(self, head: h11.Request, body: bytes, sent: Sent) -> None:
        """Write a request; one that is answered before its end is left there."""
        self.idle_since = self._reply = None
        http = self._http
        try:
            raw = http.send(head) or b""
            rest = (http.send(h11.Data(body)) or b"") if body else b""
            rest += http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:
            raise ExchangeError(Failure.UNFORMED, NO_HEADER) from None
        sent.leave()
        sent.written = True
        if len(rest) <= _PIECE:
            self._socket.write(raw + rest)
            return
        self._socket.write(raw)
        for at in range(0, len(rest), _PIECE):
            while self._is_full and not self._is_left():
                await self._more(WRITE_TIMEOUT, Failure.BROKEN)
            # A write that fails ends all, and what came before that is never read.
            await self._catch_up()
            if self._is_left():
                self._is_spoiled = True
                return
            self._socket.write(rest[at : at + _PIECE])

    def _is_left(self) -> bool:
        """Say whether nobody wants the rest of a request: it is refused, or cut."""
        if self._ended or self._socket.is_closing():
            return True
        head = self._head() if self._held else self._reply
        return head is not None and head.status_code >= _REFUSED

    async def response(self, patience: float) -> h11.Response:
        """Return the head of the reply, which hints do not put off.

        Raises ExchangeError.
        """
        until = self._loop.time() + patience
        while (head := self._head()) is None:
            left = until - self._loop.time()
            if left <= 0:
                raise ExchangeError(Failure.SILENT, "no reply came for too long")
            await self._more(left, Failure.SILENT)
        return head

    def _head(self) -> h11.Response | None:
        """Return the head of the reply if it came; what hints at it says nothing."""
        while self._reply is None:
            event = self._next()
            if event is h11.NEED_DATA:
                return None
            if event is h11.PAUSED:  # a header of the user's own asked for it
                raise ExchangeError(Failure.BROKEN, "it changed to another protocol")
            if isinstance(event, h11.Response):
                self._reply = event
        return self._reply

    async def body(self, patience: float) -> AsyncIterator[bytes]:
        """Yield what came since the last piece, all at once. Raises ExchangeError."""
        while True:
            pieces: list[bytes] = []
            error: ExchangeError | None = None
            event: Any = None
            try:
                while type(event := self._next()) is h11.Data:
                    pieces.append(bytes(event.data))
            except ExchangeError as broken:
                error = broken
            if pieces:
                yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if error is not None:
                raise error
            if event is not h11.NEED_DATA:
                return
            if not pieces:  # else more may have come while they were taken
                await self._more(patience, Failure.SILENT)

    def settle(self) -> None:
        """Keep the connection for another request where both sides are through."""
        http = self._http
        are_through = http.our_state is http.their_state is h11.DONE
        if not are_through or self._is_spoiled or http.trailing_data[0]:
            self.abort()
            return
        http.start_next_cycle()
        self._took_all()
        self.idle_since = self._loop.time()

    def _took_all(self) -> None:
        self._held = 0
        if self._is_stopped:
            self._is_stopped = False
            self._socket.resume_reading()

    def _next(self) -> Any:
        """Return the next event of h11, NEED_DATA where it has to come first."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise ExchangeError(Failure.BROKEN, str(error)) from self._error
            if event is not h11.NEED_DATA:
                return event
            self._took_all()
            if not self._ended:
                return event
            if self._error is not None:
                raise ExchangeError(
                    Failure.BROKEN, _first(self._error)
                ) from self._error
            if self._http.their_state is h11.SEND_RESPONSE:
                said = "Server disconnected without sending a response."
                raise ExchangeError(Failure.BROKEN, said)
            self.is_torn = self._was_cut
            self._http.receive_data(b"")

    async def _more(self, patience: float, failure: Failure) -> None:
        """Wait until something happens. Raises ExchangeError where nothing does."""
        assert self._waiter is None
        waiter = self._waiter = self._loop.create_future()
        self._until = self._loop.time() + patience
        if self._timer is None or self._timer.when() > self._until:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._until, self._late)
        try:
            await waiter
        except TimeoutError:
            said = "nothing came" if failure is Failure.SILENT else "nothing was taken"
            raise ExchangeError(failure, f"{said} for too long") from None
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _late(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._late)
        else:
            self._waiter.set_exception(TimeoutError())


class Client:
    """One connection to one base URL, opened when it is needed; no redirects.

    `patience` is for how many seconds a reply may be silent. Without `keep_alive` each
    exchange has a connection of its own.
    """

    __slots__ = (
        *("_address", "_wire", "base_url", "context", "keep_alive", "patience"),
    )

    def __init__(
        self,
        base_url: str,
        context: ssl.SSLContext | None,
        patience: float,
        *,
        keep_alive: bool,
    ) -> None:
        """Connect to nothing yet."""
        self.base_url = base_url
        self.context = context
        self.patience = patience
        self.keep_alive = keep_alive
        self._address: Address | None = None
        self._wire: _Wire | None = None

    @asynccontextmanager
    async def exchange(self, request: Request, sent: Sent) -> AsyncIterator[Response]:
        """Send a request; the reply's body is there until this is left.

        Raises ExchangeError, and what `sent.leaving` raises.
        """
        if self._address is None:
            self._address = address(self.base_url)
        head = _formed(request, self._address)
        wire = await self._connected(self._address)
        try:
            if wire.idle_since is None:
                await wire.stand()
            await wire.send(head, request.body, sent)
            reply = await wire.response(self.patience)
            raw: Sequence[tuple[bytes, bytes]] = reply.headers
            yield Response(
                reply.status_code,
                raw,
                wire.body(self.patience),
                request.secrets,
                lambda: wire.is_torn,
            )
        except BaseException:
            self._drop()
            raise
        if self.keep_alive:
            wire.settle()
        else:
            self._drop()

    async def aclose(self) -> None:
        """Close the connection."""
        wire = self._wire
        self._drop()
        if wire is not None:
            await wire.gone

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _connected(self, place: Address) -> _Wire:
        loop = asyncio.get_running_loop()
        if self._wire is not None and self._wire.is_usable(loop.time()):
            return self._wire
        self._drop()
        tls: dict[str, Any] = {}
        if place.is_tls:
            name = _without_zone(place.host)
            tls = {"ssl": self.context, "server_hostname": name}
        is_named = not place.host.replace(".", "").isdigit() and ":" not in place.host
        delay = _SECOND_FAMILY if is_named and place.host != "localhost" else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, self._wire = await loop.create_connection(
                    lambda: _Wire(loop),
                    place.host,
                    place.port,
                    happy_eyeballs_delay=delay,
                    **tls,
                )
        except TimeoutError as error:
            said = "connecting took too long"
            raise ExchangeError(Failure.UNCONNECTED, said) from error
        except UnicodeError:
            said = "not the name of a host"
            raise ExchangeError(Failure.UNCONNECTED, said) from None
        except OSError as error:  # an ssl.SSLError and a socket.gaierror are, too
            raise ExchangeError(Failure.UNCONNECTED, _first(error)) from error
        return self._wire


def _is_readable(number: int) -> bool:
    """Say whether a socket has something to read, were it its end."""
    if number < 0:
        return True  # closed, and about to say so
    if not hasattr(select, "poll"):  # eventlet takes it
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _first(error: Exception) -> str:
    """Return what the system said; of several addresses what it said of the first."""
    if not isinstance(error, OSError):
        return str(error) or type(error).__name__
    found = _ERRNO.search(str(error))
    if error.errno is None and found is not None:
        return os.strerror(int(found[1]))
    return of_system(error)


def _formed(request: Request, place: Address) -> h11.Request:
    """Put a request's first line and headers together. Raises ExchangeError."""
    headers = {"host": place.authority, **request.headers}
    headers.pop("transfer-encoding", None)  # how long a body is, is ours to say
    if request.body or request.method in _WITH_BODY:
        headers["content-length"] = str(len(request.body))
    try:
        return h11.Request(
            method=request.method, target=target(request), headers=[*headers.items()]
        )
    except (h11.LocalProtocolError, UnicodeEncodeError):
        raise ExchangeError(Failure.UNFORMED, NO_HEADER) from None
