"""`bgresp help`: commands, topics, and the man page of all of them.

The topics are the Markdown files of bgresp/topics, the one source: a pipe gets them as
they are written, a terminal as Rich draws them. The man page is roff; its macros are
those of man(7): TH, SH, SS, TP, PP, nf and fi.
"""

import io
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from bgresp import __version__
from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.cli.panels import below, names, opened, sections
from bgresp.cli.records import print_document
from bgresp.core.errors import UsageError
from bgresp.core.text import did_you_mean
from bgresp.render.streams import Streams

FOLDER: Final = Path(__file__).parents[2] / "topics"
# Words that a topic was known by, or that an error message uses.
ALIASES: Final = {"config": "configuration", "dialects": "endpoints"}
_FENCED: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_MARK: Final = re.compile(r"^<!-- .*? -->\n", re.MULTILINE)
_LINK: Final = re.compile(r"\[([^\]]+)\]\([\w./-]+\.md\)")
_TABLE: Final = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)
_CELLS: Final = re.compile(r"(?<!\\)\|")
_NARROW: Final = 3  # a table of so many columns can be folded and still be read
SCHEMA: Final = "bgresp.help/1"
FIELDS: Final = ("schema", "topic", "text")
PURPOSE: Final = "submit, keep and collect background jobs of model endpoints"
# What is laid out already moves to the left as far as it must to fit.
INDENT: Final = 7  # as man indents
WIDTH: Final = 80
# The topics that are reference; the page names the others.
TOLD: Final = {
    "options": "OPTIONS",
    "refs": "REFS",
    "times": "TIMES",
    "statuses": "STATUSES",
    "fields": "FIELDS",
    "configuration": "CONFIGURATION",
    "exit-codes": "EXIT STATUS",
    "environment": "ENVIRONMENT",
    "files": "FILES",
}
_BLOCK: Final = re.compile(
    r"^```\w*\n(.*?)^```$|((?:^[^\n]+\n?)+)", re.MULTILINE | re.DOTALL
)


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


class Options(NamedTuple):
    """What `help` takes."""

    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND|TOPIC]", help="The command or the topic."),
    ] = None
    man: Annotated[
        bool, opt("--man", help="Print the man page of all commands, as roff.")
    ] = False


def help_(context: typer.Context, options: Options, common: Common) -> int:
    """Explain a command or a topic.

    Examples:

      bgresp help submit
      bgresp help exit-codes
      bgresp help --man | man -l -
    """
    root: Any = context.find_root().command
    own, words = Context.of(common, FIELDS, rows=False), options.topic or []
    for_a_person = own.streams.out_is_terminal and not own.is_json
    if options.man:
        text = man_page(root)
    elif words:
        commands, topic = _help_and_topic(root, words)
        if topic is not None and for_a_person and own.streams.unicode:
            _show(own.streams, commands, topic)
            return 0
        text = "\n\n".join(filter(None, (commands, topic))) + "\n"
    else:
        text = _everything(root) + "\n"
    print_document(own, {"schema": SCHEMA, "topic": " ".join(words), "text": text})
    return 0


def _help_and_topic(root: Any, words: list[str]) -> tuple[str | None, str | None]:
    """Return the help of a command and the text of a topic, either or both.

    Raises UsageError when there is neither.
    """
    context = opened(root)
    for word in words:
        inner = below(context.command, word) if context else None
        context = opened(inner, context) if inner is not None else None
    command = context.get_help() if context is not None else None
    topic = told(words[0]) if len(words) == 1 else None
    if command is None and topic is None:
        meant = did_you_mean(words[-1], [*names(root), *topics()])
        known = ", ".join(topics())
        raise UsageError(
            f"no help about {' '.join(words)!r}",
            hint=f"{meant}topics: {known}; commands: bgresp --help",
        )
    return command, topic


def _show(streams: Streams, command: str | None, topic: str) -> None:
    """Draw a topic on a terminal, below the help of the command of its name."""
    if command is not None:
        streams.answer(f"{command}\n\n")
    for line in drawn(topic, width=streams.width, colour=streams.colour):
        streams.draw(line)


def _everything(root: Any) -> str:
    rows = [f"  {name.ljust(15)} {title(name)}" for name in topics()]
    index = "Topics (bgresp help TOPIC):\n" + "\n".join(rows)
    return f"{opened(root).get_help()}\n\n{index}"


def man_page(root: Any) -> str:
    """Return the whole page."""
    return "\n".join(_man_lines(root)) + "\n"


def _man_lines(root: Any) -> Iterator[str]:
    yield f'.TH BGRESP 1 "" "bgresp {escaped(__version__)}" "User Commands"'
    yield ".SH NAME"
    yield rf"bgresp \- {PURPOSE}"
    yield ".SH SYNOPSIS"
    yield r"\fBbgresp\fR \fICOMMAND\fR [\fIOPTIONS\fR] [\fIREF\fR|\fIFILE\fR]..."
    yield ".SH DESCRIPTION"
    yield from _prose(root.help or "")
    yield ".SH COMMANDS"
    for panel in root.panels().values():
        for verb in panel:
            command = below(root, verb.name)
            context = opened(command, opened(root))
            yield from _command(command, context)
            for inner in (below(command, name) for name in names(command)):
                yield from _command(inner, opened(inner, context))
    for topic, heading in TOLD.items():
        yield f".SH {heading}"
        yield from _markdown(told(topic) or "")
    yield ".SH SEE ALSO"
    for topic in topics():
        if topic not in TOLD:
            yield from _tagged(f"bgresp help {topic}", title(topic))


def _command(command: Any, context: Any) -> Iterator[str]:
    path = context.command_path
    yield f".SS {escaped(path)}"
    pieces = " ".join(command.collect_usage_pieces(context))
    yield rf"\fB{escaped(path)}\fR {escaped(pieces)}"
    yield ".PP"
    yield from _prose(command.help or "")
    for heading, rows in sections(command, context).items():
        yield ".PP"
        yield rf"\fI{escaped(heading)}\fR"
        for name, said in rows:
            yield from _tagged(name, said)


def _tagged(name: str, said: str) -> Iterator[str]:
    yield ".TP"
    yield rf"\fB{escaped(name)}\fR"
    yield roff_line(said)


def _prose(text: str) -> Iterator[str]:
    """Yield paragraphs; what stands after a backspace, the examples, as it is."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from _verbatim(paragraph.lstrip("\b\n"))
        else:
            yield roff_line(" ".join(paragraph.split()))


def _markdown(text: str) -> Iterator[str]:
    """Yield a topic without its heading: what the topics use of Markdown, as roff."""
    blocks = _BLOCK.findall(text.partition("\n\n")[2])
    for number, (fenced, prose) in enumerate(blocks):
        if fenced:
            yield from _verbatim(fenced)
        elif prose.startswith("|"):
            for first, *others in rows(prose)[1:]:
                yield ".TP"
                yield rf"\fB{roff_line(first.replace('`', ''))}\fR"
                yield _styled("; ".join(others)) or r"\&"
        else:
            yield from [".PP"] * bool(number)
            yield _styled(" ".join(prose.split()))


def _styled(text: str) -> str:
    """Return a line of Markdown with what is code or strong in bold."""
    return re.sub(r"`([^`]+)`|\*\*(.+?)\*\*", r"\\fB\1\2\\fR", roff_line(text))


def _verbatim(text: str) -> Iterator[str]:
    lines = text.splitlines()
    room = WIDTH - max(map(len, lines), default=0)
    yield f".in {max(0, min(INDENT, room))}n"
    yield ".nf"
    yield from map(roff_line, lines)
    yield ".fi"
    yield ".in"


def roff_line(text: str) -> str:
    """Return a line of text that roff takes for nothing else."""
    return re.sub(r"^([.'])", r"\\&\1", escaped(text))


def escaped(text: str) -> str:
    r"""Return text with roff's own characters written out: \, and - as in options."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace("\b", "")
