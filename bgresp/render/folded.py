"""Rows of words: with tabs in a pipe; on a terminal in columns, never past its edge.

What is too long is folded into lines of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bgresp.core.text import one_line
from bgresp.render.streams import Streams

GAP: Final = "  "
NARROW: Final = 24  # cells below which a last column starts a line of its own
LEVELS: Final = {"ok": "32", "warn": "33", "bad": "31"}


def show(streams: Streams, rows: Sequence[Sequence[str]]) -> None:
    """Write rows of as many cells each; a first cell that is a level has its colour."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not streams.out_is_terminal:
        for row in cells:
            streams.line("\t".join(row))
        return
    for line in _aligned(cells, streams):
        streams.draw(line)


def _aligned(rows: list[list[str]], streams: Streams) -> Iterator[str]:
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)][:-1]
    before = sum(widths) + len(GAP) * len(widths)
    if before > streams.width:
        for row in rows:
            first, *rest = flowed(row, streams.width - len(GAP))
            yield from (first, *(GAP + line for line in rest))
        return
    beside = before + NARROW <= streams.width or all(
        before + cell_len(row[-1]) <= streams.width for row in rows
    )
    indent = " " * before if beside else GAP
    for row in rows:
        head = ""
        for cell, width in zip(row, widths, strict=False):
            colour = LEVELS.get(cell, "") if streams.colour and not head else ""
            painted = f"\x1b[{colour}m{cell}\x1b[0m" if colour else cell
            head += painted + " " * (width - cell_len(cell)) + GAP
        lines = flowed([row[-1]], streams.width - len(indent))
        if not beside:
            yield head
        else:
            yield head + (lines[0] if lines else "")
        yield from (indent + line for line in lines[beside:])


def flowed(fields: Iterable[str], width: int) -> list[str]:
    """Return fields one after the other on lines of at most so many cells.

    One that has no room on any line starts one, and is parted between its words. What
    is longer than a line, a path or an id, is left to the terminal, to be copied whole.
    """
    from rich.cells import cell_len

    lines: list[str] = []
    for field in fields:
        words = field.split()
        is_one = cell_len(field) <= width or any(cell_len(w) > width for w in words)
        gap = GAP
        for word in [field] if is_one else words:
            joins = lines and (is_one or gap != GAP)
            if joins and cell_len(lines[-1] + gap + word) <= width:
                lines[-1] += gap + word
            else:
                lines.append(word)
            gap = " "
    return lines
