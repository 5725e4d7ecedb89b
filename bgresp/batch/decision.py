"""What is to be done with a row, by what its earlier job, if any, says."""

from dataclasses import dataclass
from enum import Enum, auto

from bgresp.core.errors import UsageError
from bgresp.core.model import Job, Status
from bgresp.engine.recorder import Recorder, check_whole


class RowDecision(Enum):
    """What is to be done with a row."""

    SEND = auto()
    KEEP = auto()  # it has its job
    CHANGED = auto()  # it has a job, of another request
    UNSURE = auto()  # it may have one: nobody knows


@dataclass(frozen=True, slots=True)
class Rules:
    """What the command line says about rows that have a job."""

    changed: str = "refuse"  # or resubmit, skip
    retry_failed: bool = False

    def decision(self, earlier: Job | None, draft: Job) -> RowDecision:
        """Decide about a row whose newest job is `earlier`."""
        if earlier is None or earlier.status is Status.REJECTED:
            return RowDecision.SEND
        if earlier.status.is_unsettled:
            return RowDecision.UNSURE
        was, place = earlier.request_sha256, (draft.base_url, dict(draft.vars))
        elsewhere = (earlier.base_url, dict(earlier.vars)) != place
        if earlier.base_url is None:  # of a forgotten job that is not known
            elsewhere = False
        if elsewhere or (was is not None and was != draft.request_sha256):
            how = {"resubmit": RowDecision.SEND, "skip": RowDecision.KEEP}
            return how.get(self.changed, RowDecision.CHANGED)
        if self.retry_failed and earlier.status.did_not_complete:
            return RowDecision.SEND
        return RowDecision.KEEP


def look_up(
    recorder: Recorder, rules: Rules, draft: Job
) -> tuple[RowDecision, Job | None]:
    """Decide about a row; return the job too that says so, found by group and row.

    Raises LedgerError where one that was sent before may be hidden.
    """
    group, row = str(draft.group), str(draft.row)
    earlier = recorder.ledger.by_row(group, row)
    decision = rules.decision(earlier, draft)
    if decision is RowDecision.SEND:
        newest = next(recorder.ledger.of_row(group, row), None)
        if newest is not None and newest.status.is_unsettled:
            return RowDecision.UNSURE, newest
        check_whole(recorder)
    return decision, earlier


def changed(job: Job) -> UsageError:
    """Return the error of a row that was submitted with another request."""
    return UsageError(
        f"row {job.row!r} was submitted with another request, or elsewhere",
        hint="--changed skip keeps that job, --changed resubmit sends the row anew",
    )


def retried(earlier: Job | None) -> str | None:
    """Return which job a new one is a retry of: a rejected one was none."""
    if earlier is None or earlier.status is Status.REJECTED:
        return None
    return earlier.key
