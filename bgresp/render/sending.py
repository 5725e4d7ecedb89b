"""Rows being sent, as one line on a terminal: how many of how many, how fast.

Who sends calls `tick` a few times a second.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from bgresp.core.model import Job, Status
from bgresp.core.observer import Observer
from bgresp.core.times import brief
from bgresp.render.paint import BOLD, DIM, FAULT, Brush, fitting, number
from bgresp.render.screen import Screen
from bgresp.render.streams import Streams


class Tally(Protocol):
    """How many rows got their job, had it, or got none."""

    @property
    def accepted(self) -> int:
        """Return how many got their job now."""

    @property
    def kept(self) -> int:
        """Return how many had it."""

    @property
    def failures(self) -> int:
        """Return how many got none."""


@dataclass(slots=True)
class LiveSent(Observer):
    """The line; `tally` is asked at each tick, `total` is 0 where nobody knows it."""

    streams: Streams
    tally: Callable[[], Tally]
    total: int = 0
    clock: Callable[[], float] = time.monotonic
    period: ClassVar[float | None] = 1 / 8
    is_drawn: ClassVar[bool] = True
    _screen: Screen = field(init=False)
    _brush: Brush = field(init=False)
    _began: float | None = None

    def __post_init__(self) -> None:
        """Prepare a screen that shows nothing yet."""
        self._screen = Screen(self.streams)
        self._brush = Brush.of(self.streams)

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Show the line."""
        self._began = self.clock()
        self.tick()

    def stop(self) -> None:
        """Take the line away."""
        self._began = None
        self._screen.end()

    def pause(self) -> None:
        """Leave the terminal to others until the next tick."""
        self._screen.close()

    def line(self, text: str) -> None:
        """Write a line to stdout, above this one."""
        self._screen.queue(text)

    def tick(self) -> None:
        """Draw the line anew."""
        if self._began is None:
            return
        moment = self.clock()
        tally = self.tally()
        done = tally.accepted + tally.kept + tally.failures
        self._screen.pin([self._drawn(tally, done, moment)])
        part = done / self.total if self.total else None
        failing = bool(tally.failures)
        self._screen.taskbar.show(moment, part, failing=failing)

    def _drawn(self, tally: Tally, done: int, moment: float) -> str:
        passed = moment - (self._began or moment)
        rate = tally.accepted / passed if passed >= 1.0 else 0.0
        left = (self.total - done) / rate if rate and self.total > done else 0.0
        of = f" of {number(self.total)}" if self.total else ""
        fields = [
            [
                self._brush.mark(Status.IN_PROGRESS, moment),
                (" sending ", ""),
                (f"{number(done)}{of}", BOLD),
            ],
            [(f"{number(tally.failures)} failed", FAULT)] if tally.failures else [],
            [(f"{_speed(rate)}", "")] if rate else [],
            [(f"ETA {brief(left)}", "")] if left else [],
            [(f"{number(tally.kept)} had their job", DIM)] if tally.kept else [],
        ]
        width = self.streams.size()[0] - 1
        return self._brush.line(fitting(fields, width), width)


def _speed(rate: float) -> str:
    """Write so many a second, or a minute where that is few."""
    return f"{rate:,.1f}/s" if rate >= 1.0 else f"{60 * rate:,.1f}/m"
