"""What a dialect's table must say beyond the types of its values.

Raises ValueError that names the key, and what was expected.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bgresp.core import paths
from bgresp.core.dialect import (
    ATTACH,
    EVENT_ID,
    EVENT_NAME,
    HTTP_STATUS,
    IDEMPOTENCY,
    PARTS,
    VAR,
    holes,
    unclosed,
)
from bgresp.core.text import nearest

Table = Mapping[str, Any]
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
AT_LEAST_1: Final = ("connections", "streams")
STREAM_LISTS: Final = ("event", "cursor", "part", "response", "end")
# Holes that are no variables.
_BODY: Final = frozenset({"model", "text", *PARTS.values()})
_PATHS: Final = {
    "create": frozenset[str](),
    "list": frozenset({"limit", "after"}),
}
_ID: Final = frozenset({"id"})
_NONE: Final = frozenset[str]()
_OP: Final = re.compile(r"([A-Z]+) (/[!-~]*)")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE: Final = re.compile(r"[A-Za-z0-9_.-]+")


def check(table: Table) -> None:
    """Refuse what cannot be meant."""
    _check_templates(table)
    _check_ops(table["ops"])
    _check_paths(table["response"], "response", {"status": HTTP_STATUS})
    stream = table["stream"]
    special = {"event": EVENT_NAME, "cursor": EVENT_ID}
    read = {key: stream[key] for key in STREAM_LISTS if key != "end"}
    _check_paths(read, "stream", special)
    for key in ("delta", "full"):
        _check_paths({"text": stream[key]["text"]}, f"stream.{key}", {})
    _check_stream(stream)
    _check_states(table["states"])
    _check_limits(table["limits"])


def _check_templates(table: Table) -> None:
    _known(table["base_url"], "base_url", _NONE)
    for where in ("headers", "query"):
        for name, template in table[where].items():
            _known(template, f"{where}.{name}", _NONE)
    for name in table["headers"]:
        _check_header(name, f"headers.{name}")
    _check_header(table["auth"]["header"], "auth.header")
    _known(table["auth"]["value"], "auth.value", frozenset({"key"}))
    if "{key}" not in table["auth"]["value"]:
        raise ValueError("'auth.value' must have {key} in it")
    for name in _listed(table["require"]):
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"'require': {name!r} is no name of a variable")
    for key, template in table["request"]["body"].items():
        _known(template, f"request.body.{key}", _BODY)
    for key, template in table["request"]["stream"].items():
        _known(template, f"request.stream.{key}", _NONE)


def _check_header(name: str, where: str) -> None:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{where!r}: {name!r} is no name of an HTTP header")


def _known(template: Any, where: str, allowed: frozenset[str]) -> None:
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
        match = _OP.fullmatch(text)
        if not match or match[1] not in METHODS:
            expected = f"METHOD /path with one of {', '.join(METHODS)}"
            raise ValueError(f"'ops.{op}' must be {expected}, not {text!r}")
        _known(text, f"ops.{op}", _PATHS.get(op, _ID))
        if op not in _PATHS and "{id}" not in text:
            raise ValueError(f"'ops.{op}' must have {{id}} in its path")


def _check_paths(table: Table, where: str, special: Mapping[str, str]) -> None:
    for key, value in table.items():
        for path in _listed(value):
            try:
                if path != special.get(key):
                    paths.steps(path)
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
    if len(_listed(stream["part"])) > 2:
        raise ValueError("'stream.part' takes two paths: of the item, of its part")
    for key in ("idle_bytes", "idle_events"):
        if not 0 < stream[key] < math.inf:
            raise ValueError(f"'stream.{key}' must be more than 0 seconds")


def _check_states(states: Table) -> None:
    meant: dict[str, str] = {}
    for status, words in states.items():
        for word in _listed(words):
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


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
