"""Which base URLs are fit to be sent a key."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from bgresp.core.dialect import is_loopback
from bgresp.core.errors import ConfigError

LOCAL: Final = "local:"


def is_local(base_url: str) -> bool:
    """Say whether this is an endpoint that bgresp itself starts: local:PROFILE."""
    return base_url.startswith(LOCAL)


def check(base_url: str, *, keyed: bool, allow_http: bool) -> None:
    """Refuse a base URL that is none, or that a key must not go to.

    Raises ConfigError; a password in the URL is never repeated.
    """
    if is_local(base_url):
        return
    parts = _parts(base_url)
    if parts is not None and "@" in parts.netloc:
        raise ConfigError("the base URL holds a user name or password: refused")
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = "" if "@" in base_url or "?" in base_url else f": {base_url!r}"
        raise ConfigError(f"not a base URL{shown}", hint="write https://HOST/v1")
    if parts.query or parts.fragment:
        raise ConfigError("the base URL must not have a query or a fragment")
    if parts.scheme == "http" and keyed and not (allow_http or is_loopback(base_url)):
        raise ConfigError(
            f"a key is never sent over http:// to {parts.hostname}",
            hint="use https://, or --allow-http if the way there is safe",
        )


def host(base_url: str) -> str | None:
    """Return the host of a URL; None where it is no URL."""
    parts = _parts(base_url)
    return parts.hostname if parts is not None else None


def _parts(base_url: str) -> SplitResult | None:
    """Split a URL; None where it cannot be, or holds white space or controls."""
    if any(char.isspace() or not char.isprintable() for char in base_url):
        return None
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        return None
    return parts
