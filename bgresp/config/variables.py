"""What a profile's variables fill."""

from collections.abc import Mapping
from typing import Any

from bgresp.core import dialect
from bgresp.core.dialect import Dialect, unclosed
from bgresp.core.dialect import variables as in_templates
from bgresp.core.errors import ConfigError


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
