"""Every error that a person may read: what happened, and what to type next."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import bgresp
from bgresp.cli.errors import record
from bgresp.core import errors
from bgresp.core.errors import BgrespError

PACKAGE: Final = Path(bgresp.__file__).parent
KINDS: Final = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BgrespError)
]
NAMES: Final = {kind.__name__ for kind in KINDS}


@cache
def raised() -> tuple[tuple[str, ast.Call], ...]:
    """Return where one of our errors is made, and how."""
    return tuple(_raised())


def _raised() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in NAMES:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def words(node: ast.expr) -> str:
    """Return what is fixed of a message; what is filled in is a `*`."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return words(node.left) + words(node.right)
    return "*"


def test_a_message_is_a_line_that_says_what_happened() -> None:
    """A message is one sentence without its full stop, and no bare name of an error."""
    made = [(place, words(call.args[0])) for place, call in raised()]
    assert len(made) > 250
    for place, said in made:
        assert "\n" not in said, place
        assert not said.endswith("."), place
        assert said == "*" or "*" in said or " " in said, place


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_names_the_next_command(kind: type[BgrespError]) -> None:
    """Where nothing better is known an error still says what to do, in JSON too."""
    assert "bgresp " in kind.usual
    assert kind.usual == record(kind("it broke"))["hint"]
    assert "better" == record(kind("it broke", hint="better"))["hint"]


def hints() -> Iterator[tuple[str, str]]:
    """Yield where an error says what to type, and what, as far as it is fixed."""
    for place, call in raised():
        for word in call.keywords:
            if word.arg == "hint":
                yield place, words(word.value)


def test_no_hint_has_brackets() -> None:
    """A hint stands in brackets itself."""
    assert [] == [each for each in hints() if set("()") & set(each[1])]
    assert not [kind for kind in KINDS if set("()") & set(kind.usual)]


# What is usual for these kinds speaks of jobs: it must concern what happened.
OF_JOBS: Final = {"OutputError": "cannot write", "RefusedError": "-"}


def test_what_is_usual_concerns_what_happened() -> None:
    """Who cannot write a file of settings is told that no job is lost by it."""
    bare = [
        (place, words(call.args[0]))
        for place, call in raised()
        if getattr(call.func, "id", "") in OF_JOBS
        and not any(word.arg == "hint" for word in call.keywords)
        and not words(call.args[0]).startswith(OF_JOBS[getattr(call.func, "id", "")])
    ]
    assert [] == bare
