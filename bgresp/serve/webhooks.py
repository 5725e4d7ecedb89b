"""What the endpoint tells others: a signed webhook for each job that ended.

A notice that is owed lies beside its job's record until it was taken or an hour is
over, so that a restart forgets none. It goes to addresses alone that the person who
started the endpoint allowed, and follows no redirect.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bgresp.core.errors import UsageError
from bgresp.core.text import one_line
from bgresp.serve.store import Entry, Store
from bgresp.serve.wire import Json, RefusalError, dumps, invalid

if TYPE_CHECKING:
    import httpx

GIVE_UP: Final = 3600.0  # seconds after a job's end
AT_ONCE: Final = 8
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 300.0
_LEAST_WAIT: Final = 0.05
_TIMEOUT: Final = 10.0
_FIELDS: Final = ("webhook_url", "webhook_secret")
_GONE: Final = 410  # Standard Webhooks: its receiver wants no more


def origin(url: str) -> str:
    """Return scheme, host and port of a URL. Raises ValueError where it is none."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = usual if parts.port is None else parts.port
    # What one reader of URLs drops, or takes for a slash, another may not.
    is_plain = url.isascii() and url.isprintable() and not set(url) & set("\\ ")
    if not (usual and is_plain and parts.hostname) or "@" in parts.netloc:
        raise ValueError(url)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def sign(secret: str, *, id_: str, timestamp: int, body: bytes) -> str:
    """Return a signature of Standard Webhooks.

    Without `whsec_` a secret is the key itself, as OpenAI's SDK reads it. Raises
    ValueError where there is no key.
    """
    plain = secret.removeprefix("whsec_")
    try:
        key = secret.encode() if plain == secret else base64.b64decode(f"{plain}==")
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("no key")
    signed = f"{id_}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where notices go: of every job to `url`; a request may name one of `allowed`.

    `allowed` are origins. `secret` signs what brings none of its own.
    """

    url: str | None = None
    secret: str | None = field(default=None, repr=False)
    allowed: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be meant. Raises UsageError."""
        for url in (*filter(None, [self.url]), *self.allowed):
            try:
                origin(url)
            except ValueError:
                message = f"{url!r} is not a URL: a webhook goes to https://HOST/PATH"
                raise UsageError(message) from None
        if self.url is not None and self.secret is None:
            raise UsageError("a webhook is signed: --webhook-secret-env NAME")
        if self.secret is not None:
            try:
                sign(self.secret, id_="", timestamp=0, body=b"")
            except ValueError:
                raise UsageError("the webhook secret is not a key") from None

    def taken(self, request: Json) -> tuple[Json, Json | None]:
        """Take what a request says of webhooks out of it: the rest, and the notice.

        Raises RefusalError.
        """
        rest = {name: v for name, v in request.items() if name not in _FIELDS}
        url, secret = (request.get(name) for name in _FIELDS)
        if not request.get("background"):
            if url is not None:
                message = "'webhook_url' is only allowed when background=true."
                raise RefusalError(invalid(message, "webhook_url"))
            return rest, None
        if url is None:
            return rest, None if self.url is None else {"url": self.url}
        self._check(url, secret)
        own = {} if secret is None else {"secret": secret}
        return rest, {"url": url, **own}

    def _check(self, url: Any, secret: Any) -> None:
        known = (*filter(None, [self.url]), *self.allowed)
        try:
            allowed = origin(url) in {origin(one) for one in known}
        except (ValueError, TypeError, AttributeError):
            allowed = False
        if not allowed:
            message = (
                "'webhook_url' is not an address that this server may tell: "
                "bgresp serve --webhook-allow ORIGIN."
            )
            raise RefusalError(invalid(message, "webhook_url", "invalid_value"))
        try:
            sign(secret if secret is not None else self.secret or "", **_NOTHING)
        except (ValueError, TypeError, AttributeError):
            message = "A webhook is signed: 'webhook_secret' is missing or no key."
            no = invalid(message, "webhook_secret", "invalid_value")
            raise RefusalError(no) from None


_NOTHING: Final[dict[str, Any]] = {"id_": "", "timestamp": 0, "body": b""}


@dataclass(slots=True)
class _Owed:
    """How a job ended, when that is told next, and how long to wait after a failure."""

    status: str
    at: float
    wait: float = _FIRST_WAIT
    sending: bool = False


@dataclass(slots=True)
class WebhookSender:
    """Sends what is owed, again and again until it is taken.

    A receiver has `patience` seconds for its whole answer: one that drips would hold
    the place of others.
    """

    options: WebhookOptions
    store: Store
    clock: Callable[[], float]
    patience: float = _TIMEOUT
    _owed: dict[str, _Owed] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def idle(self) -> bool:
        """Say whether nothing is owed."""
        return not self._owed

    def ended(self, entry: Entry, status: str) -> None:
        """Take that a job ended; whoever wanted to be told will be."""
        if self.store.is_owed(entry.id):
            self._owed[entry.id] = _Owed(status, self.clock())
            self._wake.set()

    async def run(self) -> None:
        """Send for ever."""
        await self._wake.wait()
        import httpx  # only where there is somebody to tell

        tasks: set[asyncio.Task[None]] = set()
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
                while True:
                    self._wake.clear()
                    now = self.clock()
                    for name, owed in list(self._owed.items()):
                        if owed.at <= now and not owed.sending and len(tasks) < AT_ONCE:
                            owed.sending = True
                            task = asyncio.create_task(self._try(client, name, owed))
                            tasks.add(task)
                            task.add_done_callback(tasks.discard)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._pause(now)):
                            await self._wake.wait()
        finally:
            for task in tasks:
                task.cancel()

    def _pause(self, now: float) -> float:
        later = (one.at for one in self._owed.values() if not one.sending)
        return max(_LEAST_WAIT, min(later, default=now + _LONGEST_WAIT) - now)

    async def _try(self, client: "httpx.AsyncClient", name: str, owed: _Owed) -> None:
        """Tell of one job once; a failure waits, and leaves its place to others."""
        try:
            entry, notice = self.store.get(name), self.store.notice(name)
            said = None
            if entry is not None and notice is not None:
                said = await self.sent(client, entry, notice, owed.status)
            late = entry is None or self.clock() - (entry.ended or 0.0) > GIVE_UP
            if said is None or late:
                if said is not None:
                    sys.stderr.write(f"{name}: its webhook was not taken: {said}\n")
                self.store.settle(name)
                self._owed.pop(name, None)
                return
            owed.at = self.clock() + owed.wait
            owed.wait = min(owed.wait * 2, _LONGEST_WAIT)
        finally:
            owed.sending = False
            self._wake.set()

    async def sent(
        self, client: "httpx.AsyncClient", entry: Entry, notice: Json, status: str
    ) -> str | None:
        """Post a notice once; return why it was not taken, None where it was."""
        number = entry.id.removeprefix("resp_")
        id_ = f"evt_{number}"
        event = {
            "id": id_,
            "object": "event",
            "created_at": int(entry.ended or 0.0),
            "type": f"response.{status}",
            "data": {"id": entry.id},
        }
        import httpx

        body = dumps(event).encode("ascii")
        timestamp = int(self.clock())
        try:
            secret = str(notice.get("secret") or self.options.secret or "")
            signature = sign(secret, id_=id_, timestamp=timestamp, body=body)
            headers = {
                "content-type": "application/json",
                "user-agent": "bgresp-serve",
                "webhook-id": id_,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": signature,
            }
            url = str(notice["url"])
            post = client.stream(
                "POST", url, content=body, headers=headers, follow_redirects=False
            )
            async with asyncio.timeout(self.patience), post as reply:
                taken = reply.is_success or reply.status_code == _GONE
                return None if taken else f"HTTP {reply.status_code}"
        except TimeoutError:
            return f"no answer in {self.patience:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
            return one_line(str(error) or type(error).__name__)
