"""Tables of TOML become a dialect: merged over those they extend, then built.

A mistake is named with its key and what was expected; the base dialect says which type
each key has.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bgresp.core import rules
from bgresp.core.dialect import (
    BASE,
    Auth,
    Dialect,
    Limits,
    Op,
    Reads,
    Streaming,
    Told,
)
from bgresp.core.errors import ConfigError
from bgresp.core.kinds import LIST, NUMBER, TABLE, TEXT, kind
from bgresp.core.model import Status
from bgresp.core.text import did_you_mean

# Below these any key is the endpoint's own.
_FREE: Final = ("request.body", "request.stream")
# What is named here drops what was inherited: it belongs to another endpoint.
_WHOLE: Final = ("headers", "query")
_LISTS_ONLY: Final = ("auth.command", "limits.poll", "limits.tiers")
_ITEMS: Final = {"limits.poll": NUMBER, "limits.tiers": LIST}
Table = Mapping[str, Any]


def build(name: str, tables: Mapping[str, Table]) -> Dialect:
    """Build the dialect `name` from the tables of all dialects.

    Raises ConfigError that names the dialect, the key and what was expected.
    """
    table = _inherited(name, tables, ())
    try:
        rules.check(table)
        return Dialect(
            name=name,
            base_url=table["base_url"],
            auth=Auth(**{**table["auth"], "command": tuple(table["auth"]["command"])}),
            headers=table["headers"],
            query=table["query"],
            require=_names(table["require"]),
            ops={op: _op(text) for op, text in table["ops"].items() if text},
            body=table["request"]["body"],
            stream_body=table["request"]["stream"],
            reads=Reads(**{key: _names(v) for key, v in table["response"].items()}),
            states=_states(table["states"]),
            streaming=_streaming(table["stream"]),
            limits=_limits(table["limits"]),
        )
    except ValueError as error:
        raise ConfigError(f"dialect {name!r}: {error}") from None


def _inherited(
    name: str, tables: Mapping[str, Table], seen: tuple[str, ...]
) -> dict[str, Any]:
    if name not in tables:
        by = f"dialect {seen[-1]!r}: 'extends' names " if seen else ""
        raise ConfigError(f"{by}no dialect {name!r}", hint=_known(name, tables))
    if name in seen:
        circle = " extends ".join((*seen[seen.index(name) :], name))
        raise ConfigError(f"dialect {name!r}: 'extends' leads back to itself: {circle}")
    _must_be(TABLE, tables[name], (name, "dialects." + name))
    table = dict(tables[name])
    parent = table.pop("extends", None if name == BASE else BASE)
    if parent is None:
        return table
    _must_be(TEXT, parent, (name, "extends"))
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
        said = f"dialect {name!r}: unknown key {path!r}"
        raise ConfigError(said, hint=_known(key, old))
    wanted = kind(old[key])
    if wanted == LIST and isinstance(value, str) and path not in _LISTS_ONLY:
        return
    _must_be(wanted, value, at)
    for item in value if wanted == LIST else ():
        _must_be(_ITEMS.get(path, TEXT), item, at)
    for entry, text in value.items() if path in _WHOLE else ():
        _must_be(TEXT, text, (name, f"{path}.{entry}"))


def _known(name: str, names: Iterable[str]) -> str:
    """Say which names there are, and first the one that was probably meant."""
    return did_you_mean(name, names) + "expected one of " + ", ".join(sorted(names))


def _must_be(wanted: str, value: Any, at: tuple[str, str]) -> None:
    name, path = at
    if (got := kind(value)) != wanted:
        raise ConfigError(f"dialect {name!r}: {path!r} must be {wanted}, not {got}")


def _op(text: str) -> Op:
    method, _, path = text.partition(" ")
    return Op(method, path)


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _streaming(table: Table) -> Streaming:
    told = {
        key: Told(_names(table[key]["events"]), _names(table[key]["text"]))
        for key in ("delta", "full")
    }
    lists = {key: _names(table[key]) for key in rules.STREAM_LISTS}
    return Streaming(**{**table, **lists, **told})


def _limits(table: Table) -> Limits:
    tiers = tuple((upto, wait) for upto, wait in table["tiers"])
    whole = {key: int(table[key]) for key in rules.AT_LEAST_1}
    return Limits(**{**table, **whole, "poll": tuple(table["poll"]), "tiers": tiers})


def _states(table: Table) -> dict[str, Status]:
    return {word: Status(key) for key, words in table.items() for word in _names(words)}
