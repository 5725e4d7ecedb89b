"""A bug of ours as a person reads it: one line; the traceback only with -v.

What the environment and -H keep secret is taken out of both.
"""

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from bgresp.core.errors import BgrespError

_SECRET: Final = re.compile(r".*(KEY|TOKEN|SECRET|PASS|AUTH)", re.IGNORECASE)
_SHORTEST: Final = 8
_VERBOSE: Final = frozenset({"-v", "--verbose"})


def told(
    error: Exception, argv: Sequence[str], environ: Mapping[str, str]
) -> tuple[BgrespError, str]:
    """Return a bug as an error, and its traceback where -v asks for it."""
    words = sorted(_secrets(argv, environ), key=len, reverse=True)
    said = f"internal error: {type(error).__name__}: {error}".rstrip(": ")
    text = _without(words, f"{said} ({_place(error)})")
    if not _VERBOSE & set(argv):
        return BgrespError(text, hint="-v shows the traceback"), ""
    trace = _without(words, "".join(traceback.format_exception(error)))
    return BgrespError(text, hint="a bug of bgresp: report it"), trace


def _place(error: Exception) -> str:
    """Return the last line of ours that ran: a bug may not come a second time."""
    ours = [
        f"{frame.filename.rpartition('/bgresp/')[2]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "/bgresp/" in frame.filename
    ]
    return ours[-1] if ours else "nowhere of ours"


def _secrets(argv: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    values = [value for name, value in environ.items() if _SECRET.match(name)]
    for option, value in pairwise(["", *argv]):
        if option in {"-H", "--header"} or value.startswith(("-H", "--header=")):
            values.append(value.partition(":")[2])
    for word in " ".join(values).split():
        if len(word) >= _SHORTEST:
            yield word


def _without(words: Sequence[str], text: str) -> str:
    for word in words:
        text = text.replace(word, "[secret]")
    return text
