"""How `--help` is laid out: plain text, the options under headings, examples first.

Knows Typer's commands alone: no Rich is imported for help. It leans on what Typer (0.26
to 0.28 were tried) does not promise: that a command has Click's methods and parameters,
whose names tests/test_joints.py holds. `help` and `completions` read the same.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

from bgresp.cli.options import (
    ARGUMENTS,
    ENGINE,
    FOLLOW,
    GLOBAL,
    INPUT,
    LEDGER,
    LIMITS,
    OPTIONS,
    OUTPUT,
    REQUEST,
    WEBHOOKS,
    Common,
    Refs,
)

# As they are used: what is asked, how, where it is kept, how it is followed.
ORDER: Final = (
    *(ARGUMENTS, INPUT, REQUEST, LEDGER, FOLLOW, OUTPUT, OPTIONS),
    *(ENGINE, LIMITS, WEBHOOKS, GLOBAL),
)
# Where an option stands, by its name in the program.
USUAL: Final[Mapping[str, str]] = {
    **dict.fromkeys(("text", "attach", "var"), INPUT),
    **dict.fromkeys(
        ("model", "system", "schema", "tool", "max_output_tokens"), REQUEST
    ),
    **dict.fromkeys(("previous", "metadata", "body", "changes", "stream"), REQUEST),
    **dict.fromkeys(("webhook_url", "webhook_secret_env"), REQUEST),
    **dict.fromkeys(("tool_output", "approve", "deny"), REQUEST),
    **dict.fromkeys(("name", "label", "group", "key", "unique"), LEDGER),
    **dict.fromkeys(("no_keep_prompt", "expect"), LEDGER),
    **dict.fromkeys(("watch", "wait", "timeout", "interval", "mode"), FOLLOW),
    **dict.fromkeys(("resume", "events", "fail_fast", "any"), FOLLOW),
    **dict.fromkeys(("output", "force"), OUTPUT),
    **dict.fromkeys(("version", "help"), GLOBAL),
}
# What every command takes is told once, in `help options`; and what selects, in `refs`.
SHARED: Final = frozenset({*Common._fields, "help"})
SHARED_LINE: Final = (
    "On every command: -p, --json, --jsonl, --fields, -q, -v: bgresp help options"
)
SELECT_LINE: Final = (
    "Instead of REFs: --group, -l, --status, --since, --open: bgresp help refs"
)
# Of these it is the commands' own what others share: by the command's name.
OWN: Final = {"add": frozenset({"base_url", "header", "allow_http"})}
# Options whose value may be left out.
_MAY_BE_BARE: Final = frozenset({"--approve", "--deny"})
EPILOG: Final = (
    "More: bgresp help; bgresp help refs, options, exit-codes, configuration"
)

_NO_CONTEXT: Final[Any] = None  # neither our groups nor Typer's look at it

Rows = list[tuple[str, str]]
_SECRET: Final = ("-H", "--header", "--key", "--api")
_KEYS: Final = {"--api-key", "--api_key", "--apikey", "--token"}


def sections(command: TyperCommand | TyperGroup, context: Any) -> dict[str, Rows]:
    """Return the arguments and a command's own options under their headings, in order.

    Those of a command that makes no requests need none but what they name themselves.
    """
    found: dict[str, Rows] = {name: [] for name in ORDER}
    makes_requests = any(param.name == "attach" for param in command.params)
    own = [param for param in command.get_params(context) if _is_own(param, command)]
    for param in own:
        record = param.get_help_record(context)
        if record is None:
            continue
        usual = USUAL.get(str(param.name), OPTIONS)
        if param.param_type_name == "argument":
            usual = ARGUMENTS
        elif not makes_requests and usual != GLOBAL:
            usual = OPTIONS
        rows = found[str(getattr(param, "rich_help_panel", None) or usual)]
        rows.insert(0 if param.name == "text" else len(rows), record)
    return {name: rows for name, rows in found.items() if rows}


def _is_own(param: Any, command: TyperCommand | TyperGroup) -> bool:
    """Say whether a parameter is a command's own; a group has nothing else."""
    name, mine = str(param.name), OWN.get(str(command.name), frozenset())
    if isinstance(command, TyperGroup) or name in mine:
        return True
    selects = takes_refs(command) and name in Refs._fields and name != "refs"
    return name not in SHARED and not selects


def takes_refs(command: TyperCommand | TyperGroup) -> bool:
    """Say whether a command takes REFs, or selectors instead."""
    return any(str(param.name) == "refs" for param in command.params)


def names(command: Any) -> list[str]:
    """Return the names of the commands below a group, in order; else nothing."""
    if not isinstance(command, TyperGroup):
        return []
    return command.list_commands(_NO_CONTEXT)


def below(command: Any, name: str) -> Any:
    """Return the command of that name below a group; None where there is none."""
    return command.get_command(_NO_CONTEXT, name) if name in names(command) else None


def opened(command: Any, parent: Any = None) -> Any:
    """Return the context that a command's help is written in."""
    settings = command.context_settings
    name = command.name if parent is not None else "bgresp"
    return command.context_class(command, info_name=name, parent=parent, **settings)


class Command(TyperCommand):
    """A command whose help has its options under headings."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; a value that may be left out is empty then."""
        return super().parse_args(ctx, list(_completed(self, args)))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options."""
        write_options(self, ctx, formatter)


def _completed(command: TyperCommand, args: Sequence[str]) -> Iterator[str]:
    """Yield the arguments, `--approve` without an ID as `--approve=`."""
    takes_value = {
        name
        for param in command.params
        if not getattr(param, "is_flag", True)
        for name in param.opts
    }
    for at, word in enumerate(args):
        is_value = at > 0 and args[at - 1] in takes_value
        rest = args[at + 1 :]
        bare = not rest or rest[0].startswith("-")
        if word in _MAY_BE_BARE and word in takes_value and bare and not is_value:
            yield f"{word}="
        else:
            yield word


def write_options(
    command: TyperCommand | TyperGroup, context: Any, formatter: Any
) -> None:
    """Write the arguments and options of a command under their headings.

    What it shares with others is a line each, which names the topic that tells it.
    """
    for heading, rows in sections(command, context).items():
        write_section(formatter, heading, rows)
    if isinstance(command, TyperGroup):
        return
    formatter.write_paragraph()
    with formatter.indentation():
        if takes_refs(command):
            formatter.write_text(SELECT_LINE)
        formatter.write_text(SHARED_LINE)


def write_section(formatter: Any, heading: str, rows: Rows) -> None:
    """Write rows of a name and what it means under a heading."""
    with formatter.section(heading):
        formatter.write_dl(rows)


def is_key_option(error: Any) -> bool:
    """Say whether an API key was to be given on the command line."""
    return getattr(error, "option_name", None) in _KEYS


def misplaced(error: Any, argv: Sequence[str]) -> str:
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
