"""`bgresp completions`: the script that makes a shell complete bgresp.

The command tree is read from the program itself, so that a new command or option needs
nothing here: what an option takes is told by its choices, its name, or its metavar.
`python -m bgresp.cli.commands.completions completions` writes the scripts of all four
shells to that folder, and the man page that is packaged beside them.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from bgresp.cli import panels
from bgresp.cli.commands.help_ import topics
from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.cli.output import PARTS
from bgresp.cli.records import print_document
from bgresp.config.files import built_in
from bgresp.core.model import RECORD_FIELDS, Status
from bgresp.core.output import KINDS
from bgresp.core.selection import SORTS
from bgresp.render.columns import COLUMNS

FREE: Final = "free"
FILE: Final = "file"
AT_FILE: Final = "atfile"
FOLDER: Final = "folder"
WORDS: Final = "words"
LIST: Final = "list"
# The kinds of words in the index (ledger/words.py) that a value may be.
INDEXED: Final = {
    "ref": "in",
    "key": "u",
    "profile": "p",
    "group": "g",
    "label": "l",
    "model": "m",
}
# A template for each shell, which the table of commands is filled in.
TEMPLATES: Final = Path(__file__).parents[1] / "shells"
SCHEMA: Final = "bgresp.completions/1"
FIELDS: Final = ("schema", "shell", "script")
_ZSH_FILES: Final = {FILE: "_files", FOLDER: "_files -/", AT_FILE: "_bgresp_atfile"}


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """What an option or an argument takes: free text, a file, some words, ...

    `words` are those of a choice (WORDS), or of a list with commas (LIST).
    """

    kind: str
    label: str = ""
    words: tuple[str, ...] = ()

    @property
    def index(self) -> str:
        """Return the kinds of words in the index that it may be; else nothing."""
        return INDEXED.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """An option under all its names; a flag takes no value."""

    names: tuple[str, ...]
    help: str
    value: ValueSpec | None = None
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """A positional argument."""

    value: ValueSpec
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command, or a group of them, by the words that lead to it."""

    path: tuple[str, ...]
    help: str
    options: tuple[OptionSpec, ...] = ()
    arguments: tuple[ArgumentSpec, ...] = ()
    commands: tuple["CommandSpec", ...] = field(default=())

    def walk(self) -> Iterator["CommandSpec"]:
        """Yield this command and every one below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


_STATUSES: Final = (*map(str, Status), "open", "ended")
_BY_NAME: Final = {
    "--profile": ValueSpec("profile"),
    "--group": ValueSpec("group"),
    "--label": ValueSpec("label"),
    "--model": ValueSpec("model"),
    "--status": ValueSpec(LIST, words=_STATUSES),
    "--fields": ValueSpec(
        LIST, words=tuple(sorted({*RECORD_FIELDS, *COLUMNS, "text"}))
    ),
    "--sort": ValueSpec(WORDS, words=tuple(SORTS)),
    "--by": ValueSpec(
        WORDS, words=("status", "day", "model", "label", "profile", "group")
    ),
    "--time": ValueSpec(WORDS, words=("relative", "local", "utc")),
    "--dialect": ValueSpec(WORDS, words=tuple(sorted(built_in()))),
    "--part": ValueSpec(WORDS, words=PARTS),
    "--show": ValueSpec(LIST, words=(*KINDS, "all")),
    "--mode": ValueSpec(WORDS, words=("auto", "stream", "poll")),
    "--color": ValueSpec(WORDS, words=("auto", "always", "never")),
}
_BY_METAVAR: Final[Mapping[str, ValueSpec]] = {
    r"REF": ValueSpec("ref"),
    r"KEY": ValueSpec("key"),
    r"P|PROFILE": ValueSpec("profile"),
    r"DIR|FOLDER": ValueSpec(FOLDER),
    r".*@FILE.*": ValueSpec(AT_FILE),
    r"(.*\|)?(FILE|PATH|MANIFEST)\b[^=]*": ValueSpec(FILE),
}
_CHOICE: Final = re.compile(r"[a-z0-9_-]+(\|[a-z0-9_-]+)+")
_HELP: Final = OptionSpec(("-h", "--help"), "Show the help of this command.")


def read(root: Any) -> CommandSpec:
    """Read a program's commands, all that are not hidden."""
    # What `help` tells about: commands, then topics; `config` is both.
    told = tuple(dict.fromkeys((*panels.names(root), *topics())))
    return _read(
        root, (), {**_BY_METAVAR, r"COMMAND\|TOPIC": ValueSpec(WORDS, words=told)}
    )


def _read(
    command: Any, path: tuple[str, ...], metavars: Mapping[str, ValueSpec]
) -> CommandSpec:
    inner = [(n, panels.below(command, n)) for n in sorted(panels.names(command))]
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    options = [p for p in shown if p.param_type_name == "option"]
    return CommandSpec(
        path=path,
        help=str(command.get_short_help_str(100)),
        options=(*(_option(p, metavars) for p in options), _HELP),
        arguments=tuple(_argument(p, metavars) for p in shown if p not in options),
        commands=tuple(
            _read(c, (*path, n), metavars) for n, c in inner if not c.hidden
        ),
    )


def _option(param: Any, metavars: Mapping[str, ValueSpec]) -> OptionSpec:
    names = (*param.opts, *param.secondary_opts)
    text = " ".join(str(param.help or "").split())
    takes_none = param.is_flag or param.count
    value = None if takes_none else _value(names, param, metavars)
    return OptionSpec(names, text, value, repeats=param.multiple)


def _argument(param: Any, metavars: Mapping[str, ValueSpec]) -> ArgumentSpec:
    return ArgumentSpec(_value((), param, metavars), repeats=param.nargs == -1)


def _value(
    names: tuple[str, ...], param: Any, metavars: Mapping[str, ValueSpec]
) -> ValueSpec:
    metavar = str(param.metavar or param.name.upper())
    label = metavar.strip("'").replace("...", "")
    label = label[1:-1] if label.startswith("[") and label.endswith("]") else label
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        words = tuple(str(getattr(one, "value", one)) for one in choices)
        return ValueSpec(WORDS, label, words)
    for name in names:
        if name in _BY_NAME:
            return ValueSpec(_BY_NAME[name].kind, label, _BY_NAME[name].words)
    if _CHOICE.fullmatch(label):
        return ValueSpec(WORDS, label, tuple(label.split("|")))
    for pattern, value in metavars.items():
        # A key that an option takes is a new one; a positional one names a submit.
        if re.fullmatch(pattern, label) and not (names and value.kind == "key"):
            return ValueSpec(value.kind, label, value.words)
    return ValueSpec(FREE, label)


class Shell(StrEnum):
    """A shell, by the word that `bgresp completions` takes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


class Options(NamedTuple):
    """What `completions` takes."""

    shell: Annotated[
        Shell, typer.Argument(help="The shell to complete in.", show_default=False)
    ]


def completions(context: typer.Context, options: Options, common: Common) -> int:
    """Print the completion script of a shell.

    Examples:

      bgresp completions bash > ~/.local/share/bash-completion/completions/bgresp
      bgresp completions fish > ~/.config/fish/completions/bgresp.fish
    """
    found = script(options.shell, read(context.find_root().command))
    print_document(
        Context.of(common, FIELDS, rows=False),
        {"schema": SCHEMA, "shell": options.shell.value, "script": found},
    )
    return 0


def _bash(root: CommandSpec) -> str:
    """Return the cases of `_bgresp_command`."""
    return "\n".join(_bash_case(command) for command in root.walk())


def _kind(value: ValueSpec | None) -> str:
    """Return what a value may be, in one word; nothing for a flag."""
    if value is None:
        return ""
    if value.index:
        return f"index:{value.index}"
    return f"{value.kind}:{','.join(value.words)}" if value.words else value.kind


def _first_argument(command: CommandSpec) -> str:
    """Return the kind of a command's first argument."""
    return _kind(command.arguments[0].value) if command.arguments else FREE


def _bash_case(command: CommandSpec) -> str:
    options = [
        f"{name}={_kind(option.value)}" if option.value else name
        for option in command.options
        for name in option.names
    ]
    said = [f"options='{' '.join(options)}'"]
    if command.commands:
        below = " ".join(one.path[-1] for one in command.commands)
        said.insert(0, f"commands='{below}'")
    elif command.arguments:
        said.insert(0, f"argument='{_first_argument(command)}'")
    return f"    '{' '.join(command.path)}') {' '.join(said)} ;;"


def _fish(root: CommandSpec) -> str:
    """Return `complete` lines; an option that is the same in several has one."""
    commands = list(root.walk())
    below = " ".join(_fish_quoted(" ".join(c.path)) for c in commands if c.path)
    return "\n".join(
        [
            f"set -g __bgresp_commands {below}",
            *_fish_commands(commands),
            *_fish_options(commands),
            *_fish_arguments(commands),
        ]
    )


def _fish_commands(commands: list[CommandSpec]) -> Iterator[str]:
    for command in commands:
        for below in command.commands:
            said = f"-a {below.path[-1]} -d {_fish_quoted(below.help)}"
            yield f"{_fish_at([command])} {said}"


def _fish_options(commands: list[CommandSpec]) -> Iterator[str]:
    takers: dict[OptionSpec, list[CommandSpec]] = {}
    for command in commands:
        for option in command.options:
            takers.setdefault(option, []).append(command)
    for option, some in takers.items():
        names = " ".join(map(_fish_name, option.names))
        value = "" if option.value is None else f" {_fish_value(option.value)}"
        yield f"{_fish_at(some)} {names}{value} -d {_fish_quoted(option.help)}"


def _fish_arguments(commands: list[CommandSpec]) -> Iterator[str]:
    takers: dict[ValueSpec, list[CommandSpec]] = {}
    for command in commands:
        for argument in command.arguments[:1]:
            takers.setdefault(argument.value, []).append(command)
    for value, some in takers.items():
        offered = _fish_value(value).removeprefix("-x").removeprefix("-r").strip()
        if offered:
            yield f"{_fish_at(some)} {offered}"


def _fish_value(value: ValueSpec) -> str:
    if value.index:
        return f"-x -a '(__bgresp_{value.kind})'"
    if value.kind == WORDS:
        return f"-x -a '(__bgresp_words {' '.join(value.words)})'"
    if value.kind == LIST:
        return f"-x -a '(__bgresp_list {' '.join(value.words)})'"
    if value.kind == FOLDER:
        return "-x -a '(__fish_complete_directories)'"
    return {FILE: "-r -F", AT_FILE: "-x -a '(__bgresp_atfile)'"}.get(value.kind, "-x")


def _fish_name(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _fish_at(commands: list[CommandSpec]) -> str:
    paths = " ".join(f'"{" ".join(command.path)}"' for command in commands)
    return f"complete -c bgresp -n '__bgresp_at {paths}'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _zsh(root: CommandSpec) -> str:
    """Return a function for each command, the root's last."""
    return "\n".join(_zsh_function(command) for command in reversed(list(root.walk())))


def _zsh_function(command: CommandSpec) -> str:
    body = (
        _zsh_group(command)
        if command.commands
        else [_zsh_arguments(_zsh_leaf(command))]
    )
    return "\n".join([f"{_zsh_name(command.path)}() {{", *body, "}", ""])


def _zsh_leaf(command: CommandSpec) -> Iterator[str]:
    yield from _zsh_options(command)
    for argument in command.arguments:
        many = "*" if argument.repeats else ""
        yield _zsh_quoted(f"{many}:{_zsh_value(argument.value)}")


def _zsh_group(command: CommandSpec) -> list[str]:
    specs = [*_zsh_options(command), "'1: :->command'", "'*:: :->rest'"]
    below = [
        _zsh_quoted(f"{_zsh_plain(c.path[-1])}:{c.help}") for c in command.commands
    ]
    cases = [f"        {c.path[-1]}) {_zsh_name(c.path)} ;;" for c in command.commands]
    return [
        '  local curcontext="$curcontext" state line',
        "  local -a commands",
        _zsh_arguments(specs, "-C "),
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


def _zsh_arguments(specs: Iterable[str], more: str = "") -> str:
    return " \\\n    ".join([f"  _arguments {more}-s -S :", *specs])


def _zsh_options(command: CommandSpec) -> Iterator[str]:
    for option in command.options:
        yield from _zsh_option(option)


def _zsh_option(option: OptionSpec) -> Iterator[str]:
    others = "*" if option.repeats else f"({' '.join(option.names)})"
    for name in option.names:
        text = f"{others}{name}"
        if option.value is None:
            text += f"[{_zsh_plain(option.help)}]"
        else:
            mark = "=" if name.startswith("--") else "+"
            text += f"{mark}[{_zsh_plain(option.help)}]:{_zsh_value(option.value)}"
        yield _zsh_quoted(text)


def _zsh_value(value: ValueSpec) -> str:
    """Return `message:action` of a value."""
    label = _zsh_plain(value.label or "value").replace("->", "")
    if value.index:
        return f"{label}:_bgresp_{value.kind}"
    if value.kind == WORDS:
        return f"{label}:({' '.join(value.words)})"
    if value.kind == LIST:
        return (
            f"{label}:_values -s , {value.label or 'value'!r} {' '.join(value.words)}"
        )
    return f"{label}:{_ZSH_FILES.get(value.kind, ' ')}"


def _zsh_name(path: tuple[str, ...]) -> str:
    return "-".join(("_bgresp", *path))


def _zsh_plain(text: str) -> str:
    """Return a text for a spec, in which colons and brackets mean something."""
    for mark in "\\:[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _powershell(root: CommandSpec) -> str:
    """Return an entry for each command."""
    return "\n".join(_powershell_entry(command) for command in root.walk())


def _powershell_entry(command: CommandSpec) -> str:
    options = [
        f"{_powershell_quoted(name)} = {_powershell_quoted(_kind(option.value))}"
        for option in command.options
        for name in option.names
    ]
    below = [
        f"{_powershell_quoted(c.path[-1])} = {_powershell_quoted(c.help)}"
        for c in command.commands
    ]
    return "\n".join(
        [
            f"        {_powershell_quoted(' '.join(command.path))} = @{{",
            f"            commands = [ordered]@{{ {'; '.join(below)} }}",
            f"            argument = {_powershell_quoted(_first_argument(command))}",
            f"            options = [ordered]@{{ {'; '.join(options)} }}",
            "        }",
        ]
    )


def _powershell_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# The file in completions/, and how the table of commands is written.
FILES: Final[dict[Shell, tuple[str, Callable[[CommandSpec], str]]]] = {
    Shell.BASH: ("bgresp.bash", _bash),
    Shell.ZSH: ("_bgresp", _zsh),
    Shell.FISH: ("bgresp.fish", _fish),
    Shell.POWERSHELL: ("bgresp.ps1", _powershell),
}


def script(shell: Shell, root: CommandSpec) -> str:
    """Return the completion script of a shell for a command tree."""
    name, table = FILES[shell]
    return (
        _template(name)
        .replace("@AWK@", _template("index.awk").rstrip())
        .replace("@BUILT_IN@", " ".join(sorted(built_in())))
        .replace("@TABLE@", table(root))
    )


def write(folder: Path, root: CommandSpec) -> None:
    """Write the scripts of all shells to a folder."""
    for shell, (name, _) in FILES.items():
        (folder / name).write_text(script(shell, root), "utf-8")


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


if __name__ == "__main__":
    # What is packaged beside the program is made at once: the scripts, the man page.
    from bgresp.cli.app import build
    from bgresp.cli.commands.help_ import man_page

    program = build()
    write(Path(sys.argv[1]), read(program))
    (Path(sys.argv[1]) / "bgresp.1").write_text(man_page(program.whole()), "utf-8")
