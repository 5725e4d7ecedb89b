"""A job's record after news of it: pure."""

from typing import TYPE_CHECKING, Final

from bgresp.core.model import Job, Status
from bgresp.core.output import MOST_REFUSED, Answer
from bgresp.core.signals import Fault, FaultKind, Reading

if TYPE_CHECKING:
    from bgresp.core.dialect import Limits

# When a 404 is believed, in seconds after the first one and in passes.
MISSED_ALONE: Final = 60.0
MISSED_TOGETHER: Final = 600.0
PASSES: Final = 3
# How often, and for how long where nobody says when it expires, one is asked about.
LOST_AGAIN: Final = 3600.0
LOST_FOR: Final = 86400.0


def accepted(job: Job, reading: Reading, *, now: float, limits: "Limits") -> Job:
    """Return the record of a submit that the endpoint took."""
    taken = job._replace(
        id=reading.id,
        created_at=reading.created_at or now,
        last_error=None,
    )
    return heard(taken, reading, now=now, limits=limits)


def heard(
    job: Job, reading: Reading, *, now: float, limits: "Limits", told: bool = False
) -> Job:
    """Return the record after the endpoint spoke of the job, by rank.

    `told`: it spoke of its own accord, when the job changed.

    A lower rank never replaces a higher one: `cancelled` may turn `completed`, nothing
    turns back.
    """
    status = _status(job, reading)
    if status.rank < job.status.rank:
        return job._replace(checked_at=now, last_error=None)
    news = job._replace(
        status=status,
        raw_status=reading.raw_status,
        model=reading.model or job.model,
        model_asked=_model_asked(job, reading),
        created_at=job.created_at or reading.created_at,
        checked_at=now,
        usage=reading.usage or job.usage,
        error=reading.error,
        incomplete_reason=reading.incomplete_reason,
        last_error=None,
        missed_at=None,
        misses=None,
    )
    if reading.known and status is Status.IN_PROGRESS and job.started_at is None:
        news = news._replace(started_at=now)
    ends = job.finished_at is None or status is not job.status
    if status.is_terminal and (ends or (job.noticed and reading.finished_at)):
        noticed = None if told or reading.finished_at else True
        at = reading.finished_at or now
        news = news._replace(finished_at=at, noticed=noticed)
    if status.is_terminal:
        news = ended_with(news, reading.answer)
    return news._replace(expires_at=_expires(news, limits))


def ended_with(job: Job, answer: Answer) -> Job:
    """Return the record of a job whose answer was read."""
    return job._replace(
        ended_with=answer.ended_with,
        refusal=answer.refusal[:MOST_REFUSED] or None,
        told=answer.told or None,
    )


def merge(old: Job, new: Job) -> Job:
    """Return what holds after `new` was recorded over `old`: the higher rank.

    Between equal ranks the newer one holds, and between open and lost the later word of
    the endpoint. What was once known is not forgotten: the id, the start, the request
    to cancel, what another version wrote; a cursor never falls.
    """
    if new.status.rank < old.status.rank:
        return old._replace(checked_at=new.checked_at or old.checked_at)
    is_doubt = (old.status is Status.LOST) is not (new.status is Status.LOST)
    same_rank = new.status.rank == old.status.rank
    if is_doubt and same_rank and (new.checked_at or 0.0) < (old.checked_at or 0.0):
        return old
    cursor = old.cursor if new.cursor is None else new.cursor
    if isinstance(cursor, int) and isinstance(old.cursor, int):
        cursor = max(cursor, old.cursor)
    same = new.extra == old.extra  # and shared: no mapping is made anew
    return new._replace(
        id=new.id or old.id,
        cursor=cursor,
        started_at=old.started_at or new.started_at,
        cancel_requested_at=new.cancel_requested_at or old.cancel_requested_at,
        extra=new.extra if same else {**old.extra, **new.extra},
    )


def is_expired(job: Job, *, now: float) -> bool:
    """Say whether the endpoint may have dropped a job for its age."""
    return job.expires_at is not None and now >= job.expires_at


def is_believed(job: Job, *, now: float, alone: bool) -> bool:
    """Say whether the endpoint's word that it has no such job is believed by now.

    `job` is as `missed` returned it. One job may be `alone` with it; where several of
    an endpoint are told missing together, it is rather the key, the project or the base
    URL that is wrong.
    """
    if job.missed_at is None or is_expired(job, now=now):
        return True
    if alone:
        return now - job.missed_at >= MISSED_ALONE
    return now - job.missed_at >= MISSED_TOGETHER and (job.misses or 0) >= PASSES


def missed(job: Job, fault: Fault, *, now: float) -> Job:
    """Return the record after a pass in which the endpoint had no such job.

    Its status stays what it was.
    """
    since, count = job.missed_at, (job.misses or 0) + 1
    said = f"not found, which is not believed yet: {fault.message}"
    known = job._replace(missed_at=now if since is None else since, misses=count)
    return known._replace(last_error=said, checked_at=now)


def may_come_back(job: Job, *, now: float) -> bool:
    """Say whether a lost job is worth asking about: hourly, until it expires."""
    start = job.missed_at or job.submitted_at or job.created_at or 0.0
    until = start + LOST_FOR if job.expires_at is None else job.expires_at
    return now < until and now - (job.checked_at or 0.0) >= LOST_AGAIN


def unheard(job: Job, fault: Fault, *, now: float) -> Job:
    """Return the record after a failure to hear of the job: its status stays."""
    if fault.kind is FaultKind.GONE and fault.http_status is not None:
        return job._replace(checked_at=now, last_error=fault.message)
    return job._replace(last_error=fault.message)


def lost(job: Job, fault: Fault, *, now: float) -> Job:
    """Return the record of a job that the endpoint no longer has."""
    if Status.LOST.rank < job.status.rank:
        return job._replace(checked_at=now)
    kept = "" if job.expires_at is None or now < job.expires_at else " (kept too long)"
    reason = f"the endpoint no longer has it{kept}: {fault.message}"
    return job._replace(status=Status.LOST, checked_at=now, last_error=reason)


def deleted(job: Job, *, now: float) -> Job:
    """Return the record of an open job whose cancel deleted it at the endpoint."""
    if Status.CANCELLED.rank < job.status.rank:
        return job._replace(checked_at=now)
    ended = job._replace(status=Status.CANCELLED, raw_status=None, last_error=None)
    return ended._replace(finished_at=now, checked_at=now, expires_at=now)


def _model_asked(job: Job, reading: Reading) -> str | None:
    """Return the model that was asked for, where that is known."""
    renamed = reading.model is not None and reading.model != job.model
    return job.model_asked or (job.model if renamed else None)


def _status(job: Job, reading: Reading) -> Status:
    """Let a word nobody knows leave the last open status, or `in_progress`."""
    if reading.known:
        return reading.status
    return job.status if job.status.is_open else Status.IN_PROGRESS


def _expires(job: Job, limits: "Limits") -> float | None:
    if not limits.retention_stored:
        return None
    stored = job.extra.get("store") is not False
    kept = limits.retention_stored if stored else limits.retention_unstored
    start = job.finished_at or job.created_at or job.submitted_at
    return start + kept if start is not None and kept else None
