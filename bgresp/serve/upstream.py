"""The engine that asks another server: one of Responses, or of chat completions.

Its events are passed on as they come. What it breaks off is failed with what came.
"""

import asyncio
import email.utils
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from bgresp.core import chat
from bgresp.core.endpoint import is_loopback
from bgresp.core.reading import SseDecoder, SseError
from bgresp.core.text import one_line
from bgresp.serve.engines import EngineError, EngineNews, Outcome, Work
from bgresp.serve.output import OutputWriter
from bgresp.serve.wire import ENDED, Json

RESPONSES: Final = "responses"
CHAT: Final = "chat"
APIS: Final = (RESPONSES, CHAT)
SILENCE: Final = 600.0  # seconds without a byte: a model on a small machine is slow
_CONNECT: Final = 10.0
_LONGEST_WAIT: Final = 300.0
_FIRST_WAIT: Final = 1.0
_BODY: Final = 64 * 1024 * 1024
_NUMBER: Final = re.compile(r"\d{1,9}(\.\d+)?", re.ASCII)
_ABSENT: Final = frozenset({404, 405, 501})
# What is ours to keep or to do, and not the upstream's.
_OURS: Final = frozenset(
    {
        *(
            "background",
            "previous_response_id",
            "conversation",
            "stream",
            "stream_options",
        ),
        *("input", "store"),
    }
)
_LIFECYCLE: Final = frozenset(
    {
        *("response.created", "response.queued", "response.in_progress"),
    }
)
_TERMINAL: Final = {f"response.{status}": status for status in ENDED}
_ECHOED: Final = ("model", "service_tier")


@dataclass(slots=True)
class Upstream:
    """Asks the server at `base_url`; without `api` the first answer tells which it is.

    `sleep` waits for a server that asks to be left alone.
    """

    base_url: str
    key: str | None = None
    api: str | None = None
    silence: float = SILENCE
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time
    _client: httpx.AsyncClient | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Return the name of a model that nobody named: the upstream chooses one."""
        return "default"

    async def run(self, work: Work) -> AsyncIterator[EngineNews]:
        """Stream the upstream's answer. Raises EngineError."""
        tried = (self.api,) if self.api else APIS
        for api in tried:
            ask = self._responses if api == RESPONSES else self._chat
            try:
                async for told in ask(work):
                    self.api = api  # it speaks: nobody needs to find out again
                    yield told
            except _AbsentError as absent:
                if api == tried[-1]:
                    raise EngineError("upstream_error", str(absent)) from None
            else:
                return

    async def models(self) -> list[str]:
        """Return the names that the upstream lists. Raises EngineError."""
        try:
            reply = await self._http().get(f"{self.base_url}/models", timeout=_CONNECT)
            data = reply.raise_for_status().json()["data"]
            return [str(model["id"]) for model in data]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            message = f"the upstream does not list its models: {one_line(str(error))}"
            raise EngineError("upstream_error", message) from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _responses(self, work: Work) -> AsyncIterator[EngineNews]:
        request = {n: v for n, v in work.request.items() if n not in _OURS}
        request["input"] = [_unnamed(i) for i in work.items if _is_portable(i)]
        request |= {"stream": True, "store": False}
        ended: Json | None = None
        error: Json | None = None
        async with self._reply_to("responses", request) as reply:
            async for event in _events(reply, self.silence):
                kind = str(event.get("type", ""))
                if kind == "error":
                    error = _error_of(event)
                elif kind in _TERMINAL:
                    ended = _object(event.get("response"))
                    ended.setdefault("status", _TERMINAL[kind])
                    break
                elif event.get("object") == "response":  # a server that does not stream
                    ended = event
                    yield _as_events(event)
                    break
                elif kind.startswith("response.") and kind not in _LIFECYCLE:
                    yield [_passed(event)]
        if ended is None:
            raise _failed(error) if error else _cut()
        yield _outcome(ended, error)

    async def _chat(self, work: Work) -> AsyncIterator[EngineNews]:
        try:
            request = chat.from_responses(work.request, work.items)
        except chat.ChatError as error:
            raise EngineError("unsupported", str(error)) from None
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        writer = OutputWriter(work.id)
        reader = chat.ChatReader(work.id.removeprefix("resp_")[:16])
        done = False
        async with self._reply_to("chat/completions", request) as reply:
            async for chunk in _events(reply, self.silence):
                if chunk is _DONE:
                    done = True
                    break
                events = [e for p in reader.read(chunk) for e in _written(writer, p)]
                if events:
                    yield events
                if reader.error is not None:
                    raise _failed(reader.error)
        if reader.finish_reason == "error":
            raise EngineError("upstream_error", "the upstream ended with an error")
        if reader.finish_reason is None and not done:
            raise _cut()
        reason = reader.incomplete_reason
        yield writer.finish("incomplete" if reason else "completed", empty=True)
        yield Outcome(
            reader.usage, reason, {"model": reader.model} if reader.model else {}
        )

    @asynccontextmanager
    async def _reply_to(
        self, path: str, request: Json
    ) -> AsyncIterator[httpx.Response]:
        """Ask, as often as the server only says later; yield its 200.

        Raises EngineError, and _AbsentError where there is nothing at that path.
        """
        wait = _FIRST_WAIT
        url = f"{self.base_url}/{path}"
        while True:
            post = self._http().build_request("POST", url, json=request)
            try:
                reply = await self._http().send(post, stream=True)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _unreachable(error) from None
            try:
                if reply.status_code == 200:
                    yield reply
                    return
                body = await _read(reply)
            except httpx.HTTPError as error:
                raise _cut(error) from None
            finally:
                await reply.aclose()
            if reply.status_code in _ABSENT:
                raise _AbsentError(_message_of(reply.status_code, body))
            if _refuses_options(reply.status_code, body, request):
                del request["stream_options"]
                continue
            if not _is_later(reply, body):
                raise EngineError(*_refusal_of(reply.status_code, body))
            # Nothing was begun: the job waits, as long as it may run.
            asked = _retry_after(reply.headers, self.now())
            await self.sleep(min(wait if asked is None else asked, _LONGEST_WAIT))
            wait = min(2 * wait, 30.0)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            headers = {"accept": "text/event-stream, application/json"}
            if self.key is not None:
                headers["authorization"] = f"Bearer {self.key}"
            timeout = httpx.Timeout(self.silence, connect=_CONNECT, pool=None)
            limits = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.AsyncClient(
                headers=headers,
                timeout=timeout,
                limits=limits,
                follow_redirects=False,
                verify=self.base_url.startswith("https:"),  # http needs no TLS at all
                trust_env=not is_loopback(self.base_url),  # no proxy on the way to here
            )
        return self._client


class _AbsentError(Exception):
    """The upstream has nothing at that path."""


_DONE: Final[Json] = {"type": "[DONE]"}


async def _events(reply: httpx.Response, silence: float) -> AsyncIterator[Json]:
    """Yield the JSON of each event, or of a reply that is no stream; then `_DONE`.

    Raises EngineError where the stream breaks off or is no JSON.
    """
    is_stream = "text/event-stream" in reply.headers.get("content-type", "")
    try:
        if not is_stream:
            yield await _whole(reply)
            yield _DONE
            return
        decoder = SseDecoder()
        async for chunk in reply.aiter_bytes():
            for event in decoder.feed(chunk):
                if event.data.strip() == "[DONE]":
                    yield _DONE
                    return
                told = json.loads(event.data)
                if isinstance(told, dict):
                    yield told
    except httpx.ReadTimeout:
        message = f"the upstream was silent for {silence:g} seconds"
        raise EngineError("upstream_cut", message) from None
    except (httpx.HTTPError, SseError, ValueError, RecursionError) as error:
        raise _cut(error) from None


async def _whole(reply: httpx.Response) -> Json:
    """Read a reply that is no stream; ValueError where it is no JSON object."""
    body = json.loads(await _read(reply))
    if not isinstance(body, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 # as json.loads has it
    if body.get("error") and "choices" not in body and "output" not in body:
        # LM Studio answers 200 where it has no such endpoint.
        raise _AbsentError(_message_of(200, json.dumps(body).encode()))
    return body


async def _read(reply: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in reply.aiter_bytes():
        body += chunk
        if len(body) > _BODY:
            raise EngineError("upstream_error", "the upstream's reply is too large")
    return bytes(body)


def _written(writer: OutputWriter, piece: chat.Piece) -> list[Json]:
    if piece.kind == "call":
        named = {"call_id": piece.call_id, "name": piece.name}
        return writer.call(piece.number, **named, piece=piece.text)
    write = {"text": writer.text, "reasoning": writer.reasoning}
    return write.get(piece.kind, writer.refusal)(piece.text)


def _passed(event: Json) -> Json:
    """Return an upstream's event without what we number and time ourselves."""
    ours = {"sequence_number", "obfuscation"}
    return {name: value for name, value in event.items() if name not in ours}


def _as_events(response: Json) -> list[Json]:
    """Return a whole response's items as the events that would have built them."""
    output = response.get("output")
    return [
        {"type": f"response.output_item.{step}", "output_index": number, "item": item}
        for number, item in enumerate(output if isinstance(output, list) else [])
        if isinstance(item, dict)
        for step in ("added", "done")
    ]


def _outcome(ended: Json, error: Json | None) -> Outcome:
    """Return how a response of the upstream ended. Raises EngineError if it failed."""
    status = ended.get("status")
    if status not in ("completed", "incomplete"):  # a list is in no set
        raise _failed(_object(ended.get("error")) or error or {})
    details = _object(ended.get("incomplete_details"))
    reason = str(details.get("reason") or "unknown") if status == "incomplete" else None
    usage = ended.get("usage")
    fields = {name: ended[name] for name in _ECHOED if isinstance(ended.get(name), str)}
    output = ended.get("output")
    return Outcome(
        usage if isinstance(usage, dict) else None,
        reason,
        fields,
        # What was streamed may be less than what it says at the end.
        output if _is_items(output) else None,
    )


def _is_items(output: Any) -> bool:
    return (
        isinstance(output, list)
        and bool(output)
        and all(isinstance(item, dict) for item in output)
    )


def _unnamed(item: Json) -> Json:
    """Return an item without the id that only we know."""
    return {name: value for name, value in item.items() if name != "id"}


def _is_portable(item: Json) -> bool:
    """Say whether an upstream that keeps nothing can read an item."""
    return item.get("type") != "reasoning" or bool(item.get("encrypted_content"))


def _error_of(event: Json) -> Json:
    return _object(event.get("error")) or event


def _object(value: Any) -> Json:
    return dict(value) if isinstance(value, dict) else {}


def _failed(error: Mapping[str, Any]) -> EngineError:
    code = error.get("code") or error.get("type") or "upstream_error"
    message = one_line(str(error.get("message") or "the upstream failed"))
    return EngineError(one_line(str(code), limit=80), message)


def _cut(error: Exception | None = None) -> EngineError:
    why = f": {one_line(str(error), limit=200)}" if error and str(error) else ""
    return EngineError("upstream_cut", f"the upstream broke off its answer{why}")


def _unreachable(error: Exception) -> EngineError:
    why = one_line(str(error) or type(error).__name__, limit=200)
    return EngineError("upstream_unreachable", f"the upstream is not reached: {why}")


def _refusal_of(status: int, body: bytes) -> tuple[str, str]:
    """Return the code and the message of an upstream's refusal."""
    error = _envelope(body)
    code = error.get("code") or error.get("type")
    named = code if isinstance(code, str) and code else "upstream_error"
    return one_line(named, limit=80), _message_of(status, body)


def _message_of(status: int, body: bytes) -> str:
    message = _envelope(body).get("message") or body.decode("utf-8", "replace")
    return f"the upstream answered {status}: {one_line(str(message), limit=400)}"


def _envelope(body: bytes) -> Json:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {"message": error or ""}


def _refuses_options(status: int, body: bytes, request: Json) -> bool:
    """Say whether a server does not know how to be asked for usage."""
    known = "stream_options" in request and status in {400, 422}
    return known and b"stream_options" in body


def _is_later(reply: httpx.Response, body: bytes) -> bool:
    """Say whether a refusal only means later: a spent quota is none of them."""
    if reply.status_code == 429:
        return b"insufficient_quota" not in body
    return reply.status_code == 503 and "retry-after" in reply.headers


def _retry_after(headers: httpx.Headers, now: float) -> float | None:
    """Return the seconds that a server asks to wait; None where it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if _NUMBER.fullmatch(value):
            return float(value) * unit
        try:
            until = email.utils.parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            continue
        return max(0.0, until - now)
    return None
