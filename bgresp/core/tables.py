"""Tables of TOML become a dialect: merged over those they extend, then checked.

May import core.dialect, core.errors, core.model, core.paths. A mistake is named with
its key and what was expected.
"""

from collections.abc import Mapping
from typing import Any, Final

from bgresp.core import paths
from bgresp.core.dialect import (
    ATTACH,
    BASE,
    IDEMPOTENCY,
    Auth,
    Dialect,
    Limits,
    Op,
    Reads,
    Streaming,
)
from bgresp.core.errors import ConfigError
from bgresp.core.model import Status

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_FREE: Final = ("request.body", "request.stream")
_WHOLE: Final = ("headers", "query")
_LISTS: Final = ("event", "cursor", "delta", "full", "object", "end")
_LISTS_ONLY: Final = ("auth.command", "limits.poll")
Table = Mapping[str, Any]


def build(name: str, tables: Mapping[str, Table]) -> Dialect:
    """Build the dialect `name` from the tables of all dialects.

    Raises ConfigError that names the dialect, the key and what was expected.
    """
    table = _inherited(name, tables, ())
    stream, limits = dict(table["stream"]), dict(table["limits"])
    limits["poll"] = tuple(limits["poll"])
    stream |= {key: _names(stream[key]) for key in _LISTS}
    try:
        _paths("stream", {key: stream[key] for key in ("event", "cursor", "object")})
        _check(stream, limits)
        return Dialect(
            name=name,
            base_url=table["base_url"],
            auth=Auth(**{**table["auth"], "command": tuple(table["auth"]["command"])}),
            headers=table["headers"],
            query=table["query"],
            ops={op: _op(op, text) for op, text in table["ops"].items() if text},
            body=table["request"]["body"],
            stream_body=table["request"]["stream"],
            reads=Reads(**_paths("response", table["response"])),
            states=_states(table["states"]),
            streaming=Streaming(**stream),
            limits=Limits(**limits),
        )
    except ValueError as error:
        raise ConfigError(f"dialect {name!r}: {error}") from None


def _inherited(
    name: str, tables: Mapping[str, Table], seen: tuple[str, ...]
) -> dict[str, Any]:
    if name not in tables:
        raise ConfigError(
            f"no dialect {name!r}", hint="known: " + ", ".join(sorted(tables))
        )
    if name in seen:
        raise ConfigError(f"dialect {name!r}: 'extends' leads back to itself")
    _must_be("table", tables[name], (name, "dialects." + name))
    table = dict(tables[name])
    parent = table.pop("extends", None if name == BASE else BASE)
    if parent is None:
        return table
    _must_be("text", parent, (name, "extends"))
    return _over(_inherited(parent, tables, (*seen, name)), table, (name, ""))


def _over(old: Table, new: Table, at: tuple[str, str]) -> dict[str, Any]:
    """Merge `new` over `old`, whose values also say which type is expected."""
    name, where = at
    result = dict(old)
    for key, value in new.items():
        path = f"{where}.{key}" if where else key
        if not any(f"{where}.".startswith(f"{free}.") for free in _FREE):
            _expect(old, key, value, (name, path))
        replaced = path in _WHOLE or (path == "request.body" and new.get("replace"))
        if isinstance(value, Mapping) and isinstance(old.get(key), Mapping):
            result[key] = value if replaced else _over(old[key], value, (name, path))
        else:
            result[key] = value
    return result


def _expect(old: Table, key: str, value: Any, at: tuple[str, str]) -> None:
    name, path = at
    if key not in old:
        raise ConfigError(
            f"dialect {name!r}: unknown key {path!r}",
            hint="expected one of " + ", ".join(sorted(old)),
        )
    wanted = _kind(old[key])
    if wanted == "list" and isinstance(value, str) and path not in _LISTS_ONLY:
        return
    _must_be(wanted, value, at)
    for item in value if wanted == "list" else ():
        _must_be("number" if path == "limits.poll" else "text", item, at)
    for entry, text in value.items() if path in _WHOLE else ():
        _must_be("text", text, (name, f"{path}.{entry}"))


def _must_be(wanted: str, value: Any, at: tuple[str, str]) -> None:
    name, path = at
    if (got := _kind(value)) != wanted:
        raise ConfigError(f"dialect {name!r}: {path!r} must be a {wanted}, not a {got}")


def _kind(value: Any) -> str:
    for kind, types in _KINDS.items():
        if isinstance(value, types):
            return kind
    return type(value).__name__


_KINDS: dict[str, tuple[type, ...]] = {
    "true or false": (bool,),  # before numbers: True is one
    "text": (str,),
    "number": (int, float),
    "list": (list, tuple),
    "table": (Mapping,),
}


def _check(stream: Table, limits: Table) -> None:
    if stream["attach"] not in ATTACH:
        raise ValueError(f"'stream.attach' is one of {', '.join(ATTACH)}")
    if limits["idempotency"] not in IDEMPOTENCY:
        raise ValueError(f"'limits.idempotency' is one of {', '.join(IDEMPOTENCY)}")
    poll = limits["poll"]
    if len(poll) != 2 or not 0 < poll[0] <= poll[1]:
        raise ValueError("'limits.poll' must be two numbers, low and high")
    if min(limits["connections"], limits["streams"]) < 1:
        raise ValueError("'limits.connections' and 'limits.streams' are 1 or more")
    kind, _, name = stream["resume"].partition(":")
    if stream["resume"] and (kind not in {"query", "header"} or not name):
        raise ValueError("'stream.resume' must be query:NAME or header:NAME")


def _op(op: str, text: str) -> Op:
    method, _, path = text.partition(" ")
    if method not in _METHODS or not path.startswith("/"):
        raise ValueError(f"'ops.{op}' must be 'METHOD /path', not {text!r}")
    return Op(method, path)


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _paths(where: str, table: Table) -> dict[str, tuple[str, ...]]:
    found = {key: _names(value) for key, value in table.items()}
    for key, names in found.items():
        try:
            _ = [paths.steps(path) for path in names]
        except ValueError as error:
            raise ValueError(f"'{where}.{key}': {error}") from None
    return found


def _states(table: Table) -> dict[str, Status]:
    return {word: Status(key) for key, words in table.items() for word in _names(words)}
