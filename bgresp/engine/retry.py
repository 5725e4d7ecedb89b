"""From a job and its stored request to a new draft; which jobs want one."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from bgresp.core.errors import (
    BgrespError,
    NoSuchJobError,
    NotFinishedError,
    UnknownOutcomeError,
)
from bgresp.core.model import Job, Status
from bgresp.core.request import OURS, Draft
from bgresp.engine.recorder import Recorder

# What a new record takes over from `extra`: where the key is found, what is stored.
_TAKEN: Final = ("key_source", "profile_url", "dialects", "store", "include")


def refusal(recorder: Recorder, job: Job) -> BgrespError | None:
    """Return why a job must not be asked for a second time; None where it may."""
    if job.status is Status.UNKNOWN or recorder.ledger.is_dead(job):
        return UnknownOutcomeError(
            f"{job.ref} may have been accepted", hint=f"bgresp resolve {job.key}"
        )
    if job.status.is_open or job.status is Status.SUBMITTING:
        return NotFinishedError(
            f"{job.ref} is {job.status.value}: it may still answer",
            hint=f"bgresp cancel {job.quoted}, or bgresp watch {job.quoted}",
        )
    return None


def draft(recorder: Recorder, job: Job) -> Draft:
    """Return the draft of a new job from a job's stored request.

    It takes over what the job is known by. Raises NoSuchJobError when no request was
    kept.
    """
    body = _body(recorder, job)
    metadata = {
        k: v for k, v in (body.pop("metadata", None) or {}).items() if k != OURS
    }
    if metadata:
        body["metadata"] = metadata
    again = Job(
        key="",
        name=job.name,
        group=job.group,
        labels=job.labels,
        row=job.row,
        profile=job.profile,
        base_url=job.base_url,
        dialect=job.dialect,
        vars=job.vars,
        model=job.wanted_model,
        model_asked=job.wanted_model,
        submitted_at=recorder.now(),
        streamable=job.streamable,
        previous_id=job.previous_id,
        expect=job.expect,
        request_sha256=job.request_sha256,
        retry_of=job.key,
    )
    extra = {name: job.extra[name] for name in _TAKEN if name in job.extra}
    return Draft(replace(again, extra=extra), body, stream=bool(job.streamable))


def failed(recorder: Recorder, jobs: Iterable[Job], *, lost: bool) -> list[Job]:
    """Return, oldest first, the jobs that did not complete and were not retried.

    A lost one may still answer: it is among them only where that is asked for. A retry
    that was rejected counts for nothing: nobody works on it.
    """
    wanted = sorted(
        (
            job
            for job in jobs
            if job.status.did_not_complete and (lost or job.status is not Status.LOST)
        ),
        key=lambda job: job.key,
    )
    if not wanted:
        return []
    retried: set[str] = set()
    for job in recorder.ledger.newest():
        if job.key <= wanted[0].key:
            break  # a retry is always newer than what it retries
        if job.retry_of is not None and job.status is not Status.REJECTED:
            retried.add(job.retry_of)
    return [job for job in wanted if job.key not in retried]


def _body(recorder: Recorder, job: Job) -> dict[str, Any]:
    raw = recorder.answers.request(job.key)
    if raw is None:
        raise NoSuchJobError(
            f"the request of {job.ref} was not kept",
            hint="bgresp submit it anew; --no-keep-prompt leaves no copy",
        )
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        path = recorder.answers.request_path(job.key)
        raise NoSuchJobError(f"the stored request {path} cannot be read")
    return body
