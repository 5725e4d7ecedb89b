"""The table of commands as fish has it: a line for each option."""

from collections.abc import Iterator

from bgresp.cli.tree import AT_FILE, FILE, FOLDER, LIST, WORDS, Command, Option, Value


def table(root: Command) -> str:
    """Return `complete` lines; an option that is the same in several has one."""
    commands = list(root.walk())
    below = " ".join(_quoted(" ".join(c.path)) for c in commands if c.path)
    return "\n".join(
        [
            f"set -g __bgresp_commands {below}",
            *_commands(commands),
            *_options(commands),
            *_arguments(commands),
        ]
    )


def _commands(commands: list[Command]) -> Iterator[str]:
    for command in commands:
        for below in command.commands:
            said = f"-a {below.path[-1]} -d {_quoted(below.help)}"
            yield f"{_at([command])} {said}"


def _options(commands: list[Command]) -> Iterator[str]:
    takers: dict[Option, list[Command]] = {}
    for command in commands:
        for option in command.options:
            takers.setdefault(option, []).append(command)
    for option, some in takers.items():
        names = " ".join(map(_name, option.names))
        value = "" if option.value is None else f" {_value(option.value)}"
        yield f"{_at(some)} {names}{value} -d {_quoted(option.help)}"


def _arguments(commands: list[Command]) -> Iterator[str]:
    takers: dict[Value, list[Command]] = {}
    for command in commands:
        for argument in command.arguments[:1]:
            takers.setdefault(argument.value, []).append(command)
    for value, some in takers.items():
        offered = _value(value).removeprefix("-x").removeprefix("-r").strip()
        if offered:
            yield f"{_at(some)} {offered}"


def _value(value: Value) -> str:
    if value.index:
        return f"-x -a '(__bgresp_{value.kind})'"
    if value.kind == WORDS:
        return f"-x -a '(__bgresp_words {' '.join(value.words)})'"
    if value.kind == LIST:
        return f"-x -a '(__bgresp_list {' '.join(value.words)})'"
    if value.kind == FOLDER:
        return "-x -a '(__fish_complete_directories)'"
    return {FILE: "-r -F", AT_FILE: "-x -a '(__bgresp_atfile)'"}.get(value.kind, "-x")


def _name(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _at(commands: list[Command]) -> str:
    paths = " ".join(f'"{" ".join(command.path)}"' for command in commands)
    return f"complete -c bgresp -n '__bgresp_at {paths}'"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
