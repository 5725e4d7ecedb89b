"""`bgresp help`: commands, topics, and the man page of all of them."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from bgresp.cli import topics
from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.cli.output import print_document
from bgresp.cli.panels import below, names, opened
from bgresp.core.errors import UsageError
from bgresp.core.text import did_you_mean
from bgresp.render.streams import Streams

SCHEMA: Final = "bgresp.help/1"
FIELDS: Final = ("schema", "topic", "text")


@dataclass(frozen=True, slots=True)
class Options:
    """What `help` takes."""

    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND|TOPIC]", help="What to tell about."),
    ] = None
    man: Annotated[
        bool, opt("--man", help="Print the man page, as roff, of everything.")
    ] = False


def help_(context: typer.Context, options: Options, common: Common) -> int:
    """Tell about a command or a topic.

    Examples:

      bgresp help submit
      bgresp help exit-codes
      bgresp help --man | man -l -
    """
    root: Any = context.find_root().command
    own, words = Context.of(common, FIELDS), options.topic or []
    for_a_person = own.streams.out_is_terminal and not own.is_json
    if options.man:
        from bgresp.cli.manual import page

        text = page(root)
    elif words:
        commands, topic = _told(root, words)
        if topic is not None and for_a_person and own.streams.unicode:
            _show(own.streams, commands, topic)
            return 0
        text = "\n\n".join(filter(None, (commands, topic))) + "\n"
    else:
        text = _everything(root) + "\n"
    print_document(own, {"schema": SCHEMA, "topic": " ".join(words), "text": text})
    return 0


def _told(root: Any, words: list[str]) -> tuple[str | None, str | None]:
    """Return the help of a command and the text of a topic, either or both.

    Raises UsageError when there is neither.
    """
    context = opened(root)
    for word in words:
        inner = below(context.command, word) if context else None
        context = opened(inner, context) if inner is not None else None
    command = context.get_help() if context is not None else None
    topic = topics.told(words[0]) if len(words) == 1 else None
    if command is None and topic is None:
        meant = did_you_mean(words[-1], [*names(root), *topics.topics()])
        known = ", ".join(topics.topics())
        raise UsageError(
            f"no help about {' '.join(words)!r}",
            hint=f"{meant}topics: {known}; commands: bgresp --help",
        )
    return command, topic


def _show(streams: Streams, command: str | None, topic: str) -> None:
    """Draw a topic on a terminal, below the help of the command of its name."""
    if command is not None:
        streams.answer(f"{command}\n\n")
    for line in topics.drawn(topic, width=streams.width, colour=streams.colour):
        streams.draw(line)


def _everything(root: Any) -> str:
    rows = [f"  {name.ljust(15)} {topics.title(name)}" for name in topics.topics()]
    index = "Topics (bgresp help TOPIC):\n" + "\n".join(rows)
    return f"{opened(root).get_help()}\n\n{index}"
