"""An endpoint: a base URL spoken to in a dialect, with what is secret of it.

Apart from dialects, which are read where nobody is asked: these say nothing of a key.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from bgresp.core.dialect import Dialect
from bgresp.core.errors import ConfigError
from bgresp.core.model import NOTHING

LOOPBACK: Final = ("localhost", "::1")


class Webhook(NamedTuple):
    """A URL that is told of a job's end, and the variable whose secret signs that.

    The secret goes into the bytes of a create alone: into nothing that is kept.
    """

    url: str
    variable: str
    secret: str | None = None

    def __repr__(self) -> str:
        """Tell nothing of the secret."""
        return f"Webhook({self.url!r}, {self.variable!r})"

    def checked(self) -> Self:
        """Return a webhook that can be asked for. Raises ConfigError."""
        if self.secret is None:
            said = f"no webhook secret: {self.variable!r} is not set"
            raise ConfigError(said, hint=f"export {self.variable}=whsec_...")
        return self


class Endpoint(NamedTuple):
    """A base URL spoken to in a dialect; `key` and `headers` may be secret.

    Never printed with its key. `key_is_kept`: a variable or a file has the key, no
    command makes it.
    """

    profile: str
    base_url: str
    dialect: Dialect
    vars: Mapping[str, str] = NOTHING
    key: str | None = None
    headers: Mapping[str, str] = NOTHING
    key_is_kept: bool = False
    webhook: Webhook | None = None

    def __repr__(self) -> str:
        """Tell nothing that may be secret."""
        return f"Endpoint({self.profile!r}, {self.base_url!r})"

    @property
    def has_lasting_key(self) -> bool:
        """Say whether the key is the same tomorrow: kept somewhere, and no token."""
        key = self.key or ""
        is_token = key.startswith("ya29.") or (key.startswith("eyJ") and "." in key)
        return self.key_is_kept and bool(key) and not is_token

    @property
    def secrets(self) -> frozenset[str]:
        """Return what nobody may be shown: keys, and the values of own headers."""
        told = self.webhook.secret if self.webhook is not None else None
        return frozenset({*filter(None, [self.key, told]), *self.headers.values()})

    @property
    def host(self) -> str:
        """Return host and port for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def is_loopback(self) -> bool:
        """Say whether the base URL's host is this machine, written literally."""
        return is_loopback(self.base_url)


def asking(endpoint: Endpoint, body: bytes) -> bytes:
    """Return the bytes of a create that asks for the endpoint's webhook, if it has one.

    A body that names one itself stays, and so does all that it says, byte by byte.
    Raises ConfigError where the secret is not set.
    """
    if endpoint.webhook is None:
        return body
    webhook, fields = endpoint.webhook.checked(), endpoint.dialect.webhook
    said = {fields["url"]: webhook.url, fields["secret"]: webhook.secret}
    if not said.keys().isdisjoint(json.loads(body)):
        return body
    return body.rstrip()[:-1] + b"," + json.dumps(said)[1:].encode("ascii")


def is_loopback(url: str) -> bool:
    """Say whether a URL's host is 127.0.0.0/8, ::1 or localhost, written literally."""
    host = urlsplit(url).hostname or ""
    parts = host.split(".")
    quad = len(parts) == 4 and all(part.isdecimal() for part in parts)
    return host in LOOPBACK or (quad and parts[0] == "127")
