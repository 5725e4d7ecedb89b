"""Bytes that a person gives as text: UTF-8, whatever marks an editor put before it.

What is UTF-16, as PowerShell's `>` and Notepad write it, is told with what converts it.
"""

import re
import shlex
from typing import Final

MARK: Final = b"\xef\xbb\xbf"
# A manifest is read by the end of its name, which is kept.
_EXTENSION: Final = re.compile(r"(\.[A-Za-z0-9]{1,8}|)$")
_SAMPLE: Final = 64
_LEAST: Final = 4
# By their byte order marks; that of UTF-32 begins as one of UTF-16 does.
_WIDE: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


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
    check(raw, name)
    try:
        return raw.removeprefix(MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start + len(MARK) * raw.startswith(MARK)
        raise NotUtf8Error(f"not UTF-8 (byte {at})") from None


def check(raw: bytes, name: str | None) -> None:
    """Refuse what begins as UTF-16 and UTF-32 do.

    Raises NotUtf8Error.
    """
    found = wide(raw)
    if found is not None:
        convert = f"iconv -f {found} -t UTF-8"
        hint = f"{convert} FILE | bgresp ..."
        if name is not None:
            converted = _EXTENSION.sub(r".utf8\1", name, count=1)
            hint = f"{convert} {shlex.quote(name)} > {shlex.quote(converted)}"
        raise NotUtf8Error(f"{found[:6]}, not UTF-8", hint)


def wide(raw: bytes) -> str | None:
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
