"""The process's three streams: what is a terminal, what it can, and how bytes get out.

stdout carries answers: exact bytes to a pipe, made safe for a terminal. stderr carries
talk and is always made safe.
"""

import io
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Final, NamedTuple

from bgresp.core.errors import OutputError
from bgresp.core.text import printable

NOTE: Final = "bgresp.note/1"
PIECE: Final = 1 << 20  # code points made into bytes at once
_ASCII: Final = str.maketrans("░█▶…▉▊▋▌▐▍▎▏▕", ".#>~#####    ")
_NO: Final = frozenset({"", "0", "false", "no"})
_PLAIN: Final = frozenset({"", "dumb", "unknown"})
_VTE: Final = 8000  # the first version of VTE that shows progress is 0.80
TERMINAL = 2  # stderr, where everything is drawn


class TerminalFeatures(NamedTuple):
    """Whether the cursor can be moved, more than ASCII drawn, a progress be shown."""

    moves: bool
    unicode: bool
    taskbar: bool


def features(environ: Mapping[str, str]) -> TerminalFeatures:
    """Read the environment of a terminal.

    One that says to be dumb, or nothing, and a CI's log get plain lines.
    """
    term = environ.get("TERM", "")
    able = term not in _PLAIN
    moves = able and environ.get("CI", "").lower() in _NO
    return TerminalFeatures(
        moves=moves,
        unicode=able and term != "linux" and _is_utf8(environ),
        taskbar=moves and not environ.get("BGRESP_NO_OSC") and _has_taskbar(environ),
    )


def _is_utf8(environ: Mapping[str, str]) -> bool:
    """Say whether the locale is, or nothing is said of it, as in most containers.

    Python sets LC_CTYPE itself where LANG is C (PEP 538): that is not the user's word.
    """
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


class Keyboard:
    """Whether a terminal shows what is typed: not while something is drawn on it.

    Else `^C` stands in the frame, and Enter at the bottom scrolls it away from its
    place. What is typed meanwhile goes to the shell, which shows it then. The keyboard
    is `ours` while nobody else reads it.

    Only the one flag is changed, back too: others may have changed the rest since.
    """

    def __init__(self, *, ours: bool) -> None:
        """Show what is typed, as before."""
        self.ours = ours
        self._silent = False

    def hush(self) -> None:
        """Show no typing; from the background nothing is changed, it would stop us."""
        if self.ours and not self._silent and _in_front():
            self._silent = _set_echo(on=False)

    def speak(self) -> None:
        """Show typing again, where it was shown before."""
        if self._silent:
            self._silent = False
            _set_echo(on=True)


def _in_front() -> bool:
    try:
        return os.tcgetpgrp(TERMINAL) == os.getpgrp()
    except OSError:
        return False


def _set_echo(*, on: bool) -> bool:
    """Set the flag and say if that changed it; a terminal that is gone is no fault."""
    import termios

    with suppress(termios.error):
        modes = termios.tcgetattr(TERMINAL)
        flags = modes[3] | termios.ECHO if on else modes[3] & ~termios.ECHO
        if flags != modes[3]:
            modes[3] = flags
            termios.tcsetattr(TERMINAL, termios.TCSADRAIN, modes)
            return True
    return False


class Streams:
    """Where output goes; `out` is None where stdout was closed at start."""

    def __init__(
        self,
        out: BinaryIO | None,
        err: BinaryIO | None,
        *,
        out_is_terminal: bool = False,
        err_is_terminal: bool = False,
        colour: bool = False,
        animated: bool = False,
        width: int = 80,
        together: bool = False,
        unicode: bool = True,
        taskbar: bool = False,
        size: Callable[[], tuple[int, int]] = lambda: (80, 24),
        err_colour: bool = False,
        keyboard: Keyboard | None = None,
    ) -> None:
        """Take where output goes and what is there; `together`: it is one terminal."""
        self.out = out
        self.err = err
        self.out_is_terminal = out_is_terminal
        self.err_is_terminal = err_is_terminal
        self.colour = colour
        self.animated = animated
        self.width = width
        self.together = together
        self.unicode = unicode
        self.taskbar = taskbar
        self.size = size
        self.err_colour = err_colour
        self.keyboard = keyboard or Keyboard(ours=False)
        self.above: Callable[[str], None] | None = None  # who draws below what is said
        self.err_is_json = False  # stderr is for a machine too
        self._last = ""  # the end of the answer so far

    def answer(self, text: str) -> None:
        """Write text of the endpoint to stdout, at once; a huge one piece by piece."""
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            safe = piece
            if self.out_is_terminal:
                safe, self._last = printable(piece, after=self._last), piece[-1:]
            self.raw(safe.encode("utf-8", "backslashreplace"))

    def line(self, text: str) -> None:
        """Write one line of our own to stdout; it may quote the endpoint."""
        self.raw(printable(text).encode("utf-8", "backslashreplace") + b"\n")

    def draw(self, line: str) -> None:
        """Write one line of a table or a chart, its colours ours.

        Where the terminal has no such signs, bars are drawn with those of ASCII.
        """
        plain = line if self.unicode else line.translate(_ASCII)
        self.raw(plain.rstrip().encode("utf-8", "backslashreplace") + b"\n")

    def raw(self, data: bytes) -> None:
        """Write bytes to stdout, at once.

        Raises BrokenPipeError when the reader left, OutputError for other failures.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[self._written(view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write to stdout: {error.strerror}") from error

    def _written(self, view: memoryview) -> int:
        """Write some bytes; return how many: a nearly full disk takes only a part."""
        if self.out is None:
            raise OutputError("cannot write the answer: stdout is closed")
        count: int | None = self.out.write(view)
        if count is None:  # a pipe that does not block is full
            import select

            select.select([], [self.out], [])
        return count or 0

    def say(self, text: str) -> None:
        """Write one line to stderr; a stderr that is gone is no reason to fail."""
        if self.above is not None:
            self.above(text)
        else:
            self.control(printable(text) + "\n")

    def note(self, message: str) -> None:
        """Tell a person something on stderr, or a machine that reads JSON Lines."""
        if self.err_is_json:
            self.say(as_json({"schema": NOTE, "message": printable(message)}))
        else:
            self.say(f"bgresp: {message}")

    def ring(self) -> None:
        """Ring the bell of a terminal that a person looks at."""
        if self.err_is_terminal and not self.err_is_json:
            self.control("\a")

    def control(self, text: str) -> None:
        """Write text of our own to stderr, controls and all."""
        if self.err is None:
            return
        view = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while view:
                view = view[self.err.write(view) or len(view) :]
        except OSError:
            self.err = None


_closed: Final = set[int]()  # of 0, 1 and 2, when the program started


def guard_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 is closed, and keep in mind which were.

    Else the next file that is opened, perhaps the ledger, would become stdout.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            _closed.add(fd)


def closed_at_start() -> frozenset[int]:
    """Return what guard_descriptors found closed; nothing where it was not called."""
    return frozenset(_closed)


def of_process(
    environ: Mapping[str, str],
    *,
    closed: frozenset[int] = frozenset(),
    color: str = "auto",
    progress: bool = True,
) -> Streams:
    """Return the streams of this process; terminals are asked, never assumed.

    Nothing moves unless stderr is really a terminal, whatever FORCE_COLOR says.
    """
    out_tty = 1 not in closed and os.isatty(1)
    err_tty = 2 not in closed and os.isatty(2)
    can = features(environ)
    dumb = environ.get("TERM") == "dumb"
    animated = err_tty and progress and can.moves
    together = out_tty and err_tty and _is_same()
    return Streams(
        out=None if 1 in closed else io.FileIO(1, "wb", closefd=False),
        err=None if 2 in closed else io.FileIO(2, "wb", closefd=False),
        out_is_terminal=out_tty,
        err_is_terminal=err_tty,
        colour=_coloured(environ, color, out_tty and not dumb),
        animated=animated,
        width=_size()[0],
        together=together,
        unicode=can.unicode,
        taskbar=animated and can.taskbar,
        size=_size,
        err_colour=_coloured(environ, color, err_tty and not dumb),
        keyboard=Keyboard(ours=together),  # else `| less` may read it
    )


def silence_stdout() -> None:
    """Point stdout at /dev/null, so that leaving cannot fail on a pipe that is gone."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _coloured(environ: Mapping[str, str], color: str, terminal: bool) -> bool:
    if color != "auto":
        return color == "always"
    if environ.get("NO_COLOR"):
        return False
    return terminal or bool(environ.get("FORCE_COLOR"))


def _size() -> tuple[int, int]:
    """Return columns and rows, as they are now."""
    for fd in (2, 1):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return columns or 80, rows or 24
    return 80, 24


def _is_same() -> bool:
    """Say whether stdout and stderr are one terminal; /dev/tty may be any of them."""
    out, err = os.fstat(1).st_rdev, os.fstat(2).st_rdev
    try:
        any_ = os.stat("/dev/tty").st_rdev  # noqa: PTH116  costs no Path
    except OSError:
        return out == err
    return out == err or any_ in {out, err}


def as_json(value: Any, *, indented: bool = False) -> str:
    """Return JSON as it is printed: ASCII-escaped, on one line, or for a person."""
    import json

    return json.dumps(value, ensure_ascii=True, indent=2 if indented else None)


def stdin_is_terminal() -> bool:
    """Say whether a person, not a pipe, is at stdin."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:
        return False


def is_pipe_unread() -> bool:
    """Say whether stdin is a pipe with something in it; nothing is read or waited for.

    What is written later is not seen.
    """
    import fcntl
    import stat
    import termios

    try:
        if not stat.S_ISFIFO(os.fstat(0).st_mode):
            return False
        waiting = fcntl.ioctl(0, termios.FIONREAD, bytes(4))
    except OSError:
        return False
    return any(waiting)
