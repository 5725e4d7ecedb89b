"""Who may import whom: DESIGN.md's layers, read from the source with ast."""

import ast
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
TOP: Final = {"cli", "__main__", "celery", "listen", "fastlane"}
KNOWS.update(dict.fromkeys(TOP, EVERYTHING))

# Within core each module knows only those before it.
CORE: Final = (
    *(
        "errors",
        "text",
        "kinds",
        "times",
        "model",
        "signals",
        "paths",
        "dialect",
        "rules",
    ),
    *(
        "tables",
        "filling",
        "wire",
        "template",
        "manifest",
        "attach",
        "request",
    ),
    *(
        "endpoint",
        "update",
        "schedule",
        "machine",
        "outage",
        "transcript",
        "board",
        "tally",
    ),
    *("crowd", "asides", "card", "naming"),
)
IMPURE: Final = {"asyncio", "os", "time", "random", "httpx", "httpx_sse", "rich"}
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


def _read(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def test_every_core_module_has_its_place() -> None:
    """The order of the core names every module of it, once."""
    found = {path.stem for path in (PACKAGE / "core").glob("*.py")} - {"__init__"}
    assert found == set(CORE)
    assert len(CORE) == len(set(CORE))


@pytest.mark.parametrize("module", CORE)
def test_the_core_is_in_order(module: str) -> None:
    """A core module imports only what stands before it in the order."""
    before = {f"bgresp.core.{name}" for name in CORE[: CORE.index(module)]}
    path = PACKAGE / "core" / f"{module}.py"
    assert {n for n in _imported(path) if _part(n) is not None} <= before


@pytest.mark.parametrize("module", CORE)
def test_the_core_is_pure(module: str) -> None:
    """Nothing in the core can do I/O, sleep, read a clock or draw a number."""
    path = PACKAGE / "core" / f"{module}.py"
    assert not {name.partition(".")[0] for name in _imported(path)} & IMPURE


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_http_has_one_place(path: Path) -> None:
    """Only `api` speaks HTTP, and the endpoint where it calls out."""
    roots = {name.partition(".")[0] for name in _imported(path)}
    allowed = _part(_name(path)) in OVER_HTTP or _id(path) in MAY_HTTP
    assert allowed or not roots & {"httpx", "httpx_sse"}
