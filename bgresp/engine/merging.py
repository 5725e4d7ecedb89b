"""Take in what another ledger says of jobs: by rank, and as often as one likes."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from bgresp.core.errors import UsageError
from bgresp.core.model import (
    RECORD_FIELDS,
    SCHEMA,
    Job,
    Status,
    check_names,
    may_be_key,
)
from bgresp.core.reading import is_id
from bgresp.core.times import unix
from bgresp.engine.books import Books

_MAPPINGS: Final = ("labels", "usage", "error")
_TIMES: Final = ("created_at", "submitted_at", "finished_at", "checked_at")
_TEXTS: Final = (
    *("id", "name", "group", "profile", "base_url", "model", "raw_status"),
    *("incomplete_reason", "retry_of", "previous_id", "request_sha256", "submit_key"),
    *("row", "last_error"),
)
# What belongs to a status, and says nothing beside another one.
_OF_STATUS: Final = frozenset(
    {"error", "incomplete_reason", "last_error", "raw_status"}
)


def read(line: bytes) -> Job:
    """Read a line of `list --jsonl`.

    A submit that was under way there is one without a known outcome here. Raises
    UsageError.
    """
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict) or table.get("schema") != SCHEMA:
        raise UsageError("not a job's record", hint="bgresp list --all --jsonl")
    _check(table)
    known = {name: table[name] for name in _TAKEN & table.keys()}
    job = Job.from_line(known)
    check_names(job)
    if job.status is Status.SUBMITTING:
        job = replace(job, status=Status.UNKNOWN)
    return replace(job, streamable=True if job.cursor is not None else None)


def take(books: Books, job: Job) -> tuple[Job | None, Job]:
    """Record a foreign job; return what the ledger had of it, and what it has now.

    Raises LedgerError.
    """
    ledger = books.ledger
    mine = ledger.by_key(job.key)
    if mine is None and job.id is not None:
        twin = ledger.by_id(job.id)
        mine = twin if twin is not None and twin.base_url == job.base_url else None
    if mine is None:
        return None, ledger.record(job)
    both = united(mine, job)
    return mine, mine if both == mine else ledger.record(both)


def united(mine: Job, theirs: Job) -> Job:
    """Return what holds of a job that two ledgers know: the higher rank.

    Of equal ranks the one that was asked later; what one does not know the other adds.
    """
    newer = (theirs.status.rank, theirs.checked_at or 0.0) > (
        *(mine.status.rank, mine.checked_at or 0.0),
    )
    first, second = (theirs, mine) if newer else (mine, theirs)
    added = {
        name: getattr(second, name)
        for name in _FIELDS - _OF_STATUS
        if not getattr(first, name) and getattr(second, name)
    }
    extra = {**second.extra, **first.extra}
    both = replace(first, **{**added, "key": mine.key, "extra": extra})
    cursors = [c for c in (mine.cursor, theirs.cursor) if isinstance(c, int)]
    return replace(both, cursor=max(cursors)) if cursors else both


def _check(table: Mapping[str, Any]) -> None:
    """Refuse what would not be a record of ours, or name a file."""
    key, status = table.get("key"), table.get("status")
    if not may_be_key(key):
        raise UsageError("key: not a job's key")
    if not isinstance(status, str) or status not in set(Status):
        raise UsageError(f"status: {str(status)[:40]!r} is not known here")
    for name in _TEXTS + _TIMES:
        if not isinstance(table.get(name), str | None):
            raise UsageError(f"{name}: must be text")
    for name in _MAPPINGS:
        if not isinstance(table.get(name), dict | None):
            raise UsageError(f"{name}: must be an object")
    if not isinstance(table.get("cursor"), str | int | None):
        raise UsageError("cursor: must be a number or text")
    _check_values(table)


def _check_values(table: Mapping[str, Any]) -> None:
    if table.get("id") is not None and not is_id(table["id"]):
        raise UsageError("id: not an id of an endpoint")
    for name in _TIMES:
        if table.get(name) is not None and unix(table[name]) is None:
            raise UsageError(f"{name}: {table[name][:40]!r} is not RFC 3339")


_FIELDS: Final = frozenset(item.name for item in fields(Job)) - {"extra"}
_TAKEN: Final = _FIELDS & set(RECORD_FIELDS) - {"output_path"}
