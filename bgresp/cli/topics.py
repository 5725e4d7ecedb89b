"""What `bgresp help TOPIC` tells: the Markdown files of bgresp/topics, the one source.

A pipe gets them as they are written, a terminal as Rich draws them.
"""

import io
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "topics"
# Words that a topic was known by, or that an error message uses.
ALIASES: Final = {"config": "configuration", "dialects": "endpoints"}
_FENCED: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_MARK: Final = re.compile(r"^<!-- .*? -->\n", re.MULTILINE)
_LINK: Final = re.compile(r"\[([^\]]+)\]\([\w./-]+\.md\)")
_TABLE: Final = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)
_CELLS: Final = re.compile(r"(?<!\\)\|")
_NARROW: Final = 3  # a table of so many columns can be folded and still be read


@cache
def topics() -> tuple[str, ...]:
    """Return the names of all topics, in the order of the alphabet."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.md")))


def title(topic: str) -> str:
    """Return the heading of a topic."""
    with (FOLDER / f"{topic}.md").open(encoding="utf-8") as file:
        return file.readline().removeprefix("# ").strip()


def told(word: str) -> str | None:
    """Return the text of the topic that goes by a word, or None.

    It is Markdown, without what is for our tests, and without links to other topics:
    what such a link says is what to type.
    """
    topic = ALIASES.get(word, word)
    if topic not in topics():
        return None
    text = (FOLDER / f"{topic}.md").read_text("utf-8")
    return _LINK.sub(r"\1", _MARK.sub("", text)).rstrip("\n")


def drawn(text: str, *, width: int, colour: bool) -> list[str]:
    """Return Markdown as the lines of a terminal, none wider than `width` cells."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    page = io.StringIO()
    console = Console(
        file=page,
        width=width,
        force_terminal=True,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
        # Rich's own is cyan on black, which is black on a light terminal, too.
        theme=Theme({"markdown.code": "bold cyan"}),
    )
    prose = "".join(_for_terminal(text, width))
    console.print(Markdown(prose, code_theme="ansi_light", hyperlinks=False))
    return [line.rstrip() for line in page.getvalue().splitlines()]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, those of its heading first."""
    lines = [line for line in table.strip().splitlines() if not line.startswith("|--")]
    return [[cell.strip() for cell in _CELLS.split(line)[1:-1]] for line in lines]


def _for_terminal(text: str, width: int) -> Iterator[str]:
    """Yield the text with what Rich would draw badly written otherwise."""
    for piece in _FENCED.split(text):
        if piece.startswith("```"):
            # No colours: there are none that a light and a dark terminal both show.
            yield re.sub(r"^```\w+", "```text", piece)
            continue
        # Rich puts a heading in a box, or into the middle.
        bold = re.sub(r"^#+ (.*)$", r"**\1**", piece, flags=re.MULTILINE)
        yield _TABLE.sub(lambda found: _table(found[0], width), bold)


def _table(table: str, width: int) -> str:
    """Return a table as it is, or as a list where its columns would be crushed."""
    heading, *others = rows(table)
    widths = [max(map(len, column)) + 2 for column in zip(*others, strict=True)]
    if len(heading) <= _NARROW or sum(widths) <= width:
        return table
    return "".join(_item(heading, row) for row in others)


def _item(heading: Sequence[str], row: Sequence[str]) -> str:
    first, *others = row
    said = (
        f"{name} {cell}" for name, cell in zip(heading[1:], others, strict=True) if cell
    )
    return f"* **{first}**: {'; '.join(said)}\n"
