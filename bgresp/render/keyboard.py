"""Whether a terminal shows what is typed: not while something is drawn below the text.

Else `^C` stands in the frame, and Enter at the bottom scrolls it away from its place.
What is typed meanwhile goes to the shell, which shows it then.
"""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass

TERMINAL = 2  # stderr, where everything is drawn


@dataclass(slots=True)
class Keyboard:
    """The keyboard of the terminal; `ours` while nobody else reads it.

    Only the one flag is changed, back too: others may have changed the rest since.
    """

    ours: bool
    _silent: bool = False

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
    if sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(TERMINAL) == os.getpgrp()
    except OSError:
        return False


def _set_echo(*, on: bool) -> bool:
    """Set the flag and say if that changed it; a terminal that is gone is no fault."""
    if sys.platform == "win32":
        return False
    import termios

    with suppress(termios.error):
        modes = termios.tcgetattr(TERMINAL)
        flags = modes[3] | termios.ECHO if on else modes[3] & ~termios.ECHO
        if flags != modes[3]:
            modes[3] = flags
            termios.tcsetattr(TERMINAL, termios.TCSADRAIN, modes)
            return True
    return False
