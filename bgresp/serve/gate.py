"""What every request passes first: the key, who may knock, a request id, the clock.

A plain ASGI wrapper.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bgresp.serve import wire
from bgresp.serve.wire import Refusal, dumps

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# What tells nothing of anyone: a page has no key yet when it is opened.
KEYLESS = frozenset({"/healthz", "/", "/page.css", "/page.js", "/page.svg"})


class Gate:
    """The application behind a key, if there is one."""

    def __init__(
        self, app: App, *, key: str | None, clock: Callable[[], float]
    ) -> None:
        """Guard `app`; without a key any key is taken, or none."""
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
            await self._pass(scope, receive, _stamped(send))
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
