"""JSON as every other program reads it, and no deeper than it can be handled; pure."""

import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 200  # lists and objects within each other


def loads(text: str | bytes) -> Any:
    """Parse JSON; ValueError for what is none: NaN, infinities, a depth without end."""
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    """Read a number; one too large would be printed as what is no JSON."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is too large")
    return value


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while nested := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        level = [
            child
            for item in nested
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
