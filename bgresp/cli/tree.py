"""The command tree as shells complete it: commands, options, and kinds of values.

Read from the program itself, so that a new command or option needs nothing here. What
an option takes is told by its choices, its name, or its metavar.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.cli import panels
from bgresp.cli.output import PARTS
from bgresp.cli.topics import topics
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


@dataclass(frozen=True, slots=True)
class Value:
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
class Option:
    """An option under all its names; a flag takes no value."""

    names: tuple[str, ...]
    help: str
    value: Value | None = None
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument."""

    value: Value
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of them, by the words that lead to it."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    commands: tuple["Command", ...] = field(default=())

    def walk(self) -> Iterator["Command"]:
        """Yield this command and every one below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


_STATUSES: Final = (*map(str, Status), "open", "ended")
_BY_NAME: Final = {
    "--profile": Value("profile"),
    "--group": Value("group"),
    "--label": Value("label"),
    "--model": Value("model"),
    "--status": Value(LIST, words=_STATUSES),
    "--fields": Value(LIST, words=tuple(sorted({*RECORD_FIELDS, *COLUMNS, "text"}))),
    "--sort": Value(WORDS, words=tuple(SORTS)),
    "--by": Value(WORDS, words=("status", "day", "model", "label", "profile", "group")),
    "--time": Value(WORDS, words=("relative", "local", "utc")),
    "--dialect": Value(WORDS, words=tuple(sorted(built_in()))),
    "--part": Value(WORDS, words=PARTS),
    "--show": Value(LIST, words=(*KINDS, "all")),
    "--mode": Value(WORDS, words=("auto", "stream", "poll")),
    "--color": Value(WORDS, words=("auto", "always", "never")),
}
_BY_METAVAR: Final[Mapping[str, Value]] = {
    r"REF": Value("ref"),
    r"KEY": Value("key"),
    r"P|PROFILE": Value("profile"),
    r"DIR|FOLDER": Value(FOLDER),
    r".*@FILE.*": Value(AT_FILE),
    r"(.*\|)?(FILE|PATH|MANIFEST)\b[^=]*": Value(FILE),
}
_CHOICE: Final = re.compile(r"[a-z0-9_-]+(\|[a-z0-9_-]+)+")
_HELP: Final = Option(("-h", "--help"), "Show the help of this command.")


def read(root: Any) -> Command:
    """Read a program's commands, all that are not hidden."""
    # What `help` tells about: commands, then topics; `config` is both.
    told = tuple(dict.fromkeys((*panels.names(root), *topics())))
    return _read(root, (), {**_BY_METAVAR, r"COMMAND\|TOPIC": Value(WORDS, words=told)})


def _read(
    command: Any, path: tuple[str, ...], metavars: Mapping[str, Value]
) -> Command:
    inner = [(n, panels.below(command, n)) for n in sorted(panels.names(command))]
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    options = [p for p in shown if p.param_type_name == "option"]
    return Command(
        path=path,
        help=str(command.get_short_help_str(100)),
        options=(*(_option(p, metavars) for p in options), _HELP),
        arguments=tuple(_argument(p, metavars) for p in shown if p not in options),
        commands=tuple(
            _read(c, (*path, n), metavars) for n, c in inner if not c.hidden
        ),
    )


def _option(param: Any, metavars: Mapping[str, Value]) -> Option:
    names = (*param.opts, *param.secondary_opts)
    text = " ".join(str(param.help or "").split())
    takes_none = param.is_flag or param.count
    value = None if takes_none else _value(names, param, metavars)
    return Option(names, text, value, repeats=param.multiple)


def _argument(param: Any, metavars: Mapping[str, Value]) -> Argument:
    return Argument(_value((), param, metavars), repeats=param.nargs == -1)


def _value(names: tuple[str, ...], param: Any, metavars: Mapping[str, Value]) -> Value:
    metavar = str(param.metavar or param.name.upper())
    label = metavar.strip("'").replace("...", "")
    label = label[1:-1] if label.startswith("[") and label.endswith("]") else label
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        words = tuple(str(getattr(one, "value", one)) for one in choices)
        return Value(WORDS, label, words)
    for name in names:
        if name in _BY_NAME:
            return Value(_BY_NAME[name].kind, label, _BY_NAME[name].words)
    if _CHOICE.fullmatch(label):
        return Value(WORDS, label, tuple(label.split("|")))
    for pattern, value in metavars.items():
        # A key that an option takes is a new one; a positional one names a submit.
        if re.fullmatch(pattern, label) and not (names and value.kind == "key"):
            return Value(value.kind, label, value.words)
    return Value(FREE, label)
