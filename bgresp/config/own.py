"""A dialect of the user's own, as a job keeps it: whatever becomes of config.toml."""

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

    Values of headers and of the query that are no template may be secrets: they are
    left to the configuration.
    """
    found: dict[str, Table] = {}
    while name in config.dialects and name not in found:
        table = config.dialects[name]
        safe = {key: _safe(key, value) for key, value in table.items()}
        found[name] = json.loads(json.dumps(safe, default=str))
        name = str(table.get("extends", "openai"))
    return found


def of_job(job: Job, config: Config) -> Config:
    """Return the configuration with the dialects that a job was made with."""
    stored = job.extra.get(DIALECTS)
    if job.dialect in built_in() or not isinstance(stored, Mapping):
        return config
    tables = {str(name): _with(table, config, name) for name, table in stored.items()}
    return replace(config, dialects={**config.dialects, **tables})


def to_read(job: Job, load: Callable[[], Config]) -> Config:
    """Return what it takes to read a job's answer; the user's files only if needed.

    Raises what `load` raises.
    """
    if (job.dialect or "openai") in built_in():
        return Config(Path())
    if isinstance(job.extra.get(DIALECTS), Mapping):
        return of_job(job, Config(Path()))
    return load()


def _safe(key: str, value: Any) -> Any:
    if key not in _MAY_BE_SECRET or not isinstance(value, Mapping):
        return value
    return {name: text for name, text in value.items() if "{" in str(text)}


def _with(table: Table, config: Config, name: str) -> Table:
    """Return a stored table with what only the configuration says."""
    now = config.dialects.get(name, {})
    merged = dict(table)
    for key in _MAY_BE_SECRET:
        if isinstance(now.get(key), Mapping) and isinstance(table.get(key), Mapping):
            literal = {k: v for k, v in now[key].items() if "{" not in str(v)}
            merged[key] = {**literal, **table[key]}
    return merged
