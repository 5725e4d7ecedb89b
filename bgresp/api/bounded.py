"""Server bytes within limits: JSON that cannot exhaust us, SSE bytes httpx-sse may see.

Figures: DESIGN.md, Limits of what is parsed.
"""

import re
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, Final

from bgresp.core.text import parse_json

PARSED: Final = 16 * 1024 * 1024
SAVED: Final = 64 * 1024 * 1024
STRUCTURE: Final = 500_000
_STRUCTURAL: Final = "{[,:"
# A text whole, or a bracket; possessive, so that a huge text costs no memory.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
_COLON: Final = re.compile(rb"\s*:")
_MOST_TOKENS: Final = 2_000_000
_BLANK_LINES: Final = (b"\n\n", b"\r\r", b"\r\n\r\n")
_BOM: Final = b"\xef\xbb\xbf"


class TooLargeError(ValueError):
    """More bytes than may be read or parsed."""


def parse(text: str | bytes | bytearray) -> Any:
    """Parse JSON of a stranger.

    Raises TooLargeError beyond the limits, ValueError for whatever else is no JSON:
    nested too deep, NaN, numbers of thousands of digits.
    """
    if len(text) > PARSED:
        raise TooLargeError(f"larger than {PARSED >> 20} MiB")
    sample = text if isinstance(text, str) else text.decode("utf-8", "replace")
    if sum(map(sample.count, _STRUCTURAL)) > STRUCTURE:
        raise TooLargeError(f"more than {STRUCTURE} values")
    return parse_json(sample.removeprefix("\ufeff"), clamps=True)


def skim(raw: bytes | bytearray) -> dict[str, str]:
    """Return the texts at the top level of an object too large to parse.

    Looks at no more than two million tokens; what it does not find is left out.
    """
    found: dict[str, str] = {}
    depth, key = 0, None
    for token in islice(_TOKEN.finditer(raw), _MOST_TOKENS):
        mark = raw[token.start() : token.start() + 1]
        if mark in b"{[":
            depth, key = depth + 1, None
        elif mark in b"}]":
            depth -= 1
        elif depth == 1 and _COLON.match(raw, token.end()):
            key = _short(raw, token)
        elif depth == 1 and key is not None:
            found.setdefault(key, _short(raw, token))
            key = None
    return found


def _short(raw: bytes | bytearray, token: re.Match[bytes]) -> str:
    """Return the beginning of a text; the text may be nearly all there is."""
    start, end = token.start() + 1, token.end() - 1
    return raw[start : min(end, start + 4096)].decode("utf-8", "replace")


async def guarded(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass event-stream bytes on: no BOM, no endless event, a blank line at the end.

    httpx-sse loses the first event after a BOM and the last one without a blank line,
    and buffers without limit. Raises TooLargeError when one event exceeds the limit.
    """
    head, tail, pending, started = b"", b"", 0, False
    async for chunk in chunks:
        piece = chunk
        if not started:
            head += chunk
            if len(head) < len(_BOM) and _BOM.startswith(head):
                continue
            piece, started = head.removeprefix(_BOM), True
        window = tail + piece
        ended = max(window.rfind(mark) for mark in _BLANK_LINES)
        pending = pending + len(piece) if ended < 0 else len(window) - ended
        if pending > PARSED:
            raise TooLargeError(f"an event larger than {PARSED >> 20} MiB")
        tail = window[-3:]
        if piece:
            yield piece
    if head and not started:
        yield head
    yield b"\n\n"
