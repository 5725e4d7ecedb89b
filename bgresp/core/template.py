"""Texts with `{{name}}` holes, filled from --var; pure.

Values are not filled again: `--var x='{{y}}'` gives `{{y}}`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from bgresp.core.errors import UsageError

_HOLE: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")


def names(value: Any) -> frozenset[str]:
    """Return the names of the holes in a text, or in the texts of a JSON value."""
    if isinstance(value, str):
        return frozenset(_HOLE.findall(value))
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return frozenset().union(*map(names, value))
    return frozenset()


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """Fill the holes of a text, or of the texts of a JSON value; keys stay.

    Raises UsageError that names the first hole nobody gave a value for.
    """
    if isinstance(value, str):
        return _HOLE.sub(lambda hole: _value(hole[1], variables), value)
    if isinstance(value, Mapping):
        return {key: filled(item, variables) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(item, variables) for item in value]
    return value


def _value(name: str, variables: Mapping[str, str]) -> str:
    if name not in variables:
        raise UsageError(
            f"{{{{{name}}}}} is not set", hint=f"--var {name}=VALUE; or give no --var"
        )
    return variables[name]
