"""A cancel ends in what the job really is, whatever its reply said."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.dialect import Op
from bgresp.core.errors import ExitCode
from bgresp.core.model import Status
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.engine.cancel import CancelResult, cancelled
from tests import fakeanswers as fa
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint, listed
from tests.fakeserver import FakeServer
from tests.scripted import (
    EPOCH,
    LOST_REPLY,
    REFUSED,
    Late,
    Scripted,
    job,
    recorder_at,
    refusal,
    snapshot,
)
from tests.virtualclock import run_virtual

RUNNING, CANCELLED = snapshot("in_progress"), snapshot("cancelled")
ANSWER = snapshot("completed", fw.FOX)
HANG = Late(1e6, RUNNING)
GONE = refusal(404, FaultKind.GONE, "No such response.")
DELETES = dialect(ops={"cancel": Op("DELETE", "/responses/{id}")})
CANCELLING = Fault(FaultKind.UNREADABLE, "the reply has no status", http_status=200)
REPLIES = {
    "cancelled": CANCELLED,
    "canceled": snapshot("canceled"),
    "in_progress": RUNNING,
    "cancelling": snapshot("cancelling"),
    "completed": ANSWER,
    "no status": CANCELLING,
    "400": refusal(400, FaultKind.REFUSED),
    "409": refusal(409, FaultKind.UNREACHABLE),
    "429": refusal(429, FaultKind.RATE_LIMITED, retry_after=30.0),
    "500": refusal(500, FaultKind.UNREACHABLE),
    "lost": LOST_REPLY,
    "hang": HANG,
}


def cancel(
    scripted: Scripted, state: Path, **fields: Any
) -> tuple[CancelResult, float]:
    """Cancel a job in virtual time; return how long it took."""

    async def main() -> tuple[CancelResult, float]:
        verdict = await cancelled(scripted.api, recorder_at(state), job(**fields))
        return verdict, asyncio.get_running_loop().time()

    return run_virtual(main())


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
def test_a_job_that_is_cancelled_is_reported_so(state: Path, reply: Any) -> None:
    """Whatever the reply, a job that the endpoint then shows as cancelled is."""
    scripted = Scripted(cancels=[reply], get=[RUNNING, CANCELLED])
    verdict, took = cancel(scripted, state)
    assert (ExitCode.OK, "") == (verdict.code, verdict.message)
    assert Status.CANCELLED is verdict.job.status
    found = recorder_at(state).ledger.by_key(job().key)
    assert found is not None
    assert (Status.CANCELLED, EPOCH) == (found.status, found.cancel_requested_at)
    assert took <= 21


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
@pytest.mark.parametrize("status", ["completed", "failed", "incomplete"])
def test_a_job_that_had_ended_is_reported_so(
    state: Path, reply: Any, status: str
) -> None:
    """Whatever the reply, a job that ended otherwise keeps its end and its answer."""
    final = snapshot(status, fw.FOX)
    verdict, _ = cancel(Scripted(cancels=[reply], get=[final]), state)
    assert (ExitCode.OK, status) == (verdict.code, verdict.job.status.value)
    assert f"ended before the cancel: {status}" == verdict.message
    assert final.raw == recorder_at(state).answers.response(job().key)


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
def test_a_job_that_goes_on_is_not_called_cancelled(state: Path, reply: Any) -> None:
    """Without confirmation within ten seconds the exit code is 8, never 0."""
    scripted = Scripted(cancels=[reply], get=[RUNNING])
    verdict, took = cancel(scripted, state)
    assert (ExitCode.NOT_FINISHED, Status.IN_PROGRESS) == (
        verdict.code,
        verdict.job.status,
    )
    assert "is in_progress: not confirmed within 10 s" in verdict.message
    assert 9 <= took <= 21
    assert scripted.count("cancel") == (3 if reply is LOST_REPLY else 1)


def test_a_reply_is_only_advice(state: Path) -> None:
    """A cancel that says cancelled is not believed while the job goes on."""
    scripted = Scripted(cancels=[CANCELLED], get=[RUNNING, RUNNING, ANSWER])
    verdict, _ = cancel(scripted, state)
    assert Status.COMPLETED is verdict.job.status
    assert fw.FOX == recorder_at(state).answers.text(job().key, dialect())


def test_a_cancel_without_a_route_is_refused(state: Path) -> None:
    """A 404 of a job that can be asked for: exit 5 where it goes on, else its end."""
    scripted = Scripted(cancels=[GONE], get=[RUNNING])
    verdict, took = cancel(scripted, state)
    assert (ExitCode.REFUSED, Status.IN_PROGRESS) == (verdict.code, verdict.job.status)
    assert "goes on: the endpoint cannot cancel (No such response.)" == verdict.message
    assert 8 <= took <= 11  # some servers need a moment to know a young job
    over, _ = cancel(Scripted(cancels=[GONE], get=[RUNNING, ANSWER]), state / "b")
    assert (ExitCode.OK, Status.COMPLETED) == (over.code, over.job.status)


@pytest.mark.parametrize("status", [405, 501])
def test_an_endpoint_that_cannot_cancel_is_refused(state: Path, status: int) -> None:
    """405 and 501 mean exit 5 where the job goes on, and its end where it ended."""
    reply = refusal(status, FaultKind.REFUSED, "no such method")
    verdict, took = cancel(Scripted(cancels=[reply], get=[RUNNING]), state)
    assert ExitCode.REFUSED is verdict.code
    assert "no such method" in verdict.message
    assert took < 1
    over, _ = cancel(Scripted(cancels=[reply], get=[ANSWER]), state / "b")
    assert (ExitCode.OK, Status.COMPLETED) == (over.code, over.job.status)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_a_matter_of_configuration(state: Path, status: int) -> None:
    """With a key that is refused nothing was cancelled, and nobody is asked again."""
    scripted = Scripted(cancels=[refusal(status, FaultKind.REFUSED, "bad key")])
    verdict, _ = cancel(scripted, state)
    assert (ExitCode.CONFIG, 1) == (verdict.code, len(scripted.asked))
    assert "was not cancelled: bad key" == verdict.message


def test_an_endpoint_that_is_away_is_unreachable(state: Path) -> None:
    """A cancel that never reached the endpoint is exit 6, after three attempts."""
    scripted = Scripted(cancels=[REFUSED])
    verdict, took = cancel(scripted, state)
    assert (ExitCode.UNREACHABLE, 3) == (verdict.code, len(scripted.asked))
    assert took < 2


def test_an_outage_in_between_is_survived(state: Path) -> None:
    """A cancel is sent again after a refused connection, and then confirmed."""
    scripted = Scripted(
        cancels=[REFUSED, LOST_REPLY, CANCELLED], get=[REFUSED, LOST_REPLY, CANCELLED]
    )
    verdict, _ = cancel(scripted, state)
    assert (ExitCode.OK, Status.CANCELLED) == (verdict.code, verdict.job.status)


@pytest.mark.parametrize(
    "get", [[HANG], [REFUSED], [refusal(502, FaultKind.UNREACHABLE)], [LOST_REPLY]]
)
def test_silence_after_a_cancel_is_no_confirmation(state: Path, get: Any) -> None:
    """Where nothing is heard after a cancel, ten seconds later that is said."""
    scripted = Scripted(cancels=[CANCELLED], get=get)
    verdict, took = cancel(scripted, state)
    assert (ExitCode.NOT_FINISHED, Status.QUEUED) == (verdict.code, verdict.job.status)
    assert 8 <= took <= 11
    found = recorder_at(state).ledger.by_key(job().key)
    assert found is not None
    assert found.cancel_requested_at is not None


@pytest.mark.parametrize(
    "reply",
    [
        CANCELLED,
        RUNNING,
        Fault(FaultKind.UNREADABLE, "the reply cannot be read", http_status=204),
        GONE,
    ],
)
def test_a_job_that_its_cancel_deleted_is_cancelled(state: Path, reply: Any) -> None:
    """Where cancel is a DELETE, a 404 afterwards is what was asked for: exit 0."""
    place = endpoint(spoken=DELETES)
    scripted = Scripted(get=[RUNNING, GONE], cancels=[reply], endpoint=place)
    verdict, took = cancel(scripted, state)
    assert (ExitCode.OK, Status.CANCELLED) == (verdict.code, verdict.job.status)
    assert "is cancelled: the endpoint no longer has it" == verdict.message
    assert took < 1
    kept = recorder_at(state).ledger.by_key(job().key)
    assert kept is not None
    assert (Status.CANCELLED, EPOCH) == (kept.status, kept.finished_at)


def test_a_deleting_cancel_that_failed_is_not_believed(state: Path) -> None:
    """A 404 proves nothing where the DELETE itself was not done."""
    place = endpoint(spoken=DELETES)
    refused = refusal(400, FaultKind.REFUSED)
    scripted = Scripted(get=[RUNNING, GONE], cancels=[refused], endpoint=place)
    verdict, _ = cancel(scripted, state)
    assert (ExitCode.NOT_FINISHED, True) == (verdict.code, verdict.job.status.is_open)


@pytest.mark.parametrize(
    ("reply", "code", "status"),
    [
        (CANCELLED, ExitCode.OK, Status.CANCELLED),
        (RUNNING, ExitCode.NOT_FINISHED, Status.QUEUED),
        (CANCELLING, ExitCode.NOT_FINISHED, Status.QUEUED),
    ],
)
def test_a_job_that_is_gone_after_a_cancel(
    state: Path, reply: Any, code: ExitCode, status: Status
) -> None:
    """A 404 that stays confirms only a reply that had called the job cancelled."""
    verdict, took = cancel(Scripted(get=[GONE], cancels=[reply]), state)
    assert (code, status) == (verdict.code, verdict.job.status)
    assert 8 <= took <= 11


def test_an_advisory_cancel_is_said_to_be_one(state: Path) -> None:
    """Where cancelled jobs are known to complete, a cancelled one is no promise."""
    place = endpoint(spoken=dialect("litellm"))
    scripted = Scripted(get=[CANCELLED], cancels=[CANCELLED], endpoint=place)
    verdict, _ = cancel(scripted, state)
    assert (ExitCode.OK, Status.CANCELLED) == (verdict.code, verdict.job.status)
    said = "is cancelled, though a job of litellm may complete all the same"
    assert said == verdict.message


def test_the_intent_is_on_disk_first(state: Path) -> None:
    """That a cancel was asked for is recorded before it is sent."""
    seen: list[float | None] = []

    def look(_: str) -> Snapshot:
        found = recorder_at(state).ledger.by_key(job().key)
        seen.append(found.cancel_requested_at if found else None)
        return CANCELLED

    cancel(Scripted(cancels=look, get=[CANCELLED]), state)
    assert [EPOCH] == seen


def test_a_cancel_that_nobody_heard_was_not_asked_for(state: Path) -> None:
    """A refused connection leaves no request to cancel; a lost reply leaves one."""
    verdict, _ = cancel(Scripted(cancels=[REFUSED], get=[RUNNING]), state)
    assert (ExitCode.UNREACHABLE, None) == (
        verdict.code,
        verdict.job.cancel_requested_at,
    )
    verdict, _ = cancel(Scripted(cancels=[LOST_REPLY], get=[RUNNING]), state)
    assert EPOCH == verdict.job.cancel_requested_at


def test_a_dialect_without_cancel_says_so(state: Path) -> None:
    """An endpoint that has no cancel is only asked how the job is."""
    place = endpoint(spoken=dialect(ops={"cancel": None}))
    verdict, _ = cancel(Scripted(get=[RUNNING], endpoint=place), state)
    assert (ExitCode.REFUSED, "goes on: openai has no way to cancel a job") == (
        verdict.code,
        verdict.message,
    )
    over, _ = cancel(Scripted(get=[ANSWER], endpoint=place), state / "b")
    assert (ExitCode.OK, Status.COMPLETED) == (over.code, over.job.status)


@pytest.mark.parametrize(
    ("news", "code"),
    [
        (ANSWER, ExitCode.OK),
        (CANCELLED, ExitCode.OK),
        (REFUSED, ExitCode.UNREACHABLE),
        (LOST_REPLY, ExitCode.NOT_FINISHED),
        (HANG, ExitCode.NOT_FINISHED),
        (refusal(401, FaultKind.REFUSED), ExitCode.CONFIG),
        (refusal(404, FaultKind.GONE), ExitCode.NOT_FINISHED),
    ],
)
def test_a_deleting_cancel_never_meets_a_finished_job(
    state: Path, news: Any, code: ExitCode
) -> None:
    """Where cancel is a DELETE it is not sent unless the job is known to be open."""
    place = endpoint(spoken=dialect(ops={"cancel": Op("DELETE", "/responses/{id}")}))
    scripted = Scripted(get=[news], cancels=[CANCELLED], endpoint=place)
    verdict, took = cancel(scripted, state)
    assert (code, 0) == (verdict.code, scripted.count("cancel"))
    assert took <= 11
    open_ = Scripted(get=[RUNNING, CANCELLED], cancels=[CANCELLED], endpoint=place)
    cancel(open_, state / "b")
    assert ["get", "cancel", "get"] == [op for op, _, _ in open_.asked]


@pytest.mark.parametrize(
    ("answers", "status", "code"),
    [
        ([], Status.CANCELLED, ExitCode.OK),
        ([fa.Performed(fa.RESET)], Status.CANCELLED, ExitCode.OK),
        ([fa.Performed(fa.html(502))], Status.CANCELLED, ExitCode.OK),
        (
            [fa.Performed(fa.as_json({"response_id": "x", "status": "cancelling"}))],
            Status.CANCELLED,
            ExitCode.OK,
        ),
        ([fa.ENDED_ALREADY], Status.COMPLETED, ExitCode.OK),
        ([fa.refusal(404)], Status.COMPLETED, ExitCode.OK),
        ([fa.refusal(409)], Status.COMPLETED, ExitCode.OK),
        ([fa.refusal(405)], Status.IN_PROGRESS, ExitCode.REFUSED),
        ([fa.RESET, fa.CLOSE], Status.CANCELLED, ExitCode.OK),
    ],
)
def test_a_cancel_over_sockets(
    server: FakeServer,
    state: Path,
    answers: list[fa.Answer],
    status: Status,
    code: ExitCode,
) -> None:
    """Over a real connection the verdict is what the server then shows."""

    async def main() -> CancelResult:
        api = Api(endpoint(server.base_url))
        await listed(api.create(b"{}", key="k", stream=False, sent=Sent()))
        server.script("cancel", *answers)
        verdict = await cancelled(api, recorder_at(state), job())
        await api.aclose()
        return verdict

    verdict = run_virtual(main(), patience=5)
    assert (status, code) == (verdict.job.status, verdict.code)
    assert max(1, len(answers)) <= server.cancels() <= len(answers) + 1
