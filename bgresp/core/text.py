"""Text of strangers made safe to show, JSON safe to read, and words nearly known."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

MAX_DEPTH: Final = 200  # lists and objects within each other
_LARGEST: Final = math.nextafter(math.inf, 0.0)
# C0 but tab and newline, DEL, C1; Arabic letter mark, LRM and RLM, bidi embeddings,
# overrides and isolates; line and paragraph separators; zero-width space, word joiner
# and invisible operators, BOM; tag characters; lone surrogates. The zero-width joiner
# and non-joiner stay: Urdu, Hindi and emoji need them.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return the text with unsafe code points written as visible escapes."""
    return _UNSAFE.sub(_escape, text)


def is_plain(text: str) -> bool:
    """Say whether a text is safe as it is, and on one line without tabs."""
    return printable(text) == text and not {"\t", "\n"} & set(text)


def one_line(text: str, *, limit: int = 500) -> str:
    """Return text of a server for a message: safe, on one line, at most `limit`."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _escape(found: re.Match[str]) -> str:
    point = found[0]
    if 0xD800 <= ord(point) <= 0xDFFF:
        return "\ufffd"
    return "\\r" if point == "\r" else f"\\u{{{ord(point):x}}}"


def parse_json(text: str | bytes, *, clamps: bool = False) -> Any:
    """Parse JSON as every other program reads it.

    Raises ValueError for what is none: NaN, infinities, a depth without end. A number
    beyond a float's range would be written back as no JSON: it is refused in what a
    person wrote, and with `clamps`, for what an endpoint sent, becomes the largest
    float: no answer is lost by it.
    """
    read = _clamped if clamps else _finite
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=read)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _brackets(text) > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return value


def _brackets(text: str | bytes) -> int:
    """Count what may nest: where there are few, nothing is deep."""
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is too large")
    return value


def _clamped(number: str) -> float:
    return max(-_LARGEST, min(float(number), _LARGEST))


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


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'X'? ` for a word nearly known; else nothing."""
    close = nearest(word, known)
    return "" if close is None else f"did you mean {close!r}? "


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant; None where none is near."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, [str(name) for name in known], n=1)), None)
