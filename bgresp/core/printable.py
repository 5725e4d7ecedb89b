"""Untrusted text made safe for a terminal, one code point at a time.

One code point never depends on another, so that a sequence split over two events
cannot slip through (RELIABILITY.md 5.1; kubernetes CVE-2021-25743 for the class).
"""

import re
from typing import Final

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
