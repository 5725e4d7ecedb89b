"""Which base URLs are fit to be sent a key. May import core."""

from typing import Final
from urllib.parse import urlsplit

from bgresp.core.endpoint import is_loopback
from bgresp.core.errors import ConfigError

LOCAL: Final = "local:"


def check(base_url: str, *, keyed: bool, allow_http: bool) -> None:
    """Refuse a base URL that is none, or that a key must not go to.

    Raises ConfigError; a password in the URL is never repeated.
    """
    if base_url == LOCAL:
        return
    try:
        parts = urlsplit(base_url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname)
        named = bool(parts.username or parts.password)
        _ = parts.port
    except ValueError:
        fine, named = False, False
    if named:
        raise ConfigError("the base URL holds a user name or password: refused")
    if not fine:
        raise ConfigError(f"not a base URL: {base_url!r}", hint="write https://HOST/v1")
    if parts.query or parts.fragment:
        raise ConfigError("the base URL must not have a query or a fragment")
    if parts.scheme == "http" and keyed and not (allow_http or is_loopback(base_url)):
        raise ConfigError(
            f"a key is never sent over http:// to {parts.hostname}",
            hint="use https://, or --allow-http if the way there is safe",
        )
