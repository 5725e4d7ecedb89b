"""Where requests go: one base URL, its dialect, and the secrets it needs.

Never printed with its key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bgresp.core.dialect import Dialect

LOOPBACK = ("localhost", "::1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL spoken to in a dialect; `key` and `headers` may be secret."""

    profile: str
    base_url: str
    dialect: Dialect
    vars: Mapping[str, str] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> frozenset[str]:
        """Return what nobody may be shown: the key, and the values of own headers."""
        return frozenset({*filter(None, [self.key]), *self.headers.values()})

    @property
    def host(self) -> str:
        """Return host and port for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def is_loopback(self) -> bool:
        """Say whether the base URL's host is this machine, written literally."""
        return is_loopback(self.base_url)


def is_loopback(url: str) -> bool:
    """Say whether a URL's host is 127.0.0.0/8, ::1 or localhost, written literally."""
    host = urlsplit(url).hostname or ""
    parts = host.split(".")
    quad = len(parts) == 4 and all(part.isdecimal() for part in parts)
    return host in LOOPBACK or (quad and parts[0] == "127")
