"""A client of one connection by a proxy: httpx, which knows how to ask for a tunnel.

What httpcore tells of its steps says whether a byte of the request itself left.
"""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from bgresp.api.transport import (
    CONNECT_TIMEOUT,
    NO_HEADER,
    WRITE_TIMEOUT,
    ExchangeError,
    Failure,
    Request,
    Response,
    Route,
    Sent,
    context,
    of_system,
    root,
)
from bgresp.core.errors import ConfigError
from bgresp.core.text import one_line

# httpx imports its own command line where click is installed, and with it rich and
# pygments: half of what it costs. Where it is not to be had, it goes without.
_NAME: Final = "httpx._main"
_is_to_be_had = "httpx" in sys.modules
if not _is_to_be_had:
    sys.modules[_NAME] = None  # type: ignore[assignment]  # what an import fails on
import httpx  # noqa: E402

if not _is_to_be_had:
    del sys.modules[_NAME]

# What httpcore 1.0 calls its steps before a request is written.
_SOCKS: Final = "setup_socks5_connection"
_CONNECTING: Final = frozenset(
    {"connect_tcp", "connect_unix_socket", _SOCKS, "start_tls", "retry"}
)
_FORMING: Final = "send_request_headers"  # they are put together, and then written


@dataclass(slots=True)
class Steps:
    """Reads of httpcore's steps whether the first byte of a request may have left.

    It has not while httpcore is known to make a connection, or to ask a proxy for a
    tunnel. A step that is not known here counts as one of the request itself, so that
    another httpcore makes outcomes unknown, and never makes a job paid for twice.
    Once the request's own steps began, nothing takes that back; it is written where
    they went beyond putting its headers together.

    `limit` ends what a SOCKS proxy may take, for `patience` seconds: httpcore waits for
    its word for ever.
    """

    sent: Sent
    limit: asyncio.Timeout | None = None
    patience: float | None = None
    _is_its_own: bool = False
    _is_tunnelling: bool = False

    def __post_init__(self) -> None:
        """Take that the request goes to httpx, which may do anything with it."""
        self.sent.started = True

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Take one of httpcore's trace events."""
        path, _, stage = name.rpartition(".")
        step = path.rpartition(".")[2]
        sent = self.sent
        if step == "response_closed":
            return  # a connection is given up, whatever it was for
        if self._is_its_own:
            sent.written |= step != _FORMING
        elif step in _CONNECTING:
            sent.started, self._is_tunnelling = stage == "complete", False
            if step == _SOCKS and stage != "failed":
                self._bound(is_asked=stage == "started")
        elif getattr(info.get("request"), "method", b"") == b"CONNECT":
            sent.started, self._is_tunnelling = False, True
        elif self._is_tunnelling and "request" not in info:
            stands = (step, stage) == ("receive_response_headers", "complete")
            sent.started, self._is_tunnelling = stands, not stands
        else:
            sent.leave()
            self._is_tunnelling = False
            self._is_its_own, sent.written = True, step != _FORMING

    def _bound(self, *, is_asked: bool) -> None:
        if self.limit is not None and self.patience is not None:
            now = asyncio.get_running_loop().time()
            self.limit.reschedule(now + self.patience if is_asked else None)


# Raised before the first byte of a request: by name resolution, a refused connection,
# TLS, the pool (httpx 0.28, httpcore 1.0); everything else leaves a doubt.
_UNCONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# Told while a request is put together: a header that HTTP cannot carry, no URL.
_UNFORMED: Final = (
    *(httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL),
    UnicodeEncodeError,
)
_OF_SOCKS: Final = "socksio"  # whose errors httpx passes on; it need not be installed
_HEADER: Final = (httpx.LocalProtocolError, UnicodeEncodeError)
_FAILURES: Final = (
    *(httpx.TransportError, httpx.InvalidURL, httpx.StreamError),
    UnicodeEncodeError,
    ssl.SSLError,  # of a record that is none, where httpx passes it on as it is
)


@dataclass(slots=True, eq=False)
class Client:
    """One connection by a proxy; see `transport.Client`."""

    http: httpx.AsyncClient

    @asynccontextmanager
    async def exchange(self, request: Request, sent: Sent) -> AsyncIterator[Response]:
        """Send a request; the reply's body is there until this is left.

        Raises ExchangeError, and what `sent.leaving` raises.
        """
        self.http.cookies.clear()
        try:
            async with AsyncExitStack() as stack:
                reply = await self._replied(request, sent, stack)
                raw = reply.headers.raw
                body = reply.aiter_raw()
                yield Response(reply.status_code, raw, body, request.secrets)
        except _FAILURES as error:
            raise _failed(error) from error

    async def _replied(
        self, request: Request, sent: Sent, stack: AsyncExitStack
    ) -> httpx.Response:
        """Send a request; return the head of its reply, whose body ends with a stack.

        Raises ExchangeError, what httpx does, and what `sent.leaving` raises.
        """
        try:
            async with asyncio.timeout(None) as limit:
                steps = Steps(sent, limit, self.http.timeout.read)
                return await stack.enter_async_context(
                    self.http.stream(
                        request.method,
                        request.url,
                        params=request.params or None,
                        headers=request.headers,
                        content=request.body,
                        extensions={"trace": steps.trace},
                    )
                )
        except TimeoutError as error:
            raise ExchangeError(Failure.SILENT, "the proxy said nothing") from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] != _OF_SOCKS:
                raise
            raise ExchangeError(Failure.PROXY, "it speaks no SOCKS") from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self.http.aclose()


def client(way: Route, *, patience: float, keep_alive: bool) -> Client:
    """Make a client of one connection by a route's proxy; no redirects, no compression.

    `patience` is for how many seconds a reply may be silent. Raises ConfigError when
    the proxy or certificates are set up wrong.
    """
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=int(keep_alive))
    timeout = httpx.Timeout(
        connect=CONNECT_TIMEOUT, read=patience, write=WRITE_TIMEOUT, pool=None
    )
    verify = context(way)
    try:
        proxy = httpx.Proxy(way.proxy or "")
        if proxy.url.scheme == "https":
            proxy.ssl_context = verify
        return Client(
            httpx.AsyncClient(
                verify=verify,
                trust_env=False,
                proxy=proxy,
                follow_redirects=False,
                timeout=timeout,
                limits=limits,
                headers={"Accept-Encoding": "identity"},
            )
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # The error's own text may quote a proxy's password.
        said = str(error) if isinstance(error, ImportError) else "not a proxy's URL"
        raise ConfigError(
            f"cannot set up the connection: {way.proxy_source}: "
            f"{one_line(said, limit=200)}",
            hint=f"check {way.proxy_source}",
        ) from None


def _failed(error: Exception) -> ExchangeError:
    """Return what an error of httpx means."""
    if isinstance(error, httpx.ReadTimeout):
        failure = Failure.SILENT
    elif isinstance(error, httpx.ProxyError):
        failure = Failure.PROXY
    elif isinstance(error, _UNFORMED):
        failure = Failure.UNFORMED
    elif isinstance(error, _UNCONNECTED):
        failure = Failure.UNCONNECTED
    else:
        failure = Failure.BROKEN
    return ExchangeError(failure, reason(error))


def reason(error: BaseException) -> str:
    """Return the innermost reason of a failure, without secrets."""
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, _HEADER):
        return NO_HEADER  # the error's own text may quote a header
    cause = root(error)
    text = of_system(cause) if isinstance(cause, OSError) else ""
    return text or str(error) or str(cause) or type(error).__name__
