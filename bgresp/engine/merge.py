"""Take in what another ledger says of jobs: by rank, and as often as one likes.

Its word is taken for how a job stands, never for where it runs: what a job that is
known here was made with does not change.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgresp.config import urls
from bgresp.config.urls import is_same_url
from bgresp.core.errors import ConfigError, UsageError
from bgresp.core.model import RECORD_FIELDS, SCHEMA, Job, Status, check_names
from bgresp.core.reading import is_id
from bgresp.core.text import one_line
from bgresp.core.times import rfc3339, unix
from bgresp.engine.recorder import Recorder
from bgresp.ledger.line import is_key

_MAPPINGS: Final = ("labels", "usage", "error")
_TIMES: Final = tuple(name for name in RECORD_FIELDS if name.endswith("_at"))
_TEXTS: Final = (
    *("id", "name", "group", "profile", "base_url", "model", "raw_status"),
    *("incomplete_reason", "retry_of", "previous_id", "request_sha256", "submit_key"),
    *("row", "last_error", "ended_with", "refusal", "model_asked"),
)
# What belongs to a status, and says nothing beside another one.
_OF_STATUS: Final = frozenset(
    {"error", "incomplete_reason", "last_error", "raw_status"}
)
# What a job was made with: a record that says otherwise is of another job.
_FIXED: Final = ("id", "base_url", "profile", "submitted_at")
# What a job of ours has at no time from a record, whatever that says.
_OURS: Final = frozenset({"key", "base_url", "profile", "dialect", "vars", "extra"})
# What says how a job stands, and follows the further state.
_STANDING: Final = frozenset(
    {"status", "checked_at", "expires_at", "usage", "started_at"}
)
# When it ended, and whether that was told: of one and the same record.
_END: Final = ("finished_at", "noticed")


@dataclass(frozen=True, slots=True)
class Record:
    """A job as another ledger tells of it; `made_with` is what else it was made with.

    That is its dialect and variables, where the record has them: no export does.
    """

    job: Job
    made_with: Mapping[str, Any]


def read(line: bytes) -> Record:
    """Read a line of `list --jsonl`.

    A submit that was under way there is one without a known outcome here. Raises
    UsageError that names the field.
    """
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict) or table.get("schema") != SCHEMA:
        raise UsageError("not a job's record", hint="bgresp list --all --jsonl")
    _check(table)
    known = {name: table[name] for name in _TAKEN & table.keys()}
    if table.get("finished_at") is not None and table.get("took_exact") is False:
        known["noticed"] = True
    try:
        job = Job.from_line(known)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"not a job's record: {one_line(str(error))}") from None
    check_names(job)
    if job.status is Status.SUBMITTING:
        job = job._replace(status=Status.UNKNOWN)
    job = job._replace(streamable=True if job.cursor is not None else None)
    return Record(job, {k: table[k] for k in ("dialect", "vars") if table.get(k)})


def take(recorder: Recorder, record: Record) -> tuple[Job | None, Job]:
    """Record a foreign job; return what the ledger had of it, and what it has now.

    One that was forgotten here stays so. Raises UsageError that names the field where
    it is refused, LedgerError.
    """
    ledger, theirs = recorder.ledger, record.job
    if ledger.is_ahead(theirs.key):
        raise UsageError("key: more than a day ahead of the clock")
    if ledger.is_forgotten(theirs.key):
        return theirs, theirs
    mine = ledger.by_key(theirs.key)
    if mine is not None:
        _check_same(mine, record)
    if theirs.id is not None and (mine is None or mine.id is None):
        twin = ledger.by_id(theirs.id)
        if twin is not None and (mine is not None or not _is_twin(twin, theirs)):
            where = twin.base_url or "nowhere"
            said = f"id: it is of another job here, {twin.key} at {where}"
            raise UsageError(said, hint=f"bgresp status {twin.key} --json")
        mine = mine or twin
    if mine is None:
        return None, ledger.record(theirs)
    both = united(mine, theirs)
    return mine, mine if both == mine else ledger.record(both)


def united(mine: Job, theirs: Job) -> Job:
    """Return what holds of a job that two ledgers know: the higher rank.

    Of equal ranks the one that was asked later. What a job was made with is ours; what
    we do not know the other adds. That one was not sent is ours alone to say: no other
    machine can know.
    """
    mark = (theirs.status.rank, theirs.checked_at or 0.0)
    newer = mark > (mine.status.rank, mine.checked_at or 0.0)
    if theirs.status is Status.REJECTED and mine.status.is_unsettled:
        newer = False
    first, second = (theirs, mine) if newer else (mine, theirs)
    stands = {name: getattr(first, name) for name in _OF_STATUS}
    for name in _STANDING:
        value = getattr(first, name)
        stands[name] = value if value is not None else getattr(second, name)
    ended = first if first.finished_at is not None else second
    stands |= {name: getattr(ended, name) for name in _END}
    added = {
        name: getattr(theirs, name)
        for name in _FIELDS - _OURS
        if not getattr(mine, name) and getattr(theirs, name)
    }
    if mine.dialect is None:  # then this machine's configuration says it now
        added |= {"dialect": theirs.dialect, "vars": theirs.vars}
        added["extra"] = {**theirs.extra, **mine.extra}
    both = mine._replace(**{**added, **stands})
    cursors = [c for c in (mine.cursor, theirs.cursor) if isinstance(c, int)]
    return both._replace(cursor=max(cursors)) if cursors else both


def _is_twin(mine: Job, theirs: Job) -> bool:
    """Say whether two jobs of one id are one job that two machines know."""
    return is_same_url(mine.base_url, theirs.base_url)


def _check_same(mine: Job, record: Record) -> None:
    """Refuse a record that says of a known job that it was made otherwise."""
    theirs = record.job
    for name in _FIXED:
        ours, said = getattr(mine, name), getattr(theirs, name)
        same = is_same_url(ours, said) if name == "base_url" else ours == said
        if ours is not None and said is not None and not same:
            raise _other(name, said, mine)
    for name, value in record.made_with.items():
        if value != getattr(mine, name):
            raise _other(name, value, mine)


def _other(name: str, said: Any, mine: Job) -> UsageError:
    shown = rfc3339(said) if isinstance(said, float) else said
    return UsageError(
        f"{name}: {one_line(str(shown), limit=80)!r} is not what {mine.key} has here",
        hint=f"bgresp status {mine.key} --json",
    )


def _check(table: Mapping[str, Any]) -> None:
    """Refuse what would not be a record of ours, or name a file."""
    key, status = table.get("key"), table.get("status")
    if not isinstance(key, str) or not is_key(key):
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
    if not isinstance(table.get("took_exact"), bool | None):
        raise UsageError("took_exact: must be true or false")
    _check_values(table)


def _check_values(table: Mapping[str, Any]) -> None:
    if table.get("id") is not None and not is_id(table["id"]):
        raise UsageError("id: not an id of an endpoint")
    if table.get("base_url") is not None:
        try:
            urls.check(table["base_url"], keyed=False, allow_http=True)
        except ConfigError as error:
            raise UsageError(f"base_url: {error.message}") from None
    for name in _TIMES:
        if table.get(name) is not None and unix(table[name]) is None:
            raise UsageError(f"{name}: {table[name][:40]!r} is not RFC 3339")


_FIELDS: Final = frozenset(Job._fields) - {"extra"}
_TAKEN: Final = _FIELDS & set(RECORD_FIELDS) - {"output_path"}
