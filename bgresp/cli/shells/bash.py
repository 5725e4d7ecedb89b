"""The table of commands as bash has it: a case for each command."""

from bgresp.cli.tree import FREE, Command, Value


def table(root: Command) -> str:
    """Return the cases of `_bgresp_command`."""
    return "\n".join(_case(command) for command in root.walk())


def kind(value: Value | None) -> str:
    """Return what a value may be, in one word; nothing for a flag."""
    if value is None:
        return ""
    if value.index:
        return f"index:{value.index}"
    return f"{value.kind}:{','.join(value.words)}" if value.words else value.kind


def argument(command: Command) -> str:
    """Return the kind of a command's first argument."""
    return kind(command.arguments[0].value) if command.arguments else FREE


def _case(command: Command) -> str:
    options = [
        f"{name}={kind(option.value)}" if option.value else name
        for option in command.options
        for name in option.names
    ]
    said = [f"options='{' '.join(options)}'"]
    if command.commands:
        below = " ".join(one.path[-1] for one in command.commands)
        said.insert(0, f"commands='{below}'")
    elif command.arguments:
        said.insert(0, f"argument='{argument(command)}'")
    return f"    '{' '.join(command.path)}') {' '.join(said)} ;;"
