"""What an exchange is: a request, whether it left, its reply, and why it failed.

Who makes it is `http1`, or `proxied` where a proxy stands between; what is read of a
reply is the same: whole bodies, event-stream bytes, failures as values.

Through which proxy, and trusting whose certificates, is read from the environment here,
not by httpx: its own reading of NO_PROXY fails on what Docker and OrbStack write there
(a network such as `10.0.0.0/8`, `::1`), and knows neither REQUESTS_CA_BUNDLE nor
CURL_CA_BUNDLE.
"""

import os
import re
import ssl
import sys
import time
import zlib
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from bgresp import __version__
from bgresp.api import replies
from bgresp.api.replies import Reply
from bgresp.core.endpoint import is_loopback
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
# Headers whose values are secret, whoever set them; the idempotency key is not.
_SECRET: Final = re.compile(r"(?!idempotency-key).*(auth|cookie|key|token|secret)")
_QUOTED: Final = ": bytearray("
NO_HEADER: Final = "the request cannot be formed: a header holds what HTTP cannot carry"

# Files or folders of certificates; the first that is set holds.
CA_VARIABLES: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
LEAST_STORE: Final = 50  # certificates of a system; there are about 140
_HASHED: Final = r"[0-9a-f]{8}\.[0-9]+"  # as `openssl rehash` names them
_SEPARATORS: Final = r"[,\s]+"
_PORT: Final = r"(\[[^\]]*\]|[^:]*):(\d{1,5})"


class Failure(Enum):
    """Why an exchange failed."""

    UNFORMED = auto()  # the request could not even be put together
    UNCONNECTED = auto()  # there was no connection to write it to
    PROXY = auto()  # a proxy made no way
    SILENT = auto()  # nothing came for too long
    BROKEN = auto()  # anything else


# Of these no byte of the request left.
_NEVER_LEFT: Final = (Failure.UNFORMED, Failure.UNCONNECTED, Failure.PROXY)


class ExchangeError(Exception):
    """An exchange that failed; the message is for people, one line, no secrets."""

    def __init__(self, failure: Failure, message: str) -> None:
        """Take why, and what is said of it.

        Less what h11 quotes of a reply that is none: it may hold a header of ours.
        """
        super().__init__(one_line(message.partition(_QUOTED)[0], limit=200))
        self.failure = failure


FAILURES: Final = (ExchangeError, ValueError)


class Sent:
    """Whether the first byte of a request may have left this machine: in doubt it has.

    `written` is whether more may have left than what puts headers together. `leaving`
    is called before the first byte of all does leave, and may raise.
    """

    __slots__ = ("_is_told", "leaving", "started", "written")

    def __init__(self, leaving: Callable[[], None] | None = None) -> None:
        """Take that nothing left yet."""
        self.started = False
        self.written = False
        self.leaving = leaving
        self._is_told = False

    def leave(self) -> None:
        """Take that the first byte is about to leave."""
        self.started = True
        if self.leaving is not None and not self._is_told:
            self.leaving()
        self._is_told = True


class Request(NamedTuple):
    """What goes out; `url` is whole but for `params`, `told` is what nobody may see."""

    method: str
    url: str
    params: Mapping[str, str | list[str]]
    headers: Mapping[str, str]
    body: bytes = b""
    told: frozenset[str] = frozenset()

    @property
    def secrets(self) -> list[bytes]:
        """Return what it keeps secret, the longest first: one may hold another.

        These are the key and the headers that a person set, whatever they are called,
        and every header with a telling name.
        """
        named = (v for k, v in self.headers.items() if _SECRET.match(k.lower()))
        return _words(
            value.encode("utf-8", "replace") for value in (*self.told, *named)
        )


class Response:
    """A reply whose body is still to come; `secrets` are its request's.

    `is_torn` says at a body's end whether anybody may have cut it there: it said no
    length, and TLS ended without a farewell. What tells its own end needs none.
    """

    __slots__ = ("body", "is_torn", "raw_headers", "secrets", "status_code")

    def __init__(
        self,
        status_code: int,
        raw_headers: Sequence[tuple[bytes, bytes]],
        body: AsyncIterator[bytes],
        secrets: Sequence[bytes] = (),
        is_torn: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the head of a reply; its body is still to come."""
        self.status_code = status_code
        self.raw_headers = raw_headers
        self.body = body
        self.secrets = secrets
        self.is_torn = is_torn

    @property
    def is_success(self) -> bool:
        """Say whether it is of the 200s."""
        return 200 <= self.status_code < 300

    def header(self, name: str) -> str:
        """Return a header by its name in lower case; several joined, "" where none."""
        wanted = name.encode("ascii")
        found = [_text(v) for k, v in self.raw_headers if k.lower() == wanted]
        return ", ".join(found)


class Client(Protocol):
    """A client of one connection, opened when it is needed."""

    def exchange(
        self, request: Request, sent: Sent
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request; the reply's body is there until this is left.

        Raises ExchangeError, and what `sent.leaving` raises.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Route(NamedTuple):
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
        import certifi

        found = ssl.create_default_context(cafile=certifi.where())
    elif Path(path).is_dir():
        found = ssl.create_default_context(capath=path)
    else:
        found = ssl.create_default_context(cafile=path)
    found.set_alpn_protocols(["http/1.1"])  # a gateway may choose its way by it
    return found


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
    return sum(re.fullmatch(_HASHED, name) is not None for name in names) >= LEAST_STORE


def _proxy(base_url: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    named = any(name.lower().endswith("_proxy") for name in environ)
    if is_loopback(base_url) or not (named or sys.platform == "darwin"):
        return None, None
    from urllib.request import getproxies, proxy_bypass  # a dear import

    parts = urlsplit(base_url)
    host, proxies = parts.hostname or "", getproxies()
    port = parts.port or (80 if parts.scheme == "http" else 443)
    kind = next((k for k in (parts.scheme, "all") if proxies.get(k)), None)
    if kind is None:
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
    for entry in re.split(_SEPARATORS, no_proxy.lower()):
        with_port = re.fullmatch(_PORT, entry, re.ASCII)
        name = entry if with_port is None else with_port[1]
        if with_port is not None and int(with_port[2]) != port:
            continue
        if name == "*" or _has(name.strip("[]"), host):
            return True
    return False


def _has(name: str, host: str) -> bool:
    from ipaddress import ip_address, ip_network

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


class Inflater:
    """Decodes gzip, in any number of members, or deflate, as bytes come.

    `deflate` is meant as zlib's format by the standard, and sent without its header by
    some. Gateways compress, though identity was asked for.
    """

    __slots__ = ("_has_member", "_head", "_is_over", "_zip", "coding")

    def __init__(self, coding: str) -> None:
        """Decode nothing yet."""
        self.coding = coding
        self._head = b""
        self._zip: zlib._Decompress | None = None
        self._has_member = self._is_over = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what these bytes tell, in pieces of a MiB at most.

        Raises EncodingError.
        """
        data, self._head = self._head + chunk, b""
        while not self._is_over:
            if self._zip is None:
                if self._has_member and data and data[:1] != _GZIP_MARK:
                    self._is_over = True  # what follows the last member is padding
                    return
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
                self._zip, self._has_member = None, True
                self._is_over = self.coding == "deflate"
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


async def whole(response: Response, now: Callable[[], float] = time.time) -> Reply:
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


async def pieces(response: Response, *, most: int) -> AsyncIterator[bytes]:
    """Yield a body piece by piece, decoded, up to `most` bytes.

    Raises TooLargeError and EncodingError; ExchangeError where it may be cut.
    """
    size = 0
    async for piece in _decoded(response, to_its_end=True):
        size += len(piece)
        _check_room(size, most)
        yield piece
    if response.is_torn():
        raise ExchangeError(Failure.BROKEN, "it may be cut: TLS ended without a word")


async def _decoded(response: Response, *, to_its_end: bool) -> AsyncIterator[bytes]:
    """Yield a body's bytes without their encoding.

    One that nobody knows is passed on as it is. Raises EncodingError at the end of
    that, where a known one is broken, or is not `to_its_end`.
    """
    coding = _coding(response)
    if coding not in _ZIPPED:
        async for chunk in response.body:
            yield chunk
        if coding not in _IDENTITY:
            raise UnknownEncodingError(_unknown(coding))
        return
    inflater = Inflater(_ZIPPED[coding])
    async for chunk in response.body:
        for piece in inflater.feed(chunk):
            yield piece
    if to_its_end and not inflater.is_whole:
        raise EncodingError(f"the reply cannot be read: its {coding} ends too early")


def _coding(response: Response) -> str:
    said = response.header("content-encoding").lower()
    words = [word.strip() for word in said.split(",")]
    return ", ".join(word for word in words if word not in _IDENTITY)


def _unknown(coding: str) -> str:
    return f"the reply is {one_line(coding, limit=40)}-encoded, which nobody asked for"


def headers(response: Response) -> dict[str, str]:
    """Return a reply's headers, names in lower case, without our secrets."""
    found: dict[str, str] = {}
    for raw_name, raw in response.raw_headers:
        name, value = _text(raw_name).lower(), _text(_unquoted(response, raw))
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def is_stream(response: Response) -> bool:
    """Say whether a reply is a successful event stream."""
    content_type = response.header("content-type").lower()
    return response.is_success and EVENT_STREAM in content_type


async def events(response: Response) -> AsyncIterator[ServerEvent]:
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
    if isinstance(error, UnknownEncodingError):
        return Fault(FaultKind.REFUSED, str(error))
    if isinstance(error, TooLargeError | EncodingError):
        return Fault(FaultKind.UNREADABLE, str(error))
    failure = _failure(error)
    if failure is Failure.SILENT:
        return Fault(FaultKind.IDLE, "nothing came for too long")
    if failure is Failure.UNFORMED:
        return Fault(FaultKind.REFUSED, str(error))
    if failure in _NEVER_LEFT:
        return _unconnected(error, way)
    return Fault(FaultKind.CLOSED, str(error))


def unsent(error: Exception, way: Route) -> Fault:
    """Say that a create failed before its first byte: it may be sent again."""
    if _failure(error) is Failure.UNFORMED:
        return Fault(FaultKind.REFUSED, str(error))
    return _unconnected(error, way)


def unsure(error: Exception) -> Fault:
    """Say that a create failed after its first byte: it may have been accepted."""
    if _failure(error) is Failure.SILENT:
        return Fault(FaultKind.AMBIGUOUS, "no reply came")
    return Fault(FaultKind.AMBIGUOUS, str(error))


def never_left(error: Exception) -> bool:
    """Say whether a failure shows by its kind that no byte of the request left."""
    return _failure(error) in _NEVER_LEFT


def _failure(error: Exception) -> Failure:
    return error.failure if isinstance(error, ExchangeError) else Failure.BROKEN


def _unconnected(error: Exception, way: Route) -> Fault:
    """Say why there was no connection, by which proxy, and what is to be set right."""
    failure, said = _failure(error), str(error)
    if failure is Failure.SILENT:
        said = "nothing came for too long"
    setup = None
    if isinstance(root(error), ssl.SSLCertVerificationError):
        setup = f"check {way.ca_source or 'SSL_CERT_FILE'}: whose certificates hold"
    if way.proxy is not None:
        refused = "refused: " if failure is Failure.PROXY else ""
        said = f"{refused}{said}; by the proxy {way.proxy_name} of {way.proxy_source}"
        if failure is Failure.PROXY and str(error).startswith("407"):
            setup = f"set the proxy's user and password in {way.proxy_source}"
    return Fault(FaultKind.UNREACHABLE, said, setup=setup)


def of_system(error: OSError) -> str:
    """Return what the system said of a connection, without addresses."""
    if error.errno and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)  # asyncio's own has address and port in it
    return error.strerror or str(error) or type(error).__name__


def root(error: BaseException) -> BaseException:
    """Return the innermost cause of a failure, but no further than TLS's own."""
    cause = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
        if isinstance(cause, ssl.SSLError):
            break
    return cause


def unquoted(response: Response, said: str) -> str:
    """Take out of a text of the endpoint what the request keeps secret."""
    return without_secrets(said, (word.decode("latin-1") for word in response.secrets))


def hidden(said: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text of ours."""
    words = _words(value.encode("utf-8", "replace") for value in secrets)
    return without_secrets(said, (word.decode("utf-8", "replace") for word in words))


def _unquoted(response: Response, said: bytes) -> bytes:
    for word in response.secrets:
        said = said.replace(word, b"[secret]")
    return said


def _words(values: Iterable[bytes]) -> list[bytes]:
    words = {word for value in values for word in value.split()}
    return sorted(
        (w for w in words if len(w) >= replies.SHORTEST_SECRET), key=len, reverse=True
    )
