"""The README's pictures: what a terminal showed of a real run, as SVG by Rich.

`pytest tests/cli/test_pictures.py --golden` takes them anew.
"""

import html
import io
import re
from collections import defaultdict
from itertools import groupby
from pathlib import Path
from typing import Final

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

FOLDER: Final = Path(__file__).parent / "golden"
CELL: Final = 12.2  # the width of Rich's characters
_LINE: Final = re.compile(r'x="([\d.]+)"[^>]*-line-(\d+)\)">([^<]*)</text>')
_SPINNER: Final = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
_FIGURE: Final = re.compile(r"\d[\d.,]*(?:[smhd](?:\d+[smhd])*)?")


class Dimmed(pyte.Screen):
    """A screen that keeps which cells are dim, in place of italics, which nobody uses."""

    def select_graphic_rendition(self, *attrs: int, **rest: bool) -> None:
        super().select_graphic_rendition(*(3 if a == 2 else a for a in attrs), **rest)


def taken(raw: bytes, size: tuple[int, int], command: str) -> str:
    """Return the SVG of what bytes draw on a terminal, below the command of a shell."""
    screen = Dimmed(*size)
    pyte.ByteStream(screen).feed(raw)
    console = Console(
        record=True,
        width=size[0],
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        highlight=False,
    )
    console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
    for row in range(_height(screen)):
        console.print(_styled(screen, row), no_wrap=True, soft_wrap=True)
    console.print("")  # Rich cuts the last line's descenders off
    return console.export_svg(title="bgresp", unique_id="bgresp")


def texts(svg: str) -> list[str]:
    """Return the lines of a picture's text that are not empty."""
    lines: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for x, number, text in _LINE.findall(svg):
        lines[int(number)].append((float(x), html.unescape(text).replace("\xa0", " ")))
    joined = (_joined(sorted(lines[number])) for number in sorted(lines))
    return [line for line in joined if line]


def _joined(parts: list[tuple[float, str]]) -> str:
    """Put parts at their columns: Rich writes no blanks between them."""
    line = ""
    for x, text in parts:
        line = line.ljust(round(x / CELL)) + text
    return line.rstrip()


def timeless(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run: figures, ids, the spinner."""
    named = (re.sub(r"resp_\w+", "resp_", line) for line in lines)
    still = (_FIGURE.sub("0", _SPINNER.sub("*", line)) for line in named)
    return [" ".join(line.split()) for line in still]


def _height(screen: pyte.Screen) -> int:
    return max(n for n, line in enumerate(screen.display, 1) if line.strip())


def _styled(screen: pyte.Screen, row: int) -> Text:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    runs = groupby(cells, key=lambda cell: (cell.fg, cell.bold, cell.italics))
    text = Text()
    for (colour, bold, dim), run in runs:
        named = {"brown": "yellow"}.get(colour, colour)
        style = Style(color=named, bold=bold, dim=dim)
        text.append("".join(cell.data for cell in run), style)
    text.rstrip()
    return text
