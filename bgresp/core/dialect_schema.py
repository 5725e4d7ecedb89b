"""Tables of TOML become a dialect: merged over those they extend, checked, then built.

The base dialect says which type each key has. A mistake is a ConfigError that names
the dialect, the key and what was expected.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bgresp.core.dialect import (
    ATTACH,
    BASE,
    EVENT_ID,
    EVENT_NAME,
    HTTP_STATUS,
    IDEMPOTENCY,
    PARTS,
    VAR,
    Auth,
    Dialect,
    Include,
    Items,
    Limits,
    Op,
    Reads,
    Streaming,
    TextEvents,
    holes,
    path_steps,
    unclosed,
)
from bgresp.core.errors import ConfigError
from bgresp.core.model import Status
from bgresp.core.text import did_you_mean, nearest

Table = Mapping[str, Any]
# Kinds of values that TOML has, in a reader's words.
TEXT: Final = "text"
SWITCH: Final = "true or false"
WHOLE: Final = "a whole number"
NUMBER: Final = "a number"
LIST: Final = "a list"
TABLE: Final = "a table"
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    SWITCH: (bool,),  # before numbers: True is one
    TEXT: (str,),
    NUMBER: (int, float),
    LIST: (list, tuple),
    TABLE: (Mapping,),
}
# Below these any key is the endpoint's own.
_FREE: Final = ("request.body", "request.stream", "answers")
# What is named here drops what was inherited: it belongs to another endpoint.
_WHOLE: Final = ("headers", "query")
_REPLACED: Final = (*_WHOLE, "answers")
_LISTS_ONLY: Final = ("auth.command", "limits.poll", "limits.tiers")
_ITEMS: Final = {"limits.poll": NUMBER, "limits.tiers": LIST}
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
AT_LEAST_1: Final = ("connections", "streams")
TOLD: Final = ("delta", "full", "refusal", "refused")
STREAM_LISTS: Final = ("event", "cursor", "part", "response", "item")
STREAM_WORDS: Final = ("begun", "grown", "end")
# Lists of [dialects.x.output] that hold words, not paths.
_WORDS: Final = ("messages", "reasoning", "calls", "approvals", "trailing", "waits")
# Holes that are no variables.
_BODY: Final = frozenset({"model", "text", *PARTS.values()})
_ANSWERS: Final = frozenset({"call_id", "name", "output", "json", "approve"})
_PATHS: Final = {
    "create": frozenset[str](),
    "list": frozenset({"limit", "after"}),
    "models": frozenset(),
    "file": frozenset({"container", "file"}),
}
_ID: Final = frozenset({"id"})
_NONE: Final = frozenset[str]()
_IN_PATH: Final = {"file": ("container", "file")}  # else the id, if a job has one
# Compiled when first needed: what is built in is not checked again.
_OP: Final = r"([A-Z]+) (/[!-~]*)"
_HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# Headers that say where a request goes and how long it is: the connection's own.
_CONNECTION: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "upgrade"}
)
_DOTS: Final = r"(?i)/(\.|%2e){1,2}(/|\?|$)"
_VARIABLE: Final = r"[A-Za-z0-9_.-]+"


class _Key:
    """Which key of which dialect a message is about."""

    __slots__ = ("dialect", "path")

    def __init__(self, dialect: str, path: str = "") -> None:
        self.dialect = dialect
        self.path = path

    def below(self, name: str) -> "_Key":
        return _Key(self.dialect, f"{self.path}.{name}" if self.path else name)

    def __str__(self) -> str:
        return f"dialect {self.dialect!r}: {self.path!r}"


def build(name: str, tables: Mapping[str, Table], *, checked: bool = False) -> Dialect:
    """Build the dialect `name` from the tables of all dialects.

    `checked`: it is known to pass the checks, which cost more than the rest. Raises
    ConfigError that names the dialect, the key and what was expected.
    """
    table = _inherited(name, tables, ())
    try:
        if not checked:
            _check(table)
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
            reads=_reads(table["response"]),
            items=_items(table["output"], table["response"]),
            answers=table["answers"],
            include=Include(
                query=table["include"]["query"], never=_names(table["include"]["never"])
            ),
            webhook=table["webhook"],
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
        raise ConfigError(f"{by}no dialect {name!r}", hint=_expected(name, tables))
    if name in seen:
        circle = " extends ".join((*seen[seen.index(name) :], name))
        raise ConfigError(f"dialect {name!r}: 'extends' leads back to itself: {circle}")
    _must_be(TABLE, tables[name], _Key(name, "dialects." + name))
    table = dict(tables[name])
    parent = table.pop("extends", None if name == BASE else BASE)
    if parent is None:
        return table
    _must_be(TEXT, parent, _Key(name, "extends"))
    return _over(_inherited(parent, tables, (*seen, name)), table, _Key(name))


def _over(old: Table, new: Table, at: _Key) -> dict[str, Any]:
    """Merge `new` over `old`, whose values also say which type is expected."""
    result = dict(old)
    for name, value in new.items():
        key = at.below(name)
        if not any(f"{at.path}.".startswith(f"{free}.") for free in _FREE):
            _check_type(old, name, value, key)
        is_whole = key.path in _REPLACED or (
            key.path == "request.body" and new.get("replace")
        )
        if isinstance(value, Mapping) and isinstance(old.get(name), Mapping):
            result[name] = value if is_whole else _over(old[name], value, key)
        else:
            result[name] = value
    return result


def _check_type(old: Table, name: str, value: Any, key: _Key) -> None:
    if name not in old:
        said = f"dialect {key.dialect!r}: unknown key {key.path!r}"
        raise ConfigError(said, hint=_expected(name, old))
    wanted = kind(old[name])
    if wanted == LIST and isinstance(value, str) and key.path not in _LISTS_ONLY:
        return
    _must_be(wanted, value, key)
    for item in value if wanted == LIST else ():
        _must_be(_ITEMS.get(key.path, TEXT), item, key)
    for entry, text in value.items() if key.path in _WHOLE else ():
        _must_be(TEXT, text, key.below(entry))


def _expected(name: str, names: Iterable[str]) -> str:
    """Say which names there are, and first the one that was probably meant."""
    return did_you_mean(name, names) + "expected one of " + ", ".join(sorted(names))


def _must_be(wanted: str, value: Any, key: _Key) -> None:
    if (got := kind(value)) != wanted:
        raise ConfigError(f"{key} must be {wanted}, not {got}")


def _op(text: str) -> Op:
    method, _, path = text.partition(" ")
    return Op(method, path)


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _reads(table: Table) -> Reads:
    """Return where things are but the text: that is one with the answer's items."""
    return Reads(**{key: _names(v) for key, v in table.items() if key != "text"})


def _items(table: Table, response: Table) -> Items:
    lists: dict[str, Any] = {key: _names(value) for key, value in table.items()}
    calls = tuple(_caller_runs(word) for word in lists["calls"])
    return Items(**{**lists, "calls": calls, "elsewhere": _names(response["text"])})


def _caller_runs(word: str) -> tuple[str, str, tuple[str, ...]]:
    """Read `TYPE`, or `TYPE PATH=VALUE|VALUE`: an empty value is that of none."""
    kind, _, condition = word.partition(" ")
    path, _, values = condition.partition("=")
    return kind, path, tuple(values.split("|"))


def _streaming(table: Table) -> Streaming:
    told = {
        key: TextEvents(_names(table[key]["events"]), _names(table[key]["text"]))
        for key in TOLD
    }
    lists = {key: _names(table[key]) for key in (*STREAM_LISTS, *STREAM_WORDS)}
    return Streaming(**{**table, **lists, **told})


def _limits(table: Table) -> Limits:
    tiers = tuple((upto, wait) for upto, wait in table["tiers"])
    whole = {key: int(table[key]) for key in AT_LEAST_1}
    return Limits(**{**table, **whole, "poll": tuple(table["poll"]), "tiers": tiers})


def _states(table: Table) -> dict[str, Status]:
    return {word: Status(key) for key, words in table.items() for word in _names(words)}


def kind(value: Any) -> str:
    """Say what a value is, as in `must be text, not a number`."""
    for name, types in _TYPES.items():
        if isinstance(value, types):
            return name
    return "a date or time"


def fits(value: Any, wanted: str) -> bool:
    """Say whether a value is of a kind; a whole number is a number too."""
    if wanted == WHOLE:
        return type(value) is int
    return kind(value) == wanted


def _check(table: Table) -> None:
    """Refuse what cannot be meant."""
    _check_templates(table)
    _check_ops(table["ops"])
    _check_paths(table["response"], "response", {"status": HTTP_STATUS})
    read = {key: v for key, v in table["output"].items() if key not in _WORDS}
    _check_paths(read, "output", {})
    calls = map(_caller_runs, _names(table["output"]["calls"]))
    _check_paths({"calls": [path for _, path, _ in calls]}, "output", {})
    stream = table["stream"]
    special = {"event": EVENT_NAME, "cursor": EVENT_ID}
    told = {key: stream[key] for key in STREAM_LISTS}
    _check_paths(told, "stream", special)
    for key in TOLD:
        _check_paths({"text": stream[key]["text"]}, f"stream.{key}", {})
    _check_stream(stream)
    if len(set(map(bool, table["webhook"].values()))) > 1:
        raise ValueError("'webhook' needs both: url and secret, or neither")
    _check_states(table["states"])
    _check_limits(table["limits"])


def _check_templates(table: Table) -> None:
    _check_holes(table["base_url"], "base_url", _NONE)
    for where in ("headers", "query"):
        for name, template in table[where].items():
            _check_holes(template, f"{where}.{name}", _NONE)
    for name in table["headers"]:
        _check_header(name, f"headers.{name}")
    _check_header(table["auth"]["header"], "auth.header")
    _check_holes(table["auth"]["value"], "auth.value", frozenset({"key"}))
    if "{key}" not in table["auth"]["value"]:
        raise ValueError("'auth.value' must have {key} in it")
    for name in _names(table["require"]):
        if not re.fullmatch(_VARIABLE, name):
            raise ValueError(f"'require': {name!r} is not the name of a variable")
    for key, template in table["request"]["body"].items():
        _check_holes(template, f"request.body.{key}", _BODY)
    for key, template in table["answers"].items():
        _check_holes(template, f"answers.{key}", _ANSWERS)
    for key, template in table["request"]["stream"].items():
        _check_holes(template, f"request.stream.{key}", _NONE)


def _check_header(name: str, where: str) -> None:
    if not re.fullmatch(_HEADER, name):
        raise ValueError(f"{where!r}: {name!r} is not the name of an HTTP header")
    if name.lower() in _CONNECTION:
        raise ValueError(f"{where!r}: {name!r} is the connection's own")


def _check_holes(template: Any, where: str, allowed: frozenset[str]) -> None:
    """Refuse a placeholder that nothing would ever fill, and half of one."""
    half = unclosed(template)
    if half is not None:
        raise ValueError(f"{where!r}: unclosed placeholder {half!r}")
    for hole in sorted(holes(template)):
        if hole in allowed or (hole.startswith(VAR) and hole != VAR):
            continue
        names = [*sorted(allowed), VAR + "NAME"]
        close = nearest(hole.lower(), names)
        meant = "" if close is None else f" (did you mean {{{close}}}?)"
        expected = ", ".join(f"{{{name}}}" for name in names)
        said = f"{where!r}: unknown placeholder {{{hole}}}{meant}, expected {expected}"
        raise ValueError(said)


def _check_ops(ops: Table) -> None:
    for op, text in ops.items():
        if not text and op in {"create", "get"}:
            raise ValueError(f"'ops.{op}' must not be empty: no job goes without it")
        if not text:
            continue
        match = re.fullmatch(_OP, text)
        if not match or match[1] not in METHODS:
            expected = f"METHOD /path with one of {', '.join(METHODS)}"
            raise ValueError(f"'ops.{op}' must be {expected}, not {text!r}")
        if re.search(_DOTS, match[2]):
            raise ValueError(f"'ops.{op}': its path must not leave the base URL")
        _check_holes(text, f"ops.{op}", _PATHS.get(op, _ID))
        for hole in _IN_PATH.get(op, () if op in _PATHS else ("id",)):
            if f"{{{hole}}}" not in text:
                raise ValueError(f"'ops.{op}' must have {{{hole}}} in its path")


def _check_paths(table: Table, where: str, special: Mapping[str, str]) -> None:
    for key, value in table.items():
        for path in _names(value):
            try:
                if path != special.get(key):
                    path_steps(path)
            except ValueError as error:
                raise ValueError(f"'{where}.{key}': {error}") from None


def _check_stream(stream: Table) -> None:
    _one_of("stream.attach", stream["attach"], ATTACH)
    kind, _, name = stream["resume"].partition(":")
    if stream["resume"] and (kind not in {"query", "header"} or not name):
        raise ValueError("'stream.resume' must be query:NAME or header:NAME")
    if kind == "header":
        _check_header(name, "stream.resume")
    if not stream["start"].isprintable() or not stream["start"].isascii():
        raise ValueError("'stream.start' must be printable ASCII")
    if len(_names(stream["part"])) > 2:
        raise ValueError("'stream.part' takes two paths: of the item, of its part")
    for key in ("idle_bytes", "idle_events"):
        if not 0 < stream[key] < math.inf:
            raise ValueError(f"'stream.{key}' must be more than 0 seconds")


def _check_states(states: Table) -> None:
    meant: dict[str, str] = {}
    for status, words in states.items():
        for word in _names(words):
            other = meant.setdefault(word, status)
            if other != status:
                said = f"'states.{status}': {word!r} stands for {other!r} already"
                raise ValueError(said)


def _check_limits(limits: Table) -> None:
    _one_of("limits.idempotency", limits["idempotency"], IDEMPOTENCY)
    poll = limits["poll"]
    if len(poll) != 2 or not 0 < poll[0] <= poll[1] < math.inf:
        raise ValueError("'limits.poll' must be two numbers of seconds, low and high")
    _check_tiers(limits["tiers"])
    for key in AT_LEAST_1:
        if limits[key] < 1 or limits[key] != limits[key] // 1:
            raise ValueError(f"'limits.{key}' must be a whole number, 1 or more")
    for key in ("rate", "retention_stored", "retention_unstored", "max_run"):
        if not 0 <= limits[key] < math.inf:
            raise ValueError(f"'limits.{key}' must be 0 or more")


def _check_tiers(tiers: Iterable[Any]) -> None:
    before = 0.0
    for tier in tiers:
        numbers = [n for n in tier if type(n) in {int, float} and 0 < n < math.inf]
        if len(tier) != 2 or len(numbers) != 2 or tier[0] <= before:
            expected = "[age up to, seconds between polls], ages rising"
            raise ValueError(f"'limits.tiers' must be pairs {expected}")
        before = tier[0]


def _one_of(where: str, value: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise ValueError(f"{where!r} must be one of {', '.join(values)}")
