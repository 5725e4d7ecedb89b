"""The table of commands as zsh has it: a function with _arguments for each command."""

from collections.abc import Iterable, Iterator
from typing import Final

from bgresp.cli.tree import AT_FILE, FILE, FOLDER, LIST, WORDS, Command, Option, Value

_FILES: Final = {FILE: "_files", FOLDER: "_files -/", AT_FILE: "_bgresp_atfile"}


def table(root: Command) -> str:
    """Return a function for each command, the root's last."""
    return "\n".join(_function(command) for command in reversed(list(root.walk())))


def _function(command: Command) -> str:
    body = _group(command) if command.commands else [_arguments(_leaf(command))]
    return "\n".join([f"{_name(command.path)}() {{", *body, "}", ""])


def _leaf(command: Command) -> Iterator[str]:
    yield from _options(command)
    for argument in command.arguments:
        many = "*" if argument.repeats else ""
        yield _quoted(f"{many}:{_value(argument.value)}")


def _group(command: Command) -> list[str]:
    specs = [*_options(command), "'1: :->command'", "'*:: :->rest'"]
    below = [_quoted(f"{_plain(c.path[-1])}:{c.help}") for c in command.commands]
    cases = [f"        {c.path[-1]}) {_name(c.path)} ;;" for c in command.commands]
    return [
        '  local curcontext="$curcontext" state line',
        "  local -a commands",
        _arguments(specs, "-C "),
        "  case $state in",
        "    command)",
        *(["      commands=("] + [f"        {one}" for one in below] + ["      )"]),
        "      _describe command commands ;;",
        "    rest)",
        "      case $line[1] in",
        *cases,
        "      esac ;;",
        "  esac",
    ]


def _arguments(specs: Iterable[str], more: str = "") -> str:
    return " \\\n    ".join([f"  _arguments {more}-s -S :", *specs])


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        yield from _option(option)


def _option(option: Option) -> Iterator[str]:
    others = "*" if option.repeats else f"({' '.join(option.names)})"
    for name in option.names:
        text = f"{others}{name}"
        if option.value is None:
            text += f"[{_plain(option.help)}]"
        else:
            mark = "=" if name.startswith("--") else "+"
            text += f"{mark}[{_plain(option.help)}]:{_value(option.value)}"
        yield _quoted(text)


def _value(value: Value) -> str:
    """Return `message:action` of a value."""
    label = _plain(value.label or "value").replace("->", "")
    if value.index:
        return f"{label}:_bgresp_{value.kind}"
    if value.kind == WORDS:
        return f"{label}:({' '.join(value.words)})"
    if value.kind == LIST:
        return (
            f"{label}:_values -s , {value.label or 'value'!r} {' '.join(value.words)}"
        )
    return f"{label}:{_FILES.get(value.kind, ' ')}"


def _name(path: tuple[str, ...]) -> str:
    return "-".join(("_bgresp", *path))


def _plain(text: str) -> str:
    """Return a text for a spec, in which colons and brackets mean something."""
    for mark in "\\:[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
