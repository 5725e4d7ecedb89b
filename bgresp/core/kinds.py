"""Kinds of values that TOML has, in a reader's words."""

from collections.abc import Mapping
from typing import Any, Final

TEXT: Final = "text"
SWITCH: Final = "true or false"
WHOLE: Final = "a whole number"
NUMBER: Final = "a number"
LIST: Final = "a list"
TABLE: Final = "a table"
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    SWITCH: (bool,),  # before numbers: True is one
    TEXT: (str,),
    NUMBER: (int, float),
    LIST: (list, tuple),
    TABLE: (Mapping,),
}


def kind(value: Any) -> str:
    """Say what a value is, as in `must be text, not a number`."""
    for name, types in _TYPES.items():
        if isinstance(value, types):
            return name
    return "a date or time"


def fits(value: Any, wanted: str) -> bool:
    """Say whether a value is of a kind; a whole number is a number too."""
    if wanted == WHOLE:
        return type(value) is int
    return kind(value) == wanted
