"""Who may import whom: DESIGN.md's layers, read from the source with ast."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import bgresp

PACKAGE: Final = Path(bgresp.__file__).parent
MODULES: Final = sorted(PACKAGE.rglob("*.py"))

# Each part of the package, and which others it may know. A new part is added here on
# purpose, not by accident.
MIDDLE: Final = {"core", "ledger", "config", "api"}
KNOWS: Final[dict[str, set[str]]] = {
    "core": set(),
    "ledger": {"core"},
    "config": {"core"},
    "api": {"core"},
    "render": {"core"},
    "serve": {"core"},
    "engine": MIDDLE,
    "batch": MIDDLE | {"engine"},
}
EVERYTHING: Final = {*KNOWS, "cli"}
TOP: Final = {"cli", "__main__", "celery"}
KNOWS.update(dict.fromkeys(TOP, EVERYTHING))

# What core may use of the standard library: nothing that does I/O, sleeps, reads a
# clock or draws a number.
PURE: Final = {
    *("array", "base64", "bisect", "collections", "collections.abc", "copy"),
    *(
        "dataclasses",
        "datetime",
        "difflib",
        "email.utils",
        "enum",
        "functools",
        "hashlib",
    ),
    *("itertools", "json", "math", "re", "shlex", "typing", "unicodedata"),
    "urllib.parse",
}
# What is not pure all the same.
BUILTINS: Final = {"__import__", "eval", "exec", "input", "open", "print"}
CLOCKS: Final = {"date.today", "datetime.now", "datetime.today", "datetime.utcnow"}
# Metaphors that a reader from another project would not guess: no name ends so.
BANNED: Final = frozenset(
    {"Pen", "Room", "Roll", "Lane", "Crew", "Desk", "Books", "Crowd"}
    | {"Standing", "Seen", "Told", "Asked", "Pass", "Fleet"}
)
OVER_HTTP: Final = {"api"}
MAY_HTTP: Final = {"serve/upstream.py", "serve/webhooks.py"}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("bgresp", *parts)).removesuffix(".__init__")


NAMES: Final = {_name(path) for path in MODULES}


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """Return the module of every import, those within functions too."""
    return tuple(_read(path))


def _statements(path: Path) -> Iterator[ast.AST]:
    """Yield every statement, but no part of one that is none: a sixth of all nodes."""
    left: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while left:
        yield (node := left.pop())
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            left += getattr(node, name, ())


def _read(path: Path) -> Iterator[str]:
    for node in _statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, f"{path}: write imports in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else str(node.module)


def _part(name: str) -> str | None:
    """Return which part of the package a module belongs to; None for others."""
    first, *rest = name.split(".")
    return (rest[0] if rest else "") if first == "bgresp" else None


def _id(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_a_module_knows_only_the_layers_below(path: Path) -> None:
    """No import goes up: core, then ledger, config and api, engine, batch, cli."""
    own = _part(_name(path))
    known = {part for name in _imported(path) if (part := _part(name))}
    if own:
        assert own in KNOWS, f"{_id(path)}: say in KNOWS what this part may import"
        assert known <= {own, *KNOWS[own]}
    else:
        assert not known, "the package itself imports nothing of ours"


def test_engine_and_render_do_not_know_each_other() -> None:
    """What acts and what shows meet in the command line alone."""
    assert "render" not in KNOWS["engine"] | KNOWS["batch"]
    assert "engine" not in KNOWS["render"]


def test_the_endpoint_knows_nothing_of_the_client() -> None:
    """The local endpoint could be taken out of the package."""
    client = {"ledger", "config", "api", "engine", "render", "cli"}
    assert not client & KNOWS["serve"]


def _circles() -> list[set[str]]:
    """Return who imports each other, over however many others (Tarjan's algorithm)."""
    imports = {
        _name(path): sorted(NAMES & set(_imported(path)) - {_name(path)})
        for path in MODULES
    }
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in imports[name]:
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            at = stack.index(name)
            found.append({each.removeprefix("bgresp.") for each in stack[at:]})
            del stack[at:]

    for name in imports:
        if name not in order:
            visit(name)
    return [circle for circle in found if len(circle) > 1]


def test_no_module_is_part_of_a_circle() -> None:
    """Who is imported never imports back; imports within functions count too."""
    assert [] == _circles()


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=_id)
def test_the_core_is_pure(path: Path) -> None:
    """Nothing in the core can do I/O, sleep, read a clock or draw a number."""
    assert {name for name in _imported(path) if _part(name) is None} <= PURE
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not BUILTINS & called
    reached = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    assert not CLOCKS & reached


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_http_has_one_place(path: Path) -> None:
    """Only `api` speaks HTTP, and the endpoint where it calls out."""
    roots = {name.partition(".")[0] for name in _imported(path)}
    allowed = _part(_name(path)) in OVER_HTTP or _id(path) in MAY_HTTP
    assert allowed or not roots & {"httpx", "httpx_sse"}


def _named(path: Path) -> Iterator[str]:
    """Yield the names of classes and of other types, as far as they are assigned."""
    for node in _statements(path):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (name.id for name in node.targets if isinstance(name, ast.Name))


@pytest.mark.parametrize(
    "folder", [PACKAGE, Path(__file__).parent], ids=["bgresp", "tests"]
)
def test_names_are_no_metaphors(folder: Path) -> None:
    """No class and no type is called Pen, Room, Desk or the like, in tests neither."""
    names = {name for path in folder.rglob("*.py") for name in _named(path)}
    assert {"EngineNews", "ShownText"} <= names or folder != PACKAGE
    ends = re.compile(f"({'|'.join(sorted(BANNED))})$")
    assert set() == {name for name in names if ends.search(name)}


# Each verb has its Options; who makes a connection is a Client, one of two; a request
# is a user's, and one of HTTP that carries it.
SHARED: Final = {"Options", "Client", "Request"}


@pytest.mark.parametrize("is_served", [False, True], ids=["client", "endpoint"])
def test_a_word_has_one_meaning(is_served: bool) -> None:
    """No two classes of the client share a name, nor two of the local endpoint."""
    paths = [path for path in MODULES if ("serve" == _part(_name(path))) is is_served]
    names = Counter(
        node.name
        for path in paths
        for node in _statements(path)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert len(names) > 20
    assert set() == {name for name, count in names.items() if count > 1} - SHARED


def test_no_module_is_the_gerund_of_another() -> None:
    """A verb's work is in the verb's module: no `retrying` beside `retry`."""
    stems = {path.stem.strip("_") for path in MODULES}
    gerunds = {form for stem in stems for form in (f"{stem}ing", f"{stem[:-1]}ing")}
    gerunds |= {f"{stem}{stem[-1:]}ing" for stem in stems}
    assert set() == stems & gerunds


def test_few_modules_are_small() -> None:
    """A room is an idea: of at most 130 ten have less than 50 lines, __init__ apart."""
    assert len(MODULES) <= 130
    sizes = {
        _id(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
        if path.name != "__init__.py"
    }
    small = {name: size for name, size in sizes.items() if size < 50}
    assert len(small) <= 10, small
