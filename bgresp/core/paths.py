"""Find values in JSON by paths such as `a.b`, `[*]`, `output[type=message].id`.

No expressions and no conditions.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\*)\]|\[([^=\[\]]+)=([^\[\]]*)\]")

Step = tuple[str, str, str]


@lru_cache(maxsize=512)
def steps(path: str) -> tuple[Step, ...]:
    """Split a path into steps; ValueError when it is not one."""
    found: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if not match:
            raise ValueError(f"not a path: {path!r}")
        name, every, key, value = match.groups()
        if name is not None:
            found.append(("name", name, ""))
        else:
            found.append(("all", "", "") if every else ("where", key, value))
        at = match.end()
    return tuple(found)


def walk(document: Any, path: str) -> Iterator[Any]:
    """Yield each value that the path reaches."""
    yield from _reader(path)(document)


@lru_cache(maxsize=512)
def _reader(path: str) -> Callable[[Any], Iterable[Any]]:
    """Return what reads a path; one of names alone, as most are, looks straight."""
    found = steps(path)
    if any(kind != "name" for kind, _, _ in found):
        return lambda document: _walked(document, found)
    names = tuple(name for _, name, _ in found)

    def read(document: Any) -> Iterable[Any]:
        reached = document
        for name in names:
            is_table = type(reached) is dict or isinstance(reached, Mapping)
            if not is_table or name not in reached:
                return ()
            reached = reached[name]
        return (reached,)

    return read


def _walked(document: Any, found: tuple[Step, ...]) -> Iterable[Any]:
    reached: Iterable[Any] = (document,)
    for kind, name, value in found:
        reached = _advance(tuple(reached), kind, (name, value))
    return reached


def first(document: Any, paths: Iterable[str]) -> Any:
    """Return the first value that is neither missing nor null nor empty text."""
    for path in paths:
        for value in _reader(path)(document):
            if value is not None and value != "":
                return value
    return None


def text(document: Any, paths: Iterable[str]) -> str | None:
    """Join the strings of the first path that reaches any; None when none does."""
    for path in paths:
        strings = [value for value in walk(document, path) if isinstance(value, str)]
        if strings and any(strings):
            return "".join(strings)
    return None


def _advance(values: tuple[Any, ...], kind: str, arg: tuple[str, str]) -> Iterator[Any]:
    for value in values:
        if kind == "name":
            if isinstance(value, Mapping) and arg[0] in value:
                yield value[arg[0]]
        elif isinstance(value, list):
            for item in value:
                if kind == "all" or _matches(item, arg):
                    yield item


def _matches(item: Any, arg: tuple[str, str]) -> bool:
    return isinstance(item, Mapping) and str(item.get(arg[0])) == arg[1]
