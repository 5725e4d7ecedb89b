"""Text of strangers made safe to show, JSON safe to read, and words nearly known."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

MAX_DEPTH: Final = 200  # lists and objects within each other
_LARGEST: Final = math.nextafter(math.inf, 0.0)
_NOT_ASCII: Final = re.compile(r"[^\t\n -~]+")
# Controls, formats (bidi, zero-width, tags, soft hyphens), half surrogates, separators.
_ACTING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# The joiner and the non-joiner: Urdu, Persian, Hindi and emoji need them.
_JOINERS: Final = "\u200c\u200d"
# What shows nothing though it is a letter, a mark or not yet assigned: fillers, vowels
# that are inherent, selectors of variants, the grapheme joiner, what is reserved to be
# ignored, and what is never a character. Unicode calls them Default_Ignorable; Python
# knows categories only.
_IGNORED: Final = (  # compiled when first needed: it costs what a dozen others do
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0"
    "\ufff0-\ufff8\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff"
    + "".join(f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}" for p in range(1, 17))
    + "]"
)
# Those that choose between the text and the picture of a sign.
_SELECTORS: Final = "\ufe0e\ufe0f"
_KEYCAP: Final = "\u20e3"
# Signs with a picture that are no symbols, or stand among those that have none.
_PICTURED: Final = "\u00a9\u00ae\u203c\u2049\u2139\u3030"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# A manifest is read by the end of its name, which is kept.
_EXTENSION: Final = r"(\.[A-Za-z0-9]{1,8}|)$"
_SAMPLE: Final = 64
_LEAST: Final = 4
# By their byte order marks; that of UTF-32 begins as one of UTF-16 does.
_WIDE: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
PARSED: Final = 16 * 1024 * 1024
STRUCTURE: Final = 500_000
_STRUCTURAL: Final = "{[,:"


def printable(text: str, *, after: str = "") -> str:
    """Return the text with unsafe code points written as visible escapes.

    `after` is what was shown before it, for a text that comes in pieces: a selector
    stays behind a sign alone. Nothing else hangs on another code point, so that no
    sequence slips through in two pieces (RELIABILITY.md 5.1; kubernetes
    CVE-2021-25743 for the class).
    """
    if _NOT_ASCII.search(text) is None:
        return text

    def shown(run: re.Match[str]) -> str:
        found = run[0]
        if found.isprintable() and re.search(_IGNORED, found) is None:
            return found
        before = [text[run.start() - 1] if run.start() else after[-1:], *found[:-1]]
        behind = [*found[1:], text[run.end() : run.end() + 1]]
        return "".join(map(_shown, before, found, behind))

    return _NOT_ASCII.sub(shown, text)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text, in this order: one may hold another."""
    for word in secrets:
        text = text.replace(word, "[secret]")
    return text


def counted(count: int, what: str = "job") -> str:
    """Write how many jobs, or other things whose plural ends in s."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def is_plain(text: str) -> bool:
    """Say whether a text is safe as it is, and on one line without tabs."""
    return printable(text) == text and not {"\t", "\n"} & set(text)


def one_line(text: str, *, limit: int = 500) -> str:
    """Return text of a server for a message: safe, on one line, at most `limit`."""
    flat = printable(" ".join(text.split()))
    if len(flat) <= limit:
        return flat
    return flat[: limit - 1].rstrip(_SELECTORS) + "…"


def _shown(before: str, point: str, behind: str) -> str:
    """Return a code point as it is shown between two others, each perhaps none."""
    if point in _JOINERS or (point in _SELECTORS and _selects(before, behind)):
        return point
    import unicodedata  # few texts need it

    if re.match(_IGNORED, point) is None and unicodedata.category(point) not in _ACTING:
        return point
    if 0xD800 <= ord(point) <= 0xDFFF:
        return "\ufffd"
    return "\\r" if point == "\r" else f"\\u{{{ord(point):x}}}"


def _selects(sign: str, behind: str) -> bool:
    """Say whether a selector stands within an emoji: a sign, or a key's cap."""
    if not sign:
        return False
    if sign.isascii():
        return sign in "0123456789#*" and behind == _KEYCAP
    if sign in _PICTURED:
        return True
    import unicodedata

    # What this Python does not know yet may be a newer emoji.
    kinds = {"So", "Sm", "Cn"} if sign >= "\U0001f000" else {"So", "Sm"}
    return sign >= "\u2100" and unicodedata.category(sign) in kinds


def parse_json(text: str | bytes, *, clamps: bool = False) -> Any:
    """Parse JSON as every other program reads it.

    Raises ValueError for what is none: NaN, infinities, a depth without end. A number
    beyond a float's range would be written back as no JSON: it is refused in what a
    person wrote, and with `clamps`, for what an endpoint sent, becomes the largest
    float: no answer is lost by it.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        value = (_CLAMPING if clamps else _STRICT).decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _brackets(text) > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    return value


def _brackets(text: str) -> int:
    """Count what may nest: where there are few, nothing is deep."""
    return text.count("[") + text.count("{") if len(text) > MAX_DEPTH else 0


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is too large")
    return value


def _clamped(number: str) -> float:
    return max(-_LARGEST, min(float(number), _LARGEST))


# Made once: making one costs as much as a short text does.
_STRICT: Final = json.JSONDecoder(parse_constant=_refused, parse_float=_finite)
_CLAMPING: Final = json.JSONDecoder(parse_constant=_refused, parse_float=_clamped)


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


class NotUtf8Error(ValueError):
    """Bytes that are no UTF-8; `hint` has the command that converts them, if any."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep what is told."""
        super().__init__(message)
        self.hint = hint


def text_of(raw: bytes, name: str | None) -> str:
    """Return the text of a file of this name, without a byte order mark; None is stdin.

    Raises NotUtf8Error.
    """
    refuse_wide(raw, name)
    try:
        return raw.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start + len(BYTE_ORDER_MARK) * raw.startswith(BYTE_ORDER_MARK)
        raise NotUtf8Error(f"not UTF-8 (byte {at})") from None


def refuse_wide(raw: bytes, name: str | None) -> None:
    """Refuse what begins as UTF-16 and UTF-32 do.

    Raises NotUtf8Error.
    """
    found = wide_encoding(raw)
    if found is not None:
        convert = f"iconv -f {found} -t UTF-8"
        hint = f"{convert} FILE | bgresp ..."
        if name is not None:
            import shlex

            converted = re.sub(_EXTENSION, r".utf8\1", name, count=1)
            hint = f"{convert} {shlex.quote(name)} > {shlex.quote(converted)}"
        raise NotUtf8Error(f"{found[:6]}, not UTF-8", hint)


def wide_encoding(raw: bytes) -> str | None:
    """Return iconv's name of an encoding with units of two or four bytes, else None.

    Without a mark it is told by its zeros: no text has one, and ASCII in UTF-16 has
    one in each unit.
    """
    for mark, name in _WIDE:
        if raw.startswith(mark):
            return name
    sample = raw[: min(_SAMPLE, len(raw) // 2 * 2)]
    first, second = sample[0::2], sample[1::2]
    if len(sample) < _LEAST:
        return None
    if all(first) and not any(second):
        return "UTF-16LE"
    return "UTF-16BE" if all(second) and not any(first) else None


class TooLargeError(ValueError):
    """More bytes than may be read or parsed; `head` is what was read of them."""

    head: bytes | bytearray = b""


def parse_bounded(text: str | bytes | bytearray) -> Any:
    """Parse JSON of a stranger.

    Raises TooLargeError beyond the limits, ValueError for whatever else is no JSON:
    nested too deep, NaN, numbers of thousands of digits.
    """
    if len(text) > PARSED:
        raise TooLargeError(f"larger than {PARSED >> 20} MiB")
    sample = text if isinstance(text, str) else text.decode("utf-8", "replace")
    few = len(sample) <= STRUCTURE
    if not few and sum(map(sample.count, _STRUCTURAL)) > STRUCTURE:
        raise TooLargeError(f"more than {STRUCTURE} values")
    return parse_json(sample.removeprefix("\ufeff"), clamps=True)
