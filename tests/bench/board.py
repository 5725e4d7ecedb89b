"""What live views cost: a board of 10 000 jobs, also beside a Rich table; long text.

`python -m tests.bench.board` prints a line for each and exits 1 where one costs more
than its limit. The least of interleaved rounds is taken: a busy machine only adds.
"""

import io
import sys
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bgresp.core.model import Job, Status
from bgresp.core.observer import JobProgress
from bgresp.render.board import LiveMany
from bgresp.render.live import LiveOne
from bgresp.render.streams import Streams
from tests.render.screens import Hand, made

SIZE: Final = (120, 40)
FRAMES, ROUNDS = 40, 9
MORE_JOBS: Final = 1.3  # times the frame of 100 jobs
LINEAR: Final = 2.3  # twice the text, a little more for noise
BESIDE_RICH: Final = 0.25  # of a Rich Live table with the same rows


def jobs(count: int) -> list[Job]:
    """Return jobs of which thirty run, some have failed, most wait."""
    kinds = {0: Status.COMPLETED, 1: Status.FAILED}
    return [
        made(n, Status.IN_PROGRESS if n <= 30 else kinds.get(n % 20, Status.QUEUED))
        for n in range(1, count + 1)
    ]


def board(count: int) -> Callable[[], None]:
    """Return what draws one frame of so many jobs, a quarter of a second later."""
    hand = Hand()
    streams = Streams(
        out=None, err=io.BytesIO(), err_colour=True, size=lambda: SIZE, animated=True
    )
    many = LiveMany(streams, clock=hand, now=hand.wall)
    many.start(jobs(count))

    def frame() -> None:
        hand.moment += 0.25
        many.tick()

    return frame


def rich() -> Callable[[], None]:
    """Return what draws one frame of a Rich Live table as high as the window."""
    console = Console(file=io.StringIO(), force_terminal=True, width=SIZE[0])
    live = Live(console=console, auto_refresh=False, redirect_stdout=False)
    rows = jobs(SIZE[1] - 4)
    turn = 0

    def frame() -> None:
        nonlocal turn
        turn += 1
        table = Table.grid(padding=(0, 2))
        for job in rows:
            table.add_row("x", job.ref, job.status.value, f"{turn}s")
        live.update(table, refresh=True)

    live.start()
    return frame


def text(kilobytes: int) -> Callable[[], None]:
    """Return what shows so much text on a terminal, a few words at a time."""
    words = ("a few words ", "a new\nline ")
    told = '{"type":"response.output_text.delta","delta":"a few words "}'
    job = made(1, Status.IN_PROGRESS)

    def show() -> None:
        hand = Hand()
        streams = Streams(
            out=io.BytesIO(),
            err=io.BytesIO(),
            out_is_terminal=True,
            animated=True,
            together=True,
            size=lambda: SIZE,
        )
        one = LiveOne(streams, clock=hand, now=hand.wall)
        one.start([job])
        for number in range(kilobytes * 1000 // len(words[0])):
            one.event(job, told)
            one.text(job, words[number % 9 == 0])
            one.moved(job, JobProgress("stream", 12 * number, number))
            if number % 50 == 0:
                hand.moment += 1 / 8
                one.tick()

    return show


def least(
    frames: dict[str, Callable[[], None]], *, rounds: int = ROUNDS, times: int = FRAMES
) -> dict[str, float]:
    """Return the least CPU seconds of a frame of each, over rounds of all."""
    found = dict.fromkeys(frames, float("inf"))
    for _ in range(rounds):
        for name, frame in frames.items():
            start = time.process_time()
            for _ in range(times):
                frame()
            found[name] = min(found[name], (time.process_time() - start) / times)
    return found


def main() -> int:
    """Print the ratios; return 1 when one is over its limit."""
    costs = least({"100": board(100), "10 000": board(10_000), "rich": rich()})
    ratios = [
        ("a frame, 10 000 jobs / 100 jobs", costs["10 000"] / costs["100"], MORE_JOBS),
        (
            "a frame, 10 000 jobs / a Rich table of the window",
            costs["10 000"] / costs["rich"],
            BESIDE_RICH,
        ),
    ]
    texts = least({"50 kB": text(50), "100 kB": text(100)}, rounds=3, times=1)
    ratios.append(
        ("text on a terminal, 100 kB / 50 kB", texts["100 kB"] / texts["50 kB"], LINEAR)
    )
    for name, ratio, limit in ratios:
        sys.stdout.write(f"{name}: {ratio:.2f} (at most {limit})\n")
    share = 4 * costs["10 000"]
    sys.stdout.write(f"10 000 jobs at 4 Hz: {share:.2%} of a core (at most 10 %)\n")
    return int(any(ratio > limit for _, ratio, limit in ratios))


if __name__ == "__main__":
    sys.exit(main())
