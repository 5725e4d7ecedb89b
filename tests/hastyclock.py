"""A process whose waits pass faster: what would sit out a minute takes seconds.

The event loop's clock runs `scale` times as fast as the world's, in bgresp's own process
and nowhere else. So a test may let the real command wait as long as it says it does.
`python -m tests.hastyclock SCALE ARG...` is `bgresp ARG...` with such a clock.
"""

import asyncio
import selectors
import sys
import time
from typing import Any, Final

VARIABLE: Final = "TESTS_HASTY_CLOCK"  # asks a forked command for such a clock
SCALE: Final = 20.0


class _Selector(selectors.DefaultSelector):
    """Waits for a span of the faster clock."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def select(self, timeout: float | None = None) -> Any:
        # A wait that is cut short by rounding would be begun again at once.
        return super().select(timeout and timeout / self._scale)


class _Loop(asyncio.SelectorEventLoop):
    """A loop of the real world whose clock runs faster."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        super().__init__(_Selector(scale))

    def time(self) -> float:
        return time.monotonic() * self._scale


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop(self._scale)


def loop() -> asyncio.AbstractEventLoop:
    """Return a loop on a clock that is SCALE times as fast, for a runner of a test."""
    return _Loop(SCALE)


def hurry(scale: float) -> None:
    """Let every event loop of this process run on a clock so many times as fast."""
    asyncio.set_event_loop_policy(_Policy(scale))


if __name__ == "__main__":
    hurry(float(sys.argv.pop(1)))
    sys.argv[0] = "bgresp"
    from bgresp.__main__ import main

    main()
