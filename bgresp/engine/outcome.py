"""What a submit came to: a record, and the error that tells of it. May import core."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    RefusedError,
    UnknownOutcomeError,
    UnreachableError,
)
from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.signals import Fault, FaultKind, Signal


@dataclass(slots=True)
class Submitted:
    """What became of a submit; `signals` go on where a stream was asked for.

    `interrupted`: a signal asked us to leave while the reply was awaited. `rescued`:
    the ledger could not take the accepted job, this says where it is kept instead.
    """

    job: Job
    signals: AsyncGenerator[Signal, None] | None = None
    fault: Fault | None = None
    interrupted: bool = False
    rescued: str | None = None


def failed(job: Job, fault: Fault) -> Job:
    """Return the record of a submit that got no id: not sent, refused, or unknown."""
    if fault.kind in {FaultKind.UNREACHABLE, FaultKind.RATE_LIMITED}:
        status, error = Status.REJECTED, ResponseError("not_sent", fault.message)
    elif fault.kind is FaultKind.REFUSED:
        status = Status.REJECTED
        error = fault.error or ResponseError("refused", fault.message)
    else:
        status, error = Status.UNKNOWN, None
    return replace(
        job,
        status=status,
        error=error,
        last_error=fault.message,
        request_id=fault.request_id or job.request_id,
    )


def error_of(submitted: Submitted) -> BgrespError:
    """Return the error that says why a submit did not end with an id."""
    fault, job = submitted.fault, submitted.job
    if fault is None:
        raise ValueError("nothing went wrong")
    rid = fault.request_id
    if job.status is Status.UNKNOWN:
        message = f"{job.key}: {fault.message}; it may have been accepted"
        hint = f"do not submit it again; settle it: bgresp resolve {job.key} --adopt ID"
        return UnknownOutcomeError(message, hint=hint, request_id=rid)
    if job.error is not None and job.error.code == "not_sent":
        asked = fault.retry_after
        long = f"; the endpoint asks to wait {asked:g} s" if asked else ""
        message = f"not sent: {fault.message}{long}"
        return UnreachableError(message, request_id=rid, retryable=True)
    http = fault.http_status or 0
    if http in {401, 403} or 300 <= http < 400:
        return ConfigError(f"refused: {fault.message}", request_id=rid)
    return RefusedError(f"refused: {fault.message}", request_id=rid)
