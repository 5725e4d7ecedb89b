"""httpx kept on a short lead: clients, whole bodies, event-stream bytes, failures.

How requests reach an endpoint, through which proxy and trusting whose certificates, is
read from the environment here, not by httpx: its own reading of NO_PROXY fails on what
Docker and OrbStack write there (a network such as `10.0.0.0/8`, `::1`), and knows
neither REQUESTS_CA_BUNDLE nor CURL_CA_BUNDLE.
"""

import os
import re
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from bgresp import __version__
from bgresp.api import replies
from bgresp.api.replies import Reply
from bgresp.core.endpoint import Endpoint, is_loopback
from bgresp.core.errors import ConfigError
from bgresp.core.reading import ServerEvent, SseDecoder, SseError
from bgresp.core.signals import Fault, FaultKind
from bgresp.core.text import PARSED, TooLargeError, one_line, without_secrets

CONNECT_TIMEOUT: Final = 10.0
WRITE_TIMEOUT: Final = 30.0
EVENT_STREAM: Final = "text/event-stream"
_TOO_LARGE: Final = f"an event larger than {PARSED >> 20} MiB"
_END_OF_EVENT: Final = b"\n\n"
AGENT: Final = f"bgresp/{__version__}"
_PIECE: Final = 1 << 20
_ZIP_HEADER: Final = 2
_GZIP_MARK: Final = b"\x1f"
_IDENTITY: Final = frozenset({"", "identity"})
_ZIPPED: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
SECRETS: Final = "bgresp.secrets"  # the extension of a request that tells them
# Headers whose values are secret, whoever set them; the idempotency key is not.
_SECRET: Final = re.compile(rb"(?!idempotency-key).*(auth|cookie|key|token|secret)")
# Files or folders of certificates; the first that is set holds.
CA_VARIABLES: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # as `openssl rehash` names them
LEAST_STORE: Final = 50  # certificates of a system; there are about 140
_SEPARATORS: Final = re.compile(r"[,\s]+")
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one base URL; None where there is no proxy, or no own certificates.

    `proxy` may hold a password: `proxy_name` is for people. `ca_source` is the variable
    that named `ca_path`.
    """

    proxy: str | None = None
    proxy_source: str | None = None
    ca_path: str | None = None
    ca_source: str | None = None

    @property
    def proxy_name(self) -> str | None:
        """Return the proxy's host and port."""
        if self.proxy is None:
            return None
        return urlsplit(self.proxy).netloc.rpartition("@")[2] or "no host"

    @property
    def told(self) -> str:
        """Return the way as a line for people."""
        proxy = "no proxy"
        if self.proxy is not None:
            proxy = f"by the proxy {self.proxy_name} of {self.proxy_source}"
        if self.ca_path is None:
            folder = system_certificates()
            store = "certifi" if folder is None else f"the system ({folder})"
            return f"{proxy}, certificates of {store}"
        return f"{proxy}, certificates of {self.ca_source} ({self.ca_path})"


def route(base_url: str, environ: Mapping[str, str]) -> Route:
    """Choose the way to a base URL; there is no proxy to this machine itself."""
    proxy, proxy_source = _proxy(base_url, environ)
    for name in CA_VARIABLES:
        if environ.get(name):
            return Route(proxy, proxy_source, environ[name], name)
    return Route(proxy, proxy_source)


def context(way: Route) -> ssl.SSLContext:
    """Return what certificates are checked with, made once a process.

    Raises ConfigError that names the variable.
    """
    try:
        return _context(way.ca_path)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        said = one_line(getattr(error, "strerror", None) or str(error), limit=200)
        raise ConfigError(
            f"cannot set up the connection: {way.ca_source} {way.ca_path}: {said}",
            hint=f"check {way.ca_source}",
        ) from None


@lru_cache(maxsize=4)
def _context(path: str | None) -> ssl.SSLContext:
    path = path or system_certificates()
    if path is None:
        return httpx.create_ssl_context(trust_env=False)
    if Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


@lru_cache(maxsize=1)
def system_certificates() -> str | None:
    """Return the folder in which OpenSSL looks up a certificate when it needs it.

    That costs nothing, where reading certifi's costs what a whole submit does. None
    where there is no such folder, or one with so few that it is no system's store.
    """
    folder = ssl.get_default_verify_paths().openssl_capath
    return folder if _is_store(folder) else None


def _is_store(folder: str) -> bool:
    try:
        names = os.listdir(folder)  # noqa: PTH208  costs no Path for each
    except OSError:
        return False
    return sum(_HASHED.fullmatch(name) is not None for name in names) >= LEAST_STORE


def _proxy(base_url: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    parts = urlsplit(base_url)
    host, proxies = parts.hostname or "", getproxies()
    port = parts.port or (80 if parts.scheme == "http" else 443)
    kind = next((k for k in (parts.scheme, "all") if proxies.get(k)), None)
    if kind is None or is_loopback(base_url):
        return None, None
    # The system may except hosts, too.
    if proxy_bypass(host) or is_excepted(host, port, proxies.get("no", "")):
        return None, None
    name = f"{kind.upper()}_PROXY"
    source = next((n for n in (name.lower(), name) if environ.get(n)), "the system")
    proxy = proxies[kind]
    return proxy if "://" in proxy else f"http://{proxy}", source


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Say whether NO_PROXY names a host and port; an entry that is no name is nothing.

    Entries as curl, Go and Docker write them: `*`, a domain (with all below it, a dot
    or `*.` before it or not), an address, a network, each with a port or not.
    """
    host = host.lower().rstrip(".")
    for entry in _SEPARATORS.split(no_proxy.lower()):
        with_port = _PORT.fullmatch(entry)
        name = entry if with_port is None else with_port[1]
        if with_port is not None and int(with_port[2]) != port:
            continue
        if name == "*" or _has(name.strip("[]"), host):
            return True
    return False


def _has(name: str, host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


class EncodingError(ValueError):
    """A body in an encoding that nobody knows, or broken; `head` is what was read."""

    def __init__(self, message: str, head: bytes | bytearray = b"") -> None:
        """Keep what was read."""
        super().__init__(message)
        self.head = head


class UnknownEncodingError(EncodingError):
    """A body in an encoding that is none of ours: `head` is as it came."""


@dataclass(slots=True)
class Inflater:
    """Decodes gzip, in any number of members, or deflate, as bytes come.

    `deflate` is meant as zlib's format by the standard, and sent without its header by
    some. Gateways compress, though identity was asked for.
    """

    coding: str
    _head: bytes = b""
    _zip: "zlib._Decompress | None" = None
    _is_over: bool = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what these bytes tell, in pieces of a MiB at most.

        Raises EncodingError.
        """
        data, self._head = self._head + chunk, b""
        while not self._is_over:
            if self._zip is None:
                if len(data) < _ZIP_HEADER:
                    self._head = data
                    return
                self._zip = zlib.decompressobj(self._window(data))
            piece = self._inflated(self._zip, data)
            if piece:
                yield piece
            data = self._zip.unconsumed_tail
            if self._zip.eof:
                data = self._zip.unused_data
                self._zip = None
                # What follows the last member is padding.
                padded = bool(data) and data[:1] != _GZIP_MARK
                self._is_over = self.coding == "deflate" or padded
            elif not data and len(piece) < _PIECE:
                return

    def _inflated(self, decompressor: "zlib._Decompress", data: bytes) -> bytes:
        try:
            return decompressor.decompress(data, _PIECE)
        except zlib.error:
            said = f"the reply cannot be read: it is no {self.coding}"
            raise EncodingError(said) from None

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is begun that did not end."""
        return self._zip is None and not self._head

    def _window(self, data: bytes) -> int:
        if self.coding == "gzip":
            return 16 + zlib.MAX_WBITS
        is_zlib = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


FAILURES: Final = (
    *(httpx.TransportError, httpx.InvalidURL, httpx.StreamError),
    ValueError,
)
# Raised before the first byte of a request: by name resolution, a refused connection,
# TLS, the pool, or a proxy that makes no tunnel.
_NEVER_LEFT: Final = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError),
)
# Told while a request is put together: a header that HTTP cannot carry, no URL.
_NOT_FORMED: Final = (
    *(httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL),
    UnicodeEncodeError,
)


def client(endpoint: Endpoint, way: Route, *, keep_alive: bool) -> httpx.AsyncClient:
    """Open a client of one connection: no redirects, no compression.

    Nor a proxy to this machine itself. Raises ConfigError when proxies or certificates
    are set up wrong.
    """
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=int(keep_alive))
    read = endpoint.dialect.streaming.idle_bytes
    timeout = httpx.Timeout(
        connect=CONNECT_TIMEOUT, read=read, write=WRITE_TIMEOUT, pool=None
    )
    plain = endpoint.base_url.startswith("http:") and way.proxy is None
    verify = False if plain else context(way)
    try:
        proxy = None if way.proxy is None else httpx.Proxy(way.proxy)
        if proxy is not None and proxy.url.scheme == "https":
            proxy.ssl_context = context(way)
        return httpx.AsyncClient(
            verify=verify,
            trust_env=False,
            proxy=proxy,
            follow_redirects=False,
            timeout=timeout,
            limits=limits,
            headers={"Accept-Encoding": "identity", "User-Agent": AGENT},
        )
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # The error's own text may quote a proxy's password.
        said = str(error) if isinstance(error, ImportError) else "not a proxy's URL"
        raise ConfigError(
            f"cannot set up the connection: {way.proxy_source}: "
            f"{one_line(said, limit=200)}",
            hint=f"check {way.proxy_source}",
        ) from None


async def whole(
    response: httpx.Response, now: Callable[[], float] = time.time
) -> Reply:
    """Read a reply to its end, decoded, up to the limit.

    An error may quote the key that it was asked with: there it is taken out, and out
    of every header. The status of an error that cannot be read says enough. Raises
    TooLargeError and EncodingError with what was read.
    """
    body = bytearray()
    try:
        async for piece in _decoded(response, to_its_end=True):
            _check_room(len(body) + len(piece), replies.SAVED)
            body += piece
    except (TooLargeError, EncodingError) as error:
        error.head = body
        if response.is_success:
            raise
        body = bytearray()
    raw = bytes(body) if response.is_success else _unquoted(response, bytes(body))
    return Reply(response.status_code, headers(response), raw, now())


def _check_room(size: int, most: int) -> None:
    if size > most:
        raise TooLargeError(f"a body larger than {most >> 20} MiB")


async def pieces(response: httpx.Response, *, most: int) -> AsyncIterator[bytes]:
    """Yield a body piece by piece, decoded, up to `most` bytes.

    Raises TooLargeError and EncodingError.
    """
    size = 0
    async for piece in _decoded(response, to_its_end=True):
        size += len(piece)
        _check_room(size, most)
        yield piece


async def _decoded(
    response: httpx.Response, *, to_its_end: bool
) -> AsyncIterator[bytes]:
    """Yield a body's bytes without their encoding.

    One that nobody knows is passed on as it is. Raises EncodingError at the end of
    that, where a known one is broken, or is not `to_its_end`.
    """
    coding = _coding(response)
    if coding not in _ZIPPED:
        async for chunk in response.aiter_raw():
            yield chunk
        if coding not in _IDENTITY:
            raise UnknownEncodingError(_unknown(coding))
        return
    inflater = Inflater(_ZIPPED[coding])
    async for chunk in response.aiter_raw():
        for piece in inflater.feed(chunk):
            yield piece
    if to_its_end and not inflater.is_whole:
        raise EncodingError(f"the reply cannot be read: its {coding} ends too early")


def _coding(response: httpx.Response) -> str:
    said = response.headers.get("content-encoding", "").lower()
    words = [word.strip() for word in said.split(",")]
    return ", ".join(word for word in words if word not in _IDENTITY)


def _unknown(coding: str) -> str:
    return f"the reply is {one_line(coding, limit=40)}-encoded, which nobody asked for"


def headers(response: httpx.Response) -> dict[str, str]:
    """Return a reply's headers, names in lower case, without our secrets."""
    raw = [(name, _unquoted(response, value)) for name, value in response.headers.raw]
    return {name.lower(): value for name, value in httpx.Headers(raw).items()}


def is_stream(response: httpx.Response) -> bool:
    """Say whether a reply is a successful event stream."""
    content_type = response.headers.get("content-type", "").lower()
    return response.is_success and EVENT_STREAM in content_type


async def events(response: httpx.Response) -> AsyncIterator[ServerEvent]:
    """Yield each event that has data; the end of the stream ends the last one, too.

    It is UTF-8, whatever the header says: the format prescribes it. Raises
    TooLargeError where one event exceeds the limit.
    """
    coding = _coding(response)
    if coding not in _ZIPPED and coding not in _IDENTITY:
        raise UnknownEncodingError(_unknown(coding))
    decoder, pending = SseDecoder(most=PARSED), 0
    async for chunk in _decoded(response, to_its_end=False):
        pending += len(chunk)
        found = _events_of(decoder, chunk)
        if found:
            pending = 0
        elif pending > PARSED:  # comments count here: something has to come
            raise TooLargeError(_TOO_LARGE)
        for event in found:
            yield event
    for event in _events_of(decoder, _END_OF_EVENT):
        yield event


def _events_of(decoder: SseDecoder, chunk: bytes) -> list[ServerEvent]:
    try:
        return [event for event in decoder.feed(chunk) if event.data]
    except SseError:
        raise TooLargeError(_TOO_LARGE) from None


def broken(error: Exception, way: Route) -> Fault:
    """Say what a failed exchange means where asking again is free."""
    if isinstance(error, httpx.ReadTimeout):
        return Fault(FaultKind.IDLE, "nothing came for too long")
    if isinstance(error, UnknownEncodingError):
        return Fault(FaultKind.REFUSED, str(error))
    if is_unformed(error):
        return Fault(FaultKind.REFUSED, reason(error))
    if isinstance(error, TooLargeError | EncodingError):
        return Fault(FaultKind.UNREADABLE, str(error))
    if isinstance(error, _NEVER_LEFT):
        return _unconnected(error, way)
    return Fault(FaultKind.CLOSED, reason(error))


def unsent(error: Exception, way: Route) -> Fault:
    """Say that a create failed before its first byte: it may be sent again."""
    if is_unformed(error):
        return Fault(FaultKind.REFUSED, reason(error))
    return _unconnected(error, way)


def unsure(error: Exception) -> Fault:
    """Say that a create failed after its first byte: it may have been accepted."""
    if isinstance(error, httpx.ReadTimeout):
        return Fault(FaultKind.AMBIGUOUS, "no reply came")
    return Fault(FaultKind.AMBIGUOUS, reason(error))


def never_left(error: Exception) -> bool:
    """Say whether a failure shows by its kind that no byte of the request left.

    These are raised while a connection is made, a proxy is asked for one, or none is
    free (httpx 0.28, httpcore 1.0); everything else leaves a doubt.
    """
    return is_unformed(error) or isinstance(error, _NEVER_LEFT)


def _unconnected(error: Exception, way: Route) -> Fault:
    """Say why there was no connection, by which proxy, and what is to be set right."""
    said = reason(error)
    if isinstance(error, httpx.ReadTimeout):
        said = "nothing came for too long"
    setup = None
    if isinstance(_root(error), ssl.SSLCertVerificationError):
        setup = f"check {way.ca_source or 'SSL_CERT_FILE'}: whose certificates hold"
    if way.proxy is not None:
        refused = "refused: " if isinstance(error, httpx.ProxyError) else ""
        said = f"{refused}{said}; by the proxy {way.proxy_name} of {way.proxy_source}"
        if isinstance(error, httpx.ProxyError) and str(error).startswith("407"):
            setup = f"set the proxy's user and password in {way.proxy_source}"
    return Fault(FaultKind.UNREACHABLE, said, setup=setup)


def is_unformed(error: Exception) -> bool:
    """Say whether a request could not even be put together: no byte of it left."""
    return isinstance(error, _NOT_FORMED)


def reason(error: BaseException) -> str:
    """Return the innermost reason of a failure, on one line, without secrets."""
    if isinstance(error, httpx.ConnectTimeout):
        return "connecting took too long"
    if isinstance(error, httpx.LocalProtocolError | UnicodeEncodeError):
        # The error's own text may quote a header.
        return "the request cannot be formed: a header holds what HTTP cannot carry"
    cause, text = _root(error), ""
    if isinstance(cause, ConnectionError) and cause.errno:
        text = os.strerror(cause.errno)  # asyncio's own has address and port in it
    elif isinstance(cause, OSError):
        text = cause.strerror or ""
    return one_line(text or str(error) or str(cause) or type(error).__name__, limit=200)


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause of a failure, but no further than TLS's own."""
    cause = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
        if isinstance(cause, ssl.SSLError):
            break
    return cause


def unquoted(response: httpx.Response, said: str) -> str:
    """Take out of a text of the endpoint what the request keeps secret."""
    return without_secrets(
        said, (word.decode("latin-1") for word in _secrets(response))
    )


def hidden(said: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text of ours."""
    words = _words(value.encode("utf-8", "replace") for value in secrets)
    return without_secrets(said, (word.decode("utf-8", "replace") for word in words))


def _unquoted(response: httpx.Response, said: bytes) -> bytes:
    for word in _secrets(response):
        said = said.replace(word, b"[secret]")
    return said


def _secrets(response: httpx.Response) -> list[bytes]:
    """Return what a request keeps secret, the longest first: one may hold another.

    These are the key and the headers that a person set, whatever they are called, and
    every header with a telling name.
    """
    told: frozenset[str] = response.request.extensions.get(SECRETS, frozenset())
    values = [value.encode("utf-8", "replace") for value in told]
    values += [
        v for name, v in response.request.headers.raw if _SECRET.match(name.lower())
    ]
    return _words(values)


def _words(values: Iterable[bytes]) -> list[bytes]:
    words = {word for value in values for word in value.split()}
    return sorted(
        (w for w in words if len(w) >= replies.SHORTEST_SECRET), key=len, reverse=True
    )
