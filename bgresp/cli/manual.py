"""The man page, in roff, from the same commands and topics as `--help`.

The macros are those of man(7): TH, SH, SS, TP, PP, nf and fi.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from bgresp import __version__
from bgresp.cli import topics
from bgresp.cli.panels import below, names, opened, sections

NAME: Final = "submit, keep and collect background jobs of model endpoints"
# What is laid out already moves to the left as far as it must to fit.
INDENT: Final = 7  # as man indents
WIDTH: Final = 80
# The topics that are reference; the page names the others.
TOLD: Final = {
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


def page(root: Any) -> str:
    """Return the whole page."""
    return "\n".join(_lines(root)) + "\n"


def _lines(root: Any) -> Iterator[str]:
    yield f'.TH BGRESP 1 "" "bgresp {escaped(__version__)}" "User Commands"'
    yield ".SH NAME"
    yield rf"bgresp \- {NAME}"
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
        yield from _markdown(topics.told(topic) or "")
    yield ".SH SEE ALSO"
    for topic in topics.topics():
        if topic not in TOLD:
            yield from _tagged(f"bgresp help {topic}", topics.title(topic))


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
    yield line(said)


def _prose(text: str) -> Iterator[str]:
    """Yield paragraphs; what stands after a backspace, the examples, as it is."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from _verbatim(paragraph.lstrip("\b\n"))
        else:
            yield line(" ".join(paragraph.split()))


def _markdown(text: str) -> Iterator[str]:
    """Yield a topic without its heading: what the topics use of Markdown, as roff."""
    blocks = _BLOCK.findall(text.partition("\n\n")[2])
    for number, (fenced, prose) in enumerate(blocks):
        if fenced:
            yield from _verbatim(fenced)
        elif prose.startswith("|"):
            for first, *others in topics.rows(prose)[1:]:
                yield ".TP"
                yield rf"\fB{line(first.replace('`', ''))}\fR"
                yield _styled("; ".join(others)) or r"\&"
        else:
            yield from [".PP"] * bool(number)
            yield _styled(" ".join(prose.split()))


def _styled(text: str) -> str:
    """Return a line of Markdown with what is code or strong in bold."""
    return re.sub(r"`([^`]+)`|\*\*(.+?)\*\*", r"\\fB\1\2\\fR", line(text))


def _verbatim(text: str) -> Iterator[str]:
    lines = text.splitlines()
    room = WIDTH - max(map(len, lines), default=0)
    yield f".in {max(0, min(INDENT, room))}n"
    yield ".nf"
    yield from map(line, lines)
    yield ".fi"
    yield ".in"


def line(text: str) -> str:
    """Return a line of text that roff takes for nothing else."""
    return re.sub(r"^([.'])", r"\\&\1", escaped(text))


def escaped(text: str) -> str:
    r"""Return text with roff's own characters written out: \, and - as in options."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace("\b", "")
