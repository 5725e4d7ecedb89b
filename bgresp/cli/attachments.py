"""What --attach names, read and checked before anything is sent.

Every refusal is a UsageError that names the file and the reason.
"""

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from bgresp.cli import inputs
from bgresp.core import request
from bgresp.core.errors import UsageError
from bgresp.core.request import Part, file_part, url_part

UNKNOWN: Final = "application/octet-stream"
_PACKED: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}
_WEB: Final = ("http://", "https://")


def parts(given: Sequence[str]) -> tuple[Part, ...]:
    """Return a message part for each PATH or URL, in their order."""
    found: list[Part] = []
    room = request.MAX_BYTES
    for item in given:
        if item.lower().startswith(_WEB):
            found.append(url_part(_checked(item), _kind(urlsplit(item).path)))
            continue
        data = _read(item, room)
        room -= len(data)
        found.append(file_part(Path(item).name, _kind(item), data))
    return tuple(found)


def _checked(url: str) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if not host or not url.isprintable() or " " in url:
        raise UsageError(f"--attach {url!r}: not a URL")
    return url


def _read(path: str, room: int) -> bytes:
    shown = f"--attach {path}"
    if path == inputs.STDIN:
        raise UsageError(f"{shown}: stdin has no name; give a PATH or a URL")
    data = inputs.read_bytes(path, shown, most=room)
    if data is None:
        limit = request.MAX_BYTES // 1_000_000
        raise UsageError(
            f"{shown}: the attachments are larger than {limit} MB together",
            hint="upload it to where the endpoint can fetch it, and attach its URL",
        )
    if not data:
        raise UsageError(f"{shown}: is empty")
    return data


def _kind(path: str) -> str:
    """Guess a media type from the end of a path or of a URL's path."""
    name = unquote(path.rpartition("/")[2])
    kind, packed = mimetypes.guess_type(f"./{name}", strict=False)
    return _PACKED.get(packed, UNKNOWN) if packed else kind or UNKNOWN
