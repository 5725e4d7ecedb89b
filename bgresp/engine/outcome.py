"""What a submit came to: a record, and the error that tells of it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from bgresp.core import faults
from bgresp.core.errors import (
    BgrespError,
    RefusedError,
    UnknownOutcomeError,
)
from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.signals import Fault, FaultKind, Signal
from bgresp.core.text import one_line

# A refusal of these may be of one request; any other is of the endpoint.
OF_ONE: Final = frozenset({400, 413, 415, 422})
_EVERY_REFUSAL: Final = frozenset({"", "refused", "invalid_request_error"})


NOT_SENT: Final = "not_sent"  # the code of an error of ours: nothing reached them


@dataclass(slots=True)
class Submitted:
    """What became of a submit; `signals` go on where a stream was asked for.

    `posted` is false where it was accepted before. `interrupted`: a signal asked us to
    leave while the reply was awaited. `rescued`: the ledger could not take the accepted
    job, this says where it is kept instead.
    """

    job: Job
    signals: AsyncGenerator[Signal, None] | None = None
    fault: Fault | None = None
    interrupted: bool = False
    rescued: str | None = None
    posted: bool = True


def failed(job: Job, fault: Fault) -> Job:
    """Return the record of a submit that got no id: not sent, refused, or unknown."""
    if fault.kind in {FaultKind.UNREACHABLE, FaultKind.RATE_LIMITED}:
        status, error = Status.REJECTED, ResponseError(NOT_SENT, fault.message)
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
        hint = f"do not submit it again: bgresp resolve {job.key}"
        return UnknownOutcomeError(message, hint=hint, request_id=rid)
    if job.error is not None and job.error.code == NOT_SENT:
        return faults.error_of(fault, f"not sent: {_why_not_sent(submitted, fault)}")
    message = f"{job.key}: refused: {fault.message}{_code(fault)}"
    error = faults.error_of(fault, message, job=job)
    if isinstance(error, RefusedError):
        profile = f" -p {job.profile}" if job.profile else ""
        error.hint = f"where it went: bgresp config show{profile}"
    return error


def _why_not_sent(submitted: Submitted, fault: Fault) -> str:
    if fault.retry_after:
        return f"{fault.message}; the endpoint asks to wait {fault.retry_after:g} s"
    host = urlsplit(submitted.job.base_url or "").netloc
    if fault.kind is not FaultKind.UNREACHABLE or submitted.interrupted or not host:
        return fault.message
    return f"could not connect to {host} ({fault.message})"


def _code(fault: Fault) -> str:
    """Return the endpoint's own code, unless it says no more than `refused`."""
    code = fault.error.code if fault.error else ""
    return f" ({one_line(code, limit=64)})" if code not in _EVERY_REFUSAL else ""
