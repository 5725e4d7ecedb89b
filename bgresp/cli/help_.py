"""`bgresp help`: commands, topics, and the man page of all of them."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from bgresp.cli.context import Context
from bgresp.cli.options import Common, opt
from bgresp.cli.outputs import print_document
from bgresp.cli.panels import below, names, opened
from bgresp.cli.topics import WHOLE
from bgresp.core.errors import UsageError
from bgresp.core.text import did_you_mean

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
        width = own.streams.width if for_a_person else WHOLE
        text = _told(root, words, width) + "\n"
    else:
        text = _everything(root) + "\n"
    print_document(own, {"schema": SCHEMA, "topic": " ".join(words), "text": text})
    return 0


def _told(root: Any, words: list[str], width: int) -> str:
    """Return the help of a command, the text of a topic, or both of one name.

    Raises UsageError when there is neither.
    """
    from bgresp.cli.topics import TOPICS

    found = []
    context = opened(root)
    for word in words:
        inner = below(context.command, word) if context else None
        context = opened(inner, context) if inner is not None else None
    if context is not None:
        found.append(context.get_help())
    if len(words) == 1 and words[0] in TOPICS:
        found.append(TOPICS[words[0]][1](width))
    if not found:
        meant = did_you_mean(words[-1], [*names(root), *TOPICS])
        known = ", ".join(TOPICS)
        raise UsageError(
            f"no help about {' '.join(words)!r}",
            hint=f"{meant}topics: {known}; commands: bgresp --help",
        )
    return "\n\n".join(found)


def _everything(root: Any) -> str:
    from bgresp.cli.topics import TOPICS

    rows = [f"  {name.ljust(12)} {said}" for name, (said, _) in TOPICS.items()]
    index = "Topics (bgresp help TOPIC):\n" + "\n".join(rows)
    return f"{opened(root).get_help()}\n\n{index}"
