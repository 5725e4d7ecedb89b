"""What bgresp tells people to type is a command that there is, with options it has."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from bgresp.cli.app import build
from bgresp.cli.commands.help_ import topics
from tests.command import ROOT

PACKAGE: Final = ROOT / "bgresp"
HOLE: Final = " HOLE"
# What stands behind the name where it is no command line.
PROSE: Final = {"submits", "reads", "starts", "itself", "is", "-n", "HOLE"}
# A command as prose and code have it: up to what ends a sentence or a quotation.
COMMAND: Final = re.compile(r"(?<![\w/.-])bgresp ((?:-{0,2}[A-Za-z@][^;,()`'\"\n]*))")
ROOT_COMMAND: Any = build().whole()


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module but its docstrings; what is filled in is a hole."""
    inside, nodes = set[int](), list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in ast.walk(node) if part is not node)
            parts = [
                str(part.value) if isinstance(part, ast.Constant) else HOLE
                for part in node.values
            ]
            yield node.lineno, "".join(parts)
    docs = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside |= docs
    for node in nodes:
        if not isinstance(node, ast.Constant) or id(node) in inside:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


@cache
def commands() -> list[tuple[str, str]]:
    """Return where the package tells a command, and the command, sorted."""
    return sorted(set(_commands()))


def _commands() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "shells" in path.parts:
            continue
        for line, text in texts(ast.parse(path.read_text("utf-8"))):
            for found in COMMAND.finditer(text):
                told = found[1].rstrip(".: ").partition(". ")[0]
                if told.split()[0] not in PROSE:
                    yield f"{path.relative_to(PACKAGE)}:{line}", told


def wrong(words: list[str]) -> str:
    """Return what is wrong with a command; nothing where it parses."""
    command, rest = ROOT_COMMAND, list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if command is ROOT_COMMAND and not (rest and rest[0] in ("-h", "--help", "-V")):
        return f"no command {rest[:1]}"
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    for word in rest:
        option = word.partition("=")[0].rstrip(".:")
        if option.startswith("-") and option not in {*known, "-", "-h", "--help"}:
            return f"no option {option}"
    if words[0] == "help" and len(words) > 1 and words[1].isalpha():
        named = words[1]
        if named.islower() and named not in {*topics(), *ROOT_COMMAND.commands}:
            return f"no topic {named}"
    return ""


def test_there_are_hints() -> None:
    """Nothing is found, and so nothing is wrong."""
    assert len(commands()) > 60
    assert wrong(["nope"])
    assert wrong(["list", "--nope"])
    assert not wrong(["list", "--wide"])


def test_every_hint_is_a_command_that_parses() -> None:
    """A person is told to type what there is not."""
    told = [(where, text, wrong(text.split())) for where, text in commands()]
    assert [] == [each for each in told if each[2]]
