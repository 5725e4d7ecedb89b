"""The endpoints that bgresp starts itself: which profile, and what runs its jobs.

A profile of the dialect `local` may name a program or an upstream. That comes from this
user's configuration alone: a job keeps the profile's name, `local:NAME`, and no more.
"""

from collections.abc import Mapping
from typing import Any, Final

from bgresp.config import urls
from bgresp.config.files import Config, Table
from bgresp.core.dialect import Dialect
from bgresp.core.errors import ConfigError

ENGINES: Final = ("exec", "upstream")
KEYS: Final = frozenset(
    {
        *ENGINES,
        *("exec_json", "upstream_key_env", "upstream_api", "workers"),
    }
)


def base_url(name: str, profile: Table, spoken: Dialect) -> str | None:
    """Return the base URL of a profile with an engine of its own; None of any other.

    Raises ConfigError where the engine cannot be meant.
    """
    said = [key for key in profile if key in KEYS]
    if not said:
        return None
    if spoken.base_url != urls.LOCAL or "base_url" in profile:
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
    return f"{urls.LOCAL}{name}"


def profile_of(found: str) -> str:
    """Return the profile that a base URL `local:PROFILE` names; empty for `local:`."""
    return found.removeprefix(urls.LOCAL)


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
