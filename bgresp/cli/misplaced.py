"""An option that stands before its command: how it is typed. Knows Typer alone."""

import shlex
from collections.abc import Sequence
from typing import Any, Final

from bgresp.cli.panels import below, names

_SECRET: Final = ("-H", "--header", "--key", "--api")
_KEYS: Final = {"--api-key", "--api_key", "--apikey", "--token"}


def is_key(error: Any) -> bool:
    """Say whether an API key was to be given on the command line."""
    return getattr(error, "option_name", None) in _KEYS


def hint(error: Any, argv: Sequence[str]) -> str:
    """Return how to type an option that a group does not know and its command does.

    Nothing where it is anything else. What may hold a secret is not said again.
    """
    group, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if group is None or option is None:
        return ""
    words = list(argv[len(group.command_path.split()) - 1 :])
    verbs = names(group.command)
    at = next((at for at, word in enumerate(words) if word in verbs), None)
    if at is None:
        return ""
    verb = below(group.command, words[at])
    known = {name for param in verb.params for name in param.opts}
    if option not in known:
        return ""
    moved = [*words[:at], *words[at + 1 :]]
    said = [option] if any(word.startswith(_SECRET) for word in moved) else moved
    right = [group.command_path, words[at], *map(shlex.quote, said)]
    return f"options come after the command: {' '.join(right)}"
