"""What a terminal can do, by the environment; the terminal itself is not asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NO: Final = frozenset({"", "0", "false", "no"})
_PLAIN: Final = frozenset({"", "dumb", "unknown"})
_VTE: Final = 8000  # the first version of VTE that shows progress is 0.80


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether the cursor can be moved, more than ASCII drawn, a progress be shown."""

    moves: bool
    unicode: bool
    taskbar: bool


def ability(environ: Mapping[str, str], *, windows: bool) -> Ability:
    """Read the environment of a terminal.

    A console of old Windows, which sets none of its successors' variables, gets plain
    lines; so does a terminal that says to be dumb, or nothing, and a CI's log.
    """
    term = environ.get("TERM", "")
    modern = any(environ.get(name) for name in ("WT_SESSION", "TERM_PROGRAM"))
    modern |= environ.get("ConEmuANSI") == "ON"
    able = modern if windows and not term else term not in _PLAIN
    moves = able and environ.get("CI", "").lower() in _NO
    return Ability(
        moves=moves,
        unicode=able and term != "linux" and _is_utf8(environ, windows=windows),
        taskbar=moves and not environ.get("BGRESP_NO_OSC") and _has_taskbar(environ),
    )


def _is_utf8(environ: Mapping[str, str], *, windows: bool) -> bool:
    """Say whether the locale is, or nothing is said of it, as in most containers.

    Python sets LC_CTYPE itself where LANG is C (PEP 538): that is not the user's word.
    """
    if windows:
        return True
    lang, ctype = environ.get("LANG", ""), environ.get("LC_CTYPE", "")
    coerced = ctype == "C.UTF-8" and lang in {"C", "POSIX"}
    said = environ.get("LC_ALL") or (not coerced and ctype) or lang
    return not said or "utf" in said.lower()


def _has_taskbar(environ: Mapping[str, str]) -> bool:
    """Say whether OSC 9;4 is understood: by the lists of Cargo and of systemd."""
    if environ.get("TMUX") or environ.get("TERM", "").startswith(("screen", "tmux")):
        return False
    vte = environ.get("VTE_VERSION", "")
    return (
        bool(environ.get("WT_SESSION"))
        or environ.get("ConEmuANSI") == "ON"
        or environ.get("TERM_PROGRAM") in {"ghostty", "WezTerm"}
        or "P" in environ.get("TERM_FEATURES", "")  # iTerm2's word for progress
        or (vte.isdecimal() and int(vte) >= _VTE)
    )
