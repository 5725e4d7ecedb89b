"""A second POST never leaves while it is not known what became of the first."""

from pathlib import Path
from typing import Any

import pytest

from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.request import Draft
from bgresp.core.signals import FaultKind
from bgresp.engine.recorder import Recorder
from bgresp.engine.resubmit import Keyed
from bgresp.engine.settle import Settling
from bgresp.engine.submit import Submitted, Submitter
from tests.scripted import EPOCH, Scripted, recorder_at, snapshot
from tests.virtualclock import run_virtual

ROW = {"group": "g", "row": "1", "request_sha256": "d" * 64}
UNSETTLED = [Status.SUBMITTING, Status.UNKNOWN]


def earlier(recorder: Recorder, status: Status, **fields: Any) -> Job:
    """Write what an earlier process left."""
    draft = Job("", submitted_at=EPOCH, dialect="openai", **fields)
    with recorder.ledger.submitting(draft) as job:
        pass
    if status is Status.SUBMITTING:
        return job
    error = ResponseError("bad", "No.") if status is Status.REJECTED else None
    id_ = "resp_0" if status.is_accepted else None
    return recorder.ledger.record(job._replace(status=status, id=id_, error=error))


def submit(recorder: Recorder, scripted: Scripted, **fields: Any) -> Submitted:
    """Submit once more, where an earlier accepted job leaves room for it."""
    sender = Submitter(scripted.api, recorder, lambda _: None, jitter=lambda: 0.5)
    settling = Settling(None, recorder, lambda _: None)
    unique, again = bool(fields.pop("unique", False)), fields.pop("again", True)
    keyed = Keyed(sender, settling, unique=unique, again=lambda _, __: again)
    draft = Draft(Job("", submitted_at=EPOCH, dialect="openai", **fields), {})
    return run_virtual(keyed.submit(draft))


@pytest.mark.parametrize("fields", [{"submit_key": "k"}, ROW])
@pytest.mark.parametrize("status", UNSETTLED)
def test_an_unsettled_submit_is_not_repeated(
    state: Path, status: Status, fields: dict[str, Any]
) -> None:
    """What may have been accepted is posted again."""
    recorder, scripted = recorder_at(state), Scripted(creates=[[snapshot("queued")]])
    first = earlier(recorder, status, **fields)
    again = submit(recorder, scripted, **fields)
    assert again.fault is not None
    assert (first.key, FaultKind.AMBIGUOUS) == (again.job.key, again.fault.kind)
    assert [] == scripted.asked


@pytest.mark.parametrize("status", UNSETTLED)
def test_the_newest_of_a_row_counts_too(state: Path, status: Status) -> None:
    """A row whose retry has no known outcome is sent a third time."""
    recorder, scripted = recorder_at(state), Scripted(creates=[[snapshot("queued")]])
    earlier(recorder, Status.FAILED, **ROW)
    newest = earlier(recorder, status, **ROW)
    again = submit(recorder, scripted, **ROW)
    assert again.fault is not None
    assert newest.key == again.job.key
    assert [] == scripted.asked


@pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED])
@pytest.mark.parametrize("fields", [{"submit_key": "k"}, ROW])
def test_what_surely_failed_is_sent_again(
    state: Path, status: Status, fields: dict[str, Any]
) -> None:
    """A submit that was refused, or may be repeated, is never sent again."""
    recorder, scripted = recorder_at(state), Scripted(creates=[[snapshot("queued")]])
    earlier(recorder, status, **fields)
    again = submit(recorder, scripted, **fields)
    assert (True, Status.QUEUED) == (again.posted, again.job.status)
    assert 1 == scripted.count("create")


@pytest.mark.parametrize("status", UNSETTLED)
def test_unique_counts_what_may_be_open(state: Path, status: Status) -> None:
    """--unique sends a request once more that may be open already."""
    recorder, scripted = recorder_at(state), Scripted(creates=[[snapshot("queued")]])
    first = earlier(recorder, status, request_sha256="d" * 64)
    again = submit(recorder, scripted, request_sha256="d" * 64, unique=True)
    assert first.key == again.job.key
    assert [] == scripted.asked


OTHERS = [
    {"request_sha256": "e" * 64},
    {"base_url": "https://b.example/v1"},
    {"vars": {"end_user": "u2"}},
]


@pytest.mark.parametrize("other", OTHERS, ids=["body", "endpoint", "tenant"])
def test_unique_tells_requests_apart(state: Path, other: dict[str, Any]) -> None:
    """--unique takes another body, endpoint or tenant for the same request."""
    recorder, scripted = recorder_at(state), Scripted(creates=[[snapshot("queued")]])
    request = {
        "request_sha256": "d" * 64,
        "base_url": "https://a.example/v1",
        "vars": {"end_user": "u1"},
    }
    earlier(recorder, Status.IN_PROGRESS, **request)
    how = {"unique": True, "again": False}
    assert not submit(recorder, scripted, **how, **request).posted
    assert submit(recorder, scripted, **how, **{**request, **other}).posted
