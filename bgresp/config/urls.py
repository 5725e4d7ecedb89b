"""Base URLs: which are fit to be sent a key, what fills them, which we start ourselves.

A profile of the dialect `local` may name a program or an upstream. That comes from this
user's configuration alone: a job keeps the profile's name, `local:NAME`, and no more.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from bgresp.config.files import Config, Table
from bgresp.core import dialect
from bgresp.core.dialect import Dialect, unclosed
from bgresp.core.dialect import variables as in_templates
from bgresp.core.endpoint import is_loopback
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
    parts = split(base_url)
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
    parts = split(base_url)
    return parts.hostname if parts is not None else None


def split(base_url: str) -> SplitResult | None:
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


class MissingError(ConfigError):
    """Variables without which no request is whole; `names` are theirs."""

    def __init__(self, message: str, names: tuple[str, ...], **how: Any) -> None:
        """Keep the names beside what every error keeps."""
        super().__init__(message, **how)
        self.names = names


def require(
    spoken: Dialect, base_url: str, variables: Mapping[str, str], profile: str
) -> None:
    """Refuse an endpoint whose requests would lack what they need.

    Raises MissingError that names all the variables, ConfigError for a base URL that
    is no template.
    """
    half = unclosed(base_url)
    if half is not None:
        said = f"profile {profile!r}: its base URL has an unclosed placeholder {half!r}"
        raise ConfigError(said)
    needed = dict.fromkeys([*spoken.needs, *in_templates(base_url)])
    missing = tuple(name for name in needed if not variables.get(name))
    if missing:
        raise MissingError(
            f"profile {profile!r}: its endpoint needs {', '.join(missing)}",
            missing,
            hint=_hint(spoken, profile, missing),
        )


def _hint(spoken: Dialect, profile: str, missing: tuple[str, ...]) -> str:
    """Say how to set them; a dialect that is used by its name has no profile yet."""
    if profile == spoken.name:
        given = " ".join(as_options(missing))
        return f"bgresp config add mine --dialect {spoken.name} {given}; then -p mine"
    return f"set it under [profiles.{profile}.vars]"


def as_options(names: tuple[str, ...]) -> list[str]:
    """Return the options that set some variables, their values to be filled in."""
    return [f"--var {name}=NAME" for name in names]


def filled(base_url: str, variables: Mapping[str, str]) -> str:
    """Return a base URL with its variables in place, percent-encoded; else nothing."""
    values = {f"var.{name}": dialect.encode(value) for name, value in variables.items()}
    return str(dialect.fill(base_url, values) or "")
