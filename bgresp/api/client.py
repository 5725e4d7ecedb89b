"""The endpoint's verbs: create, retrieve, list, cancel, delete, stream.

Answers with signals; what goes wrong on the way is a Fault value, never an exception.
"""

import asyncio
import os
import re
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from bgresp.api import http1, replies, transport
from bgresp.api.transport import (
    AGENT,
    Client,
    Request,
    Response,
    Route,
    Sent,
    context,
    route,
)
from bgresp.core.dialect import fill, target
from bgresp.core.endpoint import Endpoint
from bgresp.core.errors import RefusedError
from bgresp.core.model import ResponseError
from bgresp.core.reading import event_reader
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal, Snapshot
from bgresp.core.text import TooLargeError, one_line

PAGE: Final = 100
LARGEST_FILE: Final = 512 << 20  # bytes: what OpenAI lets anybody upload
_LONGEST_TRACE: Final = 500  # characters of a line on a request
_JSON: Final = {"Accept": "application/json"}
_ALWAYS: Final = {"Accept-Encoding": "identity", "User-Agent": AGENT}
Query = Mapping[str, str | list[str]]
_NO_QUERY: Final[Query] = {}
_INCLUDE: Final = re.compile(r"\binclude\b", re.IGNORECASE)
AnySignal = TypeVar("AnySignal", Event, Snapshot | Fault)


def connection(endpoint: Endpoint, way: Route, *, keep_alive: bool) -> Client:
    """Return a client of one connection, ours or by the route's proxy.

    Raises ConfigError when proxies or certificates are set up wrong.
    """
    patience = endpoint.dialect.streaming.idle_bytes
    if way.proxy is not None:
        from bgresp.api import proxied

        return proxied.client(way, patience=patience, keep_alive=keep_alive)
    is_plain = endpoint.base_url.startswith("http:")
    trusted = None if is_plain else context(way)
    return http1.Client(endpoint.base_url, trusted, patience, keep_alive=keep_alive)


class Clients:
    """Clients of one connection each, used again by who comes next.

    Whoever comes while `most` are in use waits.
    """

    __slots__ = ("_free", "_permits", "_used", "endpoint", "keep_alive", "way")

    def __init__(
        self,
        endpoint: Endpoint,
        way: Route,
        most: int | None = None,
        *,
        keep_alive: bool = True,
    ) -> None:
        """Make the permits."""
        self.endpoint = endpoint
        self.way = way
        self.keep_alive = keep_alive
        self._free: list[Client] = []
        self._used: set[Client] = set()
        self._permits = None if most is None else asyncio.Semaphore(most)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Client]:
        """Lend a client; one whose request failed, or was left, is closed.

        Raises ConfigError when proxies or certificates are set up wrong.
        """
        async with self._permits or nullcontext():
            if self._free:
                client = self._free.pop()
            else:
                keep = self.keep_alive
                client = connection(self.endpoint, self.way, keep_alive=keep)
            self._used.add(client)
            try:
                yield client
            except BaseException:
                self._used.discard(client)
                await client.aclose()
                raise
            self._used.discard(client)
            self._free.append(client)

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (*self._free, *self._used):
            await client.aclose()
        self._free.clear()


class Api:
    """One endpoint; its connections are opened when first needed, closed by aclose.

    `trace` is told of each request and of what became of it, without secrets.
    """

    __slots__ = (
        *("_clients", "_posting", "_takes_no_include", "_way"),
        *("endpoint", "environ", "now", "say", "trace"),
    )

    def __init__(
        self,
        endpoint: Endpoint,
        environ: Mapping[str, str] = os.environ,
        say: Callable[[str], None] = lambda _: None,
        trace: Callable[[str], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Speak to an endpoint; nothing is connected yet."""
        self.endpoint = endpoint
        self.environ = environ
        self.say = say
        self.trace = trace
        self.now = now
        self._takes_no_include = False
        self._clients: Clients | None = None
        self._posting: Clients | None = None
        self._way: Route | None = None

    @property
    def way(self) -> Route:
        """Return how requests reach the endpoint, as the environment said at first."""
        if self._way is None:
            self._way = route(self.endpoint.base_url, self.environ)
        return self._way

    async def aclose(self) -> None:
        """Close every connection."""
        for clients in (self._clients, self._posting):
            if clients is not None:
                await clients.aclose()
        self._clients = self._posting = None

    def can(self, op: str) -> bool:
        """Say whether the endpoint's dialect has an operation."""
        return op in self.endpoint.dialect.ops

    async def retrieve(self, id_: str, include: Sequence[str] = ()) -> Snapshot | Fault:
        """Ask once for the response, and for what its request asked to be included."""
        query = self._include(include)
        answer = await self._ask("get", id_, query=query)
        if query and isinstance(answer, Fault) and self._is_of_include(answer):
            return await self._ask("get", id_)
        return answer

    def _include(self, asked: Sequence[str]) -> Query:
        known = self.endpoint.dialect.include
        return {} if self._takes_no_include else known.again(asked)

    def _is_of_include(self, fault: Fault) -> bool:
        """Say whether a refusal is of `include`: then it is asked for no more."""
        if fault.http_status != 400 or not _INCLUDE.search(fault.message):
            return False
        if not self._takes_no_include:
            what = one_line(fault.message, limit=200)
            self.say(f"{self.endpoint.host} includes nothing with an answer: {what}")
        self._takes_no_include = True
        return True

    async def list(self, after: str | None = None) -> Mapping[str, Any] | Fault:
        """Return one page of the endpoint's responses, newest first, after an id."""
        values = {"limit": PAGE, "after": after}
        try:
            async with self._send("list", values, {}, _JSON) as response:
                reply = await transport.whole(response, self.now)
        except transport.FAILURES as error:
            return transport.broken(error, self.way)
        return replies.listed(reply)

    async def models(self) -> Mapping[str, Any] | Fault:
        """Return the endpoint's list of models: `data`, each with an `id`."""
        try:
            async with self._send("models", {}, {}, _JSON) as response:
                reply = await transport.whole(response, self.now)
        except transport.FAILURES as error:
            return transport.broken(error, self.way)
        return replies.listed(reply)

    async def cancel(self, id_: str, sent: Sent | None = None) -> Snapshot | Fault:
        """Ask to cancel; the reply is advice, ask again to know (WIRE.md 1.6)."""
        return await self._ask("cancel", id_, sent)

    async def delete(self, id_: str) -> Fault | None:
        """Delete the response at the endpoint; None where it did.

        Fault "gone" where it has none, maybe none that this key may see.
        """
        answer = await self._ask("delete", id_)
        if isinstance(answer, Snapshot):
            return None
        return None if (answer.http_status or 0) // 100 == 2 else answer

    async def file(
        self, container: str, id_: str, write: Callable[[bytes], None]
    ) -> Fault | None:
        """Fetch a file of a code interpreter; `write` takes its pieces as they come.

        None where it came whole. What `write` raises is passed on.
        """
        values = {"container": container, "file": id_}
        try:
            async with self._send("file", values, {}, {"Accept": "*/*"}) as response:
                if not response.is_success:
                    return replies.unheard(await transport.whole(response, self.now))
                async for piece in transport.pieces(response, most=LARGEST_FILE):
                    write(piece)
        except transport.FAILURES as error:
            return transport.broken(error, self.way)
        return None

    async def stream(
        self, id_: str, after: Cursor | None, include: Sequence[str] = ()
    ) -> AsyncGenerator[Signal, None]:
        """Follow the event stream after a cursor.

        The last signal is a Fault or a Snapshot: even a clean end is Fault "closed",
        because an end alone proves nothing (WIRE.md rule 14).
        """
        query: dict[str, str | list[str]] = {}
        headers = {"Accept": transport.EVENT_STREAM, "Cache-Control": "no-store"}
        streaming = self.endpoint.dialect.streaming
        kind, _, name = streaming.resume.partition(":")
        cursor = streaming.start if after is None else str(after)
        if cursor and name:
            (query if kind == "query" else headers)[name] = cursor
        asked = self._include(include)
        try:
            values = {"id": id_}
            async with self._send(
                "stream", values, {**query, **asked}, headers
            ) as response:
                async for signal in self._signals(response):
                    refused = isinstance(signal, Fault) and self._is_of_include(signal)
                    if not (asked and refused):
                        yield signal
        except transport.FAILURES as error:
            yield transport.broken(error, self.way)
        if asked and self._takes_no_include:
            async with aclosing(self.stream(id_, after)) as again:
                async for signal in again:
                    yield signal

    async def create(
        self, body: bytes, *, key: str, stream: bool, sent: Sent
    ) -> AsyncGenerator[Signal, None]:
        """Post one request, once; the first signal says what became of it.

        A Snapshot, or an Event with a response: accepted. Fault "unreachable": not
        sent; "rate_limited": not processed; "refused": rejected; "ambiguous": unknown.
        With `stream` the events go on after the first one.
        """
        accept = transport.EVENT_STREAM if stream else "application/json"
        headers = {"Accept": accept, "Content-Type": "application/json"}
        headers["Idempotency-Key"] = key
        request_id: str | None = None
        made: Signal | None = None
        is_accepted = False
        try:
            async with self._post(body, headers, sent) as response:
                request_id = replies.request_id(transport.headers(response))
                if transport.is_stream(response):
                    async for signal in self._signals(response):
                        is_accepted = is_accepted or _has_id(signal)
                        yield signal
                else:
                    made = await self._read_created(response)
        except transport.FAILURES as error:
            if made is None:  # else what is wrong with the connection is no matter
                if transport.never_left(error) and not sent.written:
                    sent.started = False  # maybe announced, but not written
                if is_accepted:  # nothing is in doubt: this is a stream that was cut
                    fault = transport.broken(error, self.way)
                elif sent.started:
                    fault = transport.unsure(error)
                else:
                    fault = transport.unsent(error, self.way)
                yield fault._replace(request_id=request_id)
        if made is not None:
            yield made

    async def _read_created(self, response: Response) -> Snapshot | Fault:
        """Read the reply to a create; of one that cannot be read at least its id.

        A refusal is one although its words were cut off.
        """
        dialect = self.endpoint.dialect
        try:
            reply = await self._whole(response)
        except (TooLargeError, transport.EncodingError) as error:
            found = replies.salvaged(dialect, error.head)
            if found is None:
                raise
            return found
        except transport.ExchangeError:
            names = transport.headers(response)
            cut = replies.Reply(response.status_code, names, b"", self.now())
            refused = replies.cut_refusal(dialect, cut)
            if refused is None:
                raise
            return _hiding(response, refused)
        return _hiding(response, replies.created(dialect, reply))

    async def _ask(
        self, op: str, id_: str, sent: Sent | None = None, query: Query = _NO_QUERY
    ) -> Snapshot | Fault:
        try:
            async with self._send(op, {"id": id_}, query, _JSON, sent) as got:
                reply = await self._whole(got)
                answer = replies.retrieved(self.endpoint.dialect, reply)
                return _hiding(got, answer)
        except transport.FAILURES as error:
            return transport.broken(error, self.way)

    async def _signals(self, response: Response) -> AsyncIterator[Signal]:
        dialect = self.endpoint.dialect
        if not transport.is_stream(response):
            reply = await self._whole(response)
            yield _hiding(response, replies.instead_of_stream(dialect, reply))
            return
        read, takes_webhook = event_reader(dialect), dialect.takes_webhook
        async for sse in transport.events(response):
            data = sse.data
            if takes_webhook:
                data = replies.without_webhook_secret(data, self.endpoint)
            event = replies.event(read, sse.event, data, sse.id)
            if event is not None:
                tells_text = event.reading is None and event.error is None
                yield event if tells_text else _hiding(response, event)
        yield Fault(FaultKind.CLOSED, "the stream ended")

    async def _whole(self, response: Response) -> replies.Reply:
        """Return a reply without the secret of webhooks: it is saved as it is."""
        reply = await transport.whole(response, self.now)
        if not self.endpoint.dialect.takes_webhook:
            return reply
        text = reply.body.decode("latin-1")  # any bytes, and the same ones again
        text = replies.without_webhook_secret(text, self.endpoint)
        return reply._replace(body=text.encode("latin-1"))

    @asynccontextmanager
    async def _send(
        self,
        op: str,
        values: Mapping[str, Any],
        query: Query,
        headers: Mapping[str, str],
        sent: Sent | None = None,
    ) -> AsyncIterator[Response]:
        known = self.endpoint.dialect.ops.get(op)
        if known is None:
            dialect = self.endpoint.dialect.name
            said = f"a {dialect} endpoint cannot {op} a response"
            raise RefusedError(said, hint="bgresp help endpoints tells what each can")
        if self._clients is None:
            most = self.endpoint.dialect.limits.connections
            self._clients = Clients(self.endpoint, self.way, most, keep_alive=True)
        path, fixed = target(known, {**values, **self._vars()})
        params = {**self._query(), **fixed, **query}
        request = self._request(known.method, path, params, headers)
        async with (
            self._traced(request) as came,
            self._clients.one() as client,
            client.exchange(request, sent or Sent()) as response,
        ):
            came(response)
            yield response

    @asynccontextmanager
    async def _post(
        self, body: bytes, headers: Mapping[str, str], sent: Sent
    ) -> AsyncIterator[Response]:
        """Send the create on a connection of its own.

        On a kept-alive one that the server is closing, a reset would leave the outcome
        unknown without need (RELIABILITY.md 1.5).
        """
        op = self.endpoint.dialect.ops["create"]
        path, fixed = target(op, self._vars())
        if self._posting is None:
            self._posting = Clients(self.endpoint, self.way, keep_alive=False)
        params = {**self._query(), **fixed}
        request = self._request(op.method, path, params, headers, body)
        sent.started = sent.written = False
        async with (
            self._traced(request) as came,
            self._posting.one() as client,
            client.exchange(request, sent) as response,
        ):
            came(response)
            yield response

    def _request(
        self,
        method: str,
        path: str,
        params: Query,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> Request:
        url = self.endpoint.base_url.rstrip("/") + path
        told = {**_ALWAYS, **self._headers(), **headers}
        by_name = {name.lower(): value for name, value in told.items()}
        return Request(method, url, params, by_name, body, self.endpoint.secrets)

    def waits(self, seconds: float, ref: str) -> None:
        """Take that nobody asks about a job for so long."""
        if self.trace is not None:
            self.trace(f"{ref}: waits {seconds:.1f} s")

    @asynccontextmanager
    async def _traced(
        self, request: Request
    ) -> AsyncIterator[Callable[[Response], None]]:
        """Tell of one request: what is asked, and what came or went wrong."""
        trace = self.trace
        if trace is None:
            yield lambda _: None
            return
        words = urlencode(request.params, doseq=True)
        asked = f"{request.method} {request.url}" + (f"?{words}" if words else "")
        asked = transport.hidden(asked, self.endpoint.secrets)
        loop = asyncio.get_running_loop()
        began = loop.time()

        def came(response: Response) -> None:
            found = transport.headers(response)
            parts = [f"{response.status_code} after {loop.time() - began:.2f} s"]
            if request_id := replies.request_id(found):
                parts.append(f"request {request_id}")
            if "retry-after" in found:
                parts.append(f"Retry-After {found['retry-after']}")
            trace(one_line(f"{asked}: {', '.join(parts)}", limit=_LONGEST_TRACE))

        try:
            yield came
        except transport.FAILURES as error:
            said = transport.hidden(str(error), self.endpoint.secrets)
            trace(one_line(f"{asked}: {said}", limit=_LONGEST_TRACE))
            raise

    def _vars(self) -> dict[str, str]:
        return {f"var.{name}": value for name, value in self.endpoint.vars.items()}

    def _query(self) -> dict[str, str]:
        return dict(fill(self.endpoint.dialect.query, self._vars()))

    def _headers(self) -> dict[str, str]:
        auth = self.endpoint.dialect.auth
        headers = dict(fill(self.endpoint.dialect.headers, self._vars()))
        if self.endpoint.key is not None:
            headers[auth.header] = auth.value.replace("{key}", self.endpoint.key)
        return {**headers, **self.endpoint.headers}


def _has_id(signal: Signal) -> bool:
    """Say whether a signal of a create tells which job was made."""
    reading = None if isinstance(signal, Fault) else signal.reading
    return reading is not None and reading.id is not None


def _hiding(response: Response, signal: AnySignal) -> AnySignal:
    """Take our secrets out of what a record will hold: the error, how it ended.

    The object itself stays as it came: it is the answer.
    """
    if isinstance(signal, Fault):
        return signal
    hide, reading = partial(transport.unquoted, response), signal.reading
    if isinstance(signal, Event) and signal.error is not None:
        signal = signal._replace(error=_hidden(signal.error, hide))
    if reading is None:
        return signal
    model, reason = reading.model, reading.incomplete_reason
    reading = reading._replace(
        raw_status=hide(reading.raw_status),
        model=None if model is None else hide(model),
        incomplete_reason=None if reason is None else hide(reason),
        error=None if reading.error is None else _hidden(reading.error, hide),
        answer=reading.answer.hiding(hide),
        hide=hide,
    )
    return signal._replace(reading=reading)


def _hidden(error: ResponseError, hide: Callable[[str], str]) -> ResponseError:
    return ResponseError(hide(error.code), hide(error.message))
