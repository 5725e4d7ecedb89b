"""Progress in a terminal's tab or the desktop's task bar: OSC 9;4, first of ConEmu.

Some terminals forget a progress that is not renewed for 15 seconds; it is written again
every few.
"""

from dataclasses import dataclass
from typing import Final

from bgresp.render.streams import Streams

AGAIN: Final = 5.0
CLEAR, NORMAL, FAILING, BUSY = 0, 1, 2, 3


@dataclass(slots=True)
class Taskbar:
    """What the task bar shows; silent where the terminal has none."""

    streams: Streams
    _shown: tuple[int, int] | None = None
    _at: float = 0.0

    def show(self, moment: float, part: float | None, *, failing: bool = False) -> None:
        """Show a part of 1, or with None that something is done."""
        state = BUSY if part is None else FAILING if failing else NORMAL
        shown = state, int(100 * (part or 0.0))
        if not self.streams.taskbar:
            return
        if shown != self._shown or moment - self._at >= AGAIN:
            self._shown, self._at = shown, moment
            self._write(*shown)

    def clear(self) -> None:
        """Take it away, if anything was shown."""
        if self._shown is not None:
            self._shown = None
            self._write(CLEAR, 0)

    def _write(self, state: int, percent: int) -> None:
        self.streams.control(f"\x1b]9;4;{state};{percent}\x1b\\")
