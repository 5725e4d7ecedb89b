"""A dialect of the user's own, as a job keeps it: whatever becomes of config.toml."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bgresp.config.files import Config, Table, built_in
from bgresp.core.model import Job

DIALECTS: Final = "dialects"
_MAY_BE_SECRET: Final = ("headers", "query")


def kept(name: str, config: Config) -> dict[str, Table]:
    """Return the tables that a dialect of the user's is made of, by name.

    Values of headers and of the query that are no template may be secrets, and a
    command is run: they are left to the configuration.
    """
    found: dict[str, Table] = {}
    while name in config.dialects and name not in found:
        table = config.dialects[name]
        safe = {key: _safe(key, value) for key, value in table.items()}
        found[name] = json.loads(json.dumps(safe, default=str))
        name = str(table.get("extends", "openai"))
    return found


def of_job(job: Job, noted: frozenset[str]) -> Mapping[str, Table]:
    """Return the tables that a job keeps, where they were noted on this machine.

    Else none: then it is spoken to as the configuration says of the dialect now.
    """
    stored = _stored(job)
    return stored if stored is not None and digest(stored) in noted else {}


def joined(
    config: Config, tables: Mapping[str, Table], *, lent: frozenset[str]
) -> Config:
    """Return the configuration with the tables that a job keeps over its dialects.

    What may be secret goes with the dialects that are `lent` to the job, no others.
    """
    ours = {name: _given(t, name in lent) for name, t in config.dialects.items()}
    for name, table in tables.items():
        now = config.dialects.get(name, {}) if name in lent else {}
        ours[name] = _with(table, now)
    return replace(config, dialects=ours)


def digest(tables: Mapping[str, Table]) -> str:
    """Return what tells the tables of a dialect from all others."""
    text = json.dumps(tables, ensure_ascii=True, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def chain(name: str, config: Config) -> frozenset[str]:
    """Return a dialect of the user's and those that it is made from."""
    found: set[str] = set()
    while name in config.dialects and name not in found:
        found.add(name)
        name = str(config.dialects[name].get("extends", "openai"))
    return frozenset(found)


def to_read(job: Job, load: Callable[[], Config]) -> Config:
    """Return what it takes to read a job's answer; the user's files only if needed.

    To read is to trust nobody: no request is made from it. Raises what `load` raises.
    """
    if (job.dialect or "openai") in built_in():
        return Config(Path())
    stored = _stored(job)
    return load() if stored is None else Config(Path(), dialects=stored)


def _stored(job: Job) -> Mapping[str, Table] | None:
    """Return the tables that a job keeps; None where they are no dialect's."""
    stored: Any = job.extra.get(DIALECTS)
    if job.dialect in built_in() or not isinstance(stored, Mapping):
        return None
    if stored.keys() & built_in().keys():
        return None
    return stored if all(isinstance(t, Mapping) for t in stored.values()) else None


def _safe(key: str, value: Any) -> Any:
    if key == "auth" and isinstance(value, Mapping):
        return {name: given for name, given in value.items() if name != "command"}
    if key not in _MAY_BE_SECRET or not isinstance(value, Mapping):
        return value
    return {name: text for name, text in value.items() if "{" in str(text)}


def _given(table: Table, is_lent: bool) -> Table:
    """Return a table of the configuration without what it must not lend."""
    return table if is_lent else {key: _safe(key, v) for key, v in table.items()}


def _with(table: Table, now: Table) -> Table:
    """Return a stored table with what only the configuration says."""
    merged = dict(table)
    for key in _MAY_BE_SECRET:
        if isinstance(now.get(key), Mapping) and isinstance(table.get(key), Mapping):
            literal = {k: v for k, v in now[key].items() if "{" not in str(v)}
            merged[key] = {**literal, **table[key]}
    return merged
