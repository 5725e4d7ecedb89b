"""Which base URLs are fit to be sent a key, and which bgresp starts itself.

A profile of the dialect `local` may name a program or an upstream. That comes from this
user's configuration alone: a job keeps the profile's name, `local:NAME`, and no more.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from bgresp.config.files import Config, Table
from bgresp.core.dialect import Dialect, is_loopback
from bgresp.core.errors import ConfigError

LOCAL: Final = "local:"
ENGINES: Final = ("exec", "upstream")
KEYS: Final = frozenset(
    {
        *ENGINES,
        *("exec_json", "upstream_key_env", "upstream_api", "workers"),
    }
)


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


def local_base_url(name: str, profile: Table, spoken: Dialect) -> str | None:
    """Return the base URL of a profile with an engine of its own; None of any other.

    Raises ConfigError where the engine cannot be meant.
    """
    said = [key for key in profile if key in KEYS]
    if not said:
        return None
    if spoken.base_url != LOCAL or "base_url" in profile:
        raise ConfigError(
            f"profile {name!r}: {said[0]!r} is for endpoints that bgresp starts",
            hint='give it dialect = "local" and no base_url',
        )
    engines = [key for key in ENGINES if key in profile]
    if len(engines) > 1:
        raise ConfigError(f"profile {name!r} has both exec and upstream: one runs jobs")
    if not engines:
        raise ConfigError(
            f"profile {name!r}: {said[0]!r} is of no use without exec or upstream"
        )
    return f"{LOCAL}{name}"


def profile_of(found: str) -> str:
    """Return the profile that a base URL `local:PROFILE` names; empty for `local:`."""
    return found.removeprefix(LOCAL)


def engine(found: str, config: Config) -> Mapping[str, Any] | None:
    """Return what a profile says of its engine: its keys, none for the plain endpoint.

    None where the profile of that base URL names no engine any more.
    """
    name = profile_of(found)
    if not name:
        return {}
    profile = config.profiles.get(name, {})
    kept = {key: value for key, value in profile.items() if key in KEYS}
    return kept if any(key in kept for key in ENGINES) else None
