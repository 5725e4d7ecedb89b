"""The table of commands as PowerShell has it: a hashtable of hashtables."""

from bgresp.cli.shells.bash import argument, kind
from bgresp.cli.tree import Command


def table(root: Command) -> str:
    """Return an entry for each command."""
    return "\n".join(_entry(command) for command in root.walk())


def _entry(command: Command) -> str:
    options = [
        f"{_quoted(name)} = {_quoted(kind(option.value))}"
        for option in command.options
        for name in option.names
    ]
    below = [f"{_quoted(c.path[-1])} = {_quoted(c.help)}" for c in command.commands]
    return "\n".join(
        [
            f"        {_quoted(' '.join(command.path))} = @{{",
            f"            commands = [ordered]@{{ {'; '.join(below)} }}",
            f"            argument = {_quoted(argument(command))}",
            f"            options = [ordered]@{{ {'; '.join(options)} }}",
            "        }",
        ]
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
