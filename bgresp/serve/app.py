"""The HTTP face of the endpoint: `/v1/responses` and its few neighbours."""

import asyncio
import os
import sys
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bgresp.core.text import printable
from bgresp.serve import page as own_page
from bgresp.serve import wire
from bgresp.serve import wire as asked
from bgresp.serve.engines import EngineError
from bgresp.serve.jobs import Caller, JobQueue
from bgresp.serve.store import Entry
from bgresp.serve.wire import OPEN, Json, Refusal, RefusalError, dumps, invalid

_DEFAULT, _MOST = 20, 100
BODY_TIMEOUT = 60.0
BODY_LIMIT = 64 * 1024 * 1024
_ALIVE = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a list that is asked for."""

    limit: int
    newest_first: bool
    after: str | None

    def cut(self, ids: Sequence[str]) -> tuple[list[int], bool]:
        """Choose positions in a list of ascending order; say whether more follow."""
        order = list(range(len(ids)))
        if self.newest_first:
            order.reverse()
        if self.after is not None:
            if self.after not in ids:
                raise RefusalError(invalid(f"No such item: '{self.after}'.", "after"))
            order = order[order.index(ids.index(self.after)) + 1 :]
        return order[: self.limit], len(order) > self.limit


def page(query: Mapping[str, str]) -> Page:
    """Read the query of a list call, or refuse it."""
    limit = query.get("limit", str(_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST):
        message = f"Invalid 'limit': expected an integer from 1 to {_MOST}."
        raise RefusalError(invalid(message, "limit"))
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise RefusalError(invalid("Invalid 'order': expected asc or desc.", "order"))
    return Page(int(limit), order == "desc", query.get("after"))


def envelope(data: list[Json], *, has_more: bool) -> Json:
    """Wrap one page."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


@dataclass(frozen=True, slots=True)
class Responses:
    """The handlers of `/v1/responses`."""

    queue: JobQueue
    body_timeout: float

    async def create(self, request: Request) -> Response:
        """Accept a job; answer at once, as a stream, or when it is done."""
        body = asked.read(await _body(request, self.body_timeout))
        entry = await self.queue.create(body, _caller(request))
        if body.get("stream") and entry.streamable:
            return self._stream(entry, -1)
        if entry.background:
            return _json(self.queue.response(entry))
        return _json(await self._answer(entry, request))

    async def listing(self, request: Request) -> Response:
        """List the tenant's jobs."""
        wanted = page(request.query_params)
        entries = self.queue.entries(_caller(request).tenant)
        chosen, has_more = wanted.cut([entry.id for entry in entries])
        data = [self.queue.response(entries[position]) for position in chosen]
        return _json(envelope(data, has_more=has_more))

    async def retrieve(self, request: Request) -> Response:
        """Return a job, or its events from anywhere on."""
        entry = self._entry(request)
        query = request.query_params
        for no in asked.includes(_names(query, "include")):
            raise RefusalError(no)
        streams = query.get("stream", "false").lower() in {"true", "1"}
        if streams:
            _check_streamable(entry)
            return self._stream(entry, _starting_after(query.get("starting_after")))
        if "starting_after" in query:
            message = "'starting_after' is only allowed when stream=true."
            raise RefusalError(invalid(message, "starting_after"))
        return _json(self.queue.response(entry))

    async def cancel(self, request: Request) -> Response:
        """Cancel an open background job."""
        entry = self._entry(request)
        status = self.queue.response(entry)["status"]
        if not entry.background:
            status = "synchronous"
        elif status in OPEN:
            self.queue.cancel(entry)
        if status in {"completed", "failed", "incomplete", "synchronous"}:
            article = "an" if status == "incomplete" else "a"
            message = f"Cannot cancel {article} {status} response."
            raise RefusalError(invalid(message, "response_id"))
        return _json(self.queue.response(entry))

    async def delete(self, request: Request) -> Response:
        """Drop a job; one that runs is cancelled first."""
        entry = self._entry(request)
        self.queue.delete(entry)
        return _json({"id": entry.id, "object": "response", "deleted": True})

    async def input_items(self, request: Request) -> Response:
        """List the input of a job."""
        entry = self._entry(request)
        items = asked.items(entry.id, self.queue.request(entry))
        wanted = page(request.query_params)
        chosen, has_more = wanted.cut([item["id"] for item in items])
        return _json(envelope([items[n] for n in chosen], has_more=has_more))

    async def models(self, _: Request) -> Response:
        """List the models of the engine."""
        names = await self._models()
        return _json({"object": "list", "data": [_model(name) for name in names]})

    async def model(self, request: Request) -> Response:
        """Return one model of the engine."""
        name = request.path_params["name"]
        if name not in await self._models():
            raise RefusalError(wire.no_model(name))
        return _json(_model(name))

    async def _models(self) -> list[str]:
        try:
            return await self.queue.models()
        except EngineError as error:
            raise RefusalError(wire.no_models(str(error))) from None

    def _entry(self, request: Request) -> Entry:
        return self.queue.find(request.path_params["id"], _caller(request).tenant)

    def _stream(self, entry: Entry, after: int) -> Response:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        frames = self._frames(entry, after)
        return StreamingResponse(
            frames, headers=headers, media_type="text/event-stream"
        )

    async def _frames(self, entry: Entry, after: int) -> AsyncIterator[bytes]:
        try:
            async for event in self.queue.follow(entry, after):
                yield _ALIVE if event is None else event.frame()
        finally:
            if not entry.background:
                self.queue.leave(entry)

    async def _answer(self, entry: Entry, request: Request) -> Json:
        """Wait for a synchronous job, as long as its caller is there."""
        ended = asyncio.ensure_future(self.queue.settled(entry))
        left = asyncio.ensure_future(request.receive())
        await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        left.cancel()
        response = self.queue.response(entry)
        self.queue.leave(entry)
        return response


def build(queue: JobQueue, *, body_timeout: float = BODY_TIMEOUT) -> Starlette:
    """Return the application without its gate (see `gate`).

    `body_timeout` is the longest pause, in seconds, that an upload may make.
    """
    api = Responses(queue, body_timeout)
    one = "/v1/responses/{id}"
    routes = [
        Route("/v1/responses", api.create, methods=["POST"]),
        Route("/v1/responses", api.listing, methods=["GET"]),
        Route(one, api.retrieve, methods=["GET"]),
        Route(one, api.delete, methods=["DELETE"]),
        Route(f"{one}/cancel", api.cancel, methods=["POST"]),
        Route(f"{one}/input_items", api.input_items, methods=["GET"]),
        Route("/v1/models", api.models, methods=["GET"]),
        Route("/v1/models/{name:path}", api.model, methods=["GET"]),
        Route("/healthz", _health, methods=["GET"]),
        *own_page.routes(queue),
    ]
    handlers: dict[Any, Any] = {
        RefusalError: _refused,
        HTTPException: _no_route,
        ClientDisconnect: _cut,
        Exception: _broken,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "bgresp"}


async def _health(_: Request) -> Response:
    return _json({"status": "ok", "pid": os.getpid()})


async def _refused(_: Request, error: RefusalError) -> Response:
    return _refusal(error.refusal)


async def _no_route(request: Request, error: HTTPException) -> Response:
    message = f"Invalid URL ({request.method} {request.url.path})"
    return _refusal(Refusal(error.status_code, message))


async def _cut(request: Request, _: Exception) -> Response:
    where = printable(f"{request.method} {request.url.path}")
    sys.stderr.write(f"an upload was cut: {where}; nothing was accepted\n")
    return _refusal(invalid("The request was cut."))  # nobody reads it


async def _broken(_: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    return _refusal(wire.broken())


def _refusal(no: Refusal) -> Response:
    return _json(no.body(), status=no.status, headers=no.headers)


def _json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(dumps(value), status, headers, "application/json")


def _caller(request: Request) -> Caller:
    headers = request.headers
    return Caller(
        tenant=headers.get("x-on-behalf-of", ""),
        idempotency_key=headers.get("idempotency-key"),
    )


async def _body(request: Request, patience: float) -> bytes:
    """Read a body as long as it makes progress.

    Raises RefusalError, and ClientDisconnect where its sender went away.
    """
    body = bytearray()
    chunks = aiter(request.stream())
    while True:
        try:
            body += await asyncio.wait_for(anext(chunks), patience)
        except StopAsyncIteration:
            return bytes(body)
        except TimeoutError:
            raise RefusalError(wire.too_slow(patience)) from None
        if len(body) > BODY_LIMIT:
            raise RefusalError(wire.too_large(BODY_LIMIT))


def _check_streamable(entry: Entry) -> None:
    for flag, name in ((entry.background, "background"), (entry.streamable, "stream")):
        if not flag:
            message = (
                "This response cannot be streamed because it was not created "
                f"with {name}=true."
            )
            raise RefusalError(invalid(message, "stream"))


def _names(query: QueryParams, name: str) -> list[str]:
    """Return the values of an array in a query, as `name=a` or `name[]=a`."""
    return [*query.getlist(name), *query.getlist(f"{name}[]")]


def _starting_after(value: str | None) -> int:
    if value is None:
        return -1
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        message = "Invalid type for 'starting_after': expected an integer."
        raise RefusalError(invalid(message, "starting_after", "invalid_type"))
    return max(int(value), -1)
