"""A terminal in memory for the live views: pyte draws what the streams write."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pyte
from wcwidth import wcwidth

from bgresp.core.model import Job, Status, Usage
from bgresp.core.observer import JobProgress
from bgresp.render.streams import Streams

NOW: Final = 1_790_000_000.0
IDENT: Final = "resp_68a1f0c3e1d48190b14f964abc0542670bb6a6b452d3795b"


@dataclass(slots=True)
class Hand:
    """A clock that a test moves by hand."""

    moment: float = 100.0

    def __call__(self) -> float:
        return self.moment

    def wall(self) -> float:
        """Return the wall clock that goes with it."""
        return NOW + self.moment - 100.0


class Screen(pyte.Screen):
    """A screen that says fast what it shows: tests ask again with each write."""

    @property
    def display(self) -> list[str]:
        """Return the lines, as pyte does."""
        return list(map(self._line, range(self.lines)))

    def _line(self, row: int) -> str:
        cells = [" "] * self.columns
        for place, char in self.buffer[row].items():
            if place < self.columns:
                cells[place] = char.data
        text = "".join(cells)
        if text.isascii() and len(text) == self.columns:
            return text
        shown, hidden = list[str](), False
        for cell in cells:
            if not hidden:
                shown.append(cell)
            hidden = not hidden and 2 == wcwidth(cell[:1])
        return "".join(shown)


class Terminal(Screen):
    """A screen that wraps a wide character which finds one cell, as terminals do.

    One that `joins` draws what follows a joiner in the cells before it.
    """

    joins = False

    def draw(self, data: str) -> None:
        """Draw text; pyte itself lets a wide character begin in the last cell."""
        if data.isascii():
            super().draw(data)
            return
        joined = False
        for each in data:
            if joined or (self.joins and "\u200d" == each):
                joined = "\u200d" == each
                continue
            if 2 == wcwidth(each) and self.cursor.x == self.columns - 1:
                super().draw(" ")
            super().draw(each)


@dataclass(slots=True)
class Shown:
    """Streams whose stdout and stderr are one pyte screen."""

    columns: int = 80
    rows: int = 24
    together: bool = True
    screen: Terminal = field(init=False)
    raw: bytearray = field(default_factory=bytearray)
    out: bytearray = field(default_factory=bytearray)
    _parser: pyte.ByteStream = field(init=False)

    def __post_init__(self) -> None:
        self.screen = Terminal(self.columns, self.rows)
        self._parser = pyte.ByteStream(self.screen)

    def streams(self, **changes: Any) -> Streams:
        """Return streams that write here."""
        values: dict[str, Any] = {
            "out": Sink(self._out),
            "err": Sink(self._draw),
            "out_is_terminal": self.together,
            "err_is_terminal": True,
            "animated": True,
            "together": self.together,
            "size": lambda: (self.columns, self.rows),
        }
        return Streams(**{**values, **changes})

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self.columns, self.rows = columns, rows
        self.screen.resize(rows, columns)

    @property
    def lines(self) -> list[str]:
        """Return the screen's lines down to the last that shows something."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _out(self, data: bytes) -> None:
        self.out += data
        if self.together:
            self._draw(data)

    def _draw(self, data: bytes) -> None:
        self.raw += data
        self._parser.feed(data.replace(b"\n", b"\r\n"))  # as a line discipline does


class Sink(io.RawIOBase):
    """A file that hands on what is written."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__()
        self._take = take

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._take(bytes(data))
        return len(data)


def made(number: int = 1, status: Status = Status.IN_PROGRESS, **fields: Any) -> Job:
    """Return the nth job: submitted some time ago, started 4 seconds later."""
    values: dict[str, Any] = {
        "key": f"{number:026}",
        "id": f"{IDENT[:-4]}{number:04x}",
        "status": status,
        "model": "gpt-5",
        "submitted_at": NOW - 72.0,
        "started_at": None if status is Status.QUEUED else NOW - 68.0,
    }
    if status.is_terminal:
        values["finished_at"] = NOW - 2.0
    if status is Status.COMPLETED:
        values["usage"] = Usage(500, 700 + number, 1200 + number)
    return Job(**{**values, **fields})


def view(characters: int = 0, **fields: Any) -> JobProgress:
    """Return how following stands; a delta is four characters."""
    values: dict[str, Any] = {"mode": "stream", "characters": characters}
    values |= {"deltas": characters // 4, "last_event_at": 99.7}
    return JobProgress(**{**values, **fields})
