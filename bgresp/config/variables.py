"""What a profile's variables fill. May import core."""

from collections.abc import Mapping

from bgresp.core import filling
from bgresp.core.dialect import Dialect
from bgresp.core.dialect import variables as in_templates
from bgresp.core.errors import ConfigError


def require(spoken: Dialect, variables: Mapping[str, str], profile: str) -> None:
    """Refuse an endpoint whose requests would lack what they need.

    Raises ConfigError that names the variables.
    """
    missing = [name for name in spoken.needs if not variables.get(name)]
    if missing:
        raise ConfigError(
            f"profile {profile!r}: a {spoken.name} endpoint needs {', '.join(missing)}",
            hint=f"set it under [profiles.{profile}.vars]",
        )


def filled(base_url: str, variables: Mapping[str, str], profile: str) -> str:
    """Return a base URL with its variables in place, percent-encoded.

    Raises ConfigError that names those that are missing.
    """
    values = {f"var.{name}": filling.encode(value) for name, value in variables.items()}
    filled = filling.fill(base_url, values)
    if not filled:
        missing = [n for n in in_templates(base_url) if n not in variables]
        raise ConfigError(
            f"profile {profile!r}: its base URL needs {', '.join(missing)}",
            hint=f"set it under [profiles.{profile}.vars]",
        )
    return str(filled)
