"""Common commands without Typer, whose import costs what three of them do.

A verb is called with the same groups of options that Typer would fill: what is typed
plainly is read from their annotations. Whatever is not plain, right or wrong, is handed
over, so that there is one place where usage is judged, and help is Typer's.
"""

import gc
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from bgresp.cli.options import VERSION, Option
from bgresp.core.errors import ExitCode
from bgresp.render.streams import silence_stdout

# Each is the function of its name, or NAME_, in a module of its name.
VERBS: Final = frozenset({"get", "list", "status", "submit", "wait"})
TEXT: Final = str | None
TEXTS: Final = list[str] | None

Verb = Callable[..., int]
Groups = dict[type, dict[str, Any]]


def run(argv: Sequence[str]) -> int | None:
    """Run a command that is typed plainly; return its exit code, None of any other."""
    if not argv or argv[0] not in VERBS:
        return None
    verb = load(argv[0])
    groups = read(verb, argv[1:])
    if groups is None:
        return None
    collect_garbage()
    try:
        return verb(*(group(**values) for group, values in groups.items()))
    except BrokenPipeError:
        silence_stdout()
        return int(ExitCode.BROKEN_PIPE)


def collect_garbage() -> None:
    """Collect garbage from now on, but look through nothing that was imported."""
    gc.freeze()
    gc.enable()


def load(name: str) -> Verb:
    """Return the function of a verb."""
    module = import_module(f"bgresp.cli.commands.{name}")
    found: Verb = getattr(module, name, None) or getattr(module, f"{name}_")
    return found


def read(verb: Verb, words: Sequence[str]) -> Groups | None:
    """Return the values for each group that a verb takes; None where any is not plain.

    Plain are an option under its whole name, with its value as the next word where it
    takes one, and words that begin with no dash.
    """
    takes = [kind for name, kind in verb.__annotations__.items() if name != "return"]
    known = {name: place for group in takes for name, place in _options(group).items()}
    found: Groups = {group: {} for group in takes}
    left = iter(words)
    for word in left:
        is_name = word.startswith("-")
        place = known.get(word if is_name else "")
        if place is None:
            return None
        group, name, kind = place
        values = found[group]
        if kind is bool:
            values[name] = True
            continue
        value = next(left, "") if is_name else word
        if not value or value.startswith("-"):
            return None
        if kind == TEXTS:
            values.setdefault(name, []).append(value)
        elif kind in {TEXT, str}:
            values[name] = value
        elif kind is int and value.isdecimal() and value.isascii():
            values[name] = int(value)
        else:
            return None
    return found


def _options(group: type) -> dict[str, tuple[type, str, Any]]:
    """Return the fields of a group by what is typed for them; "" is the positional."""
    found: dict[str, tuple[type, str, Any]] = {}
    for field, annotated in group.__annotations__.items():
        said: Option = annotated.__metadata__[0]
        if said is not VERSION and not any("/" in name for name in said.names):
            found |= dict.fromkeys(
                said.names or ("",), (group, field, annotated.__origin__)
            )
    return found
