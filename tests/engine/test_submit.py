"""A submit is sent once, and what became of it is on disk before anybody is told."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.errors import (
    ConfigError,
    LedgerError,
    RefusedError,
    UnknownOutcomeError,
    UnreachableError,
)
from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.request import Draft
from bgresp.core.signals import Event, Fault, FaultKind, Signal
from bgresp.engine.submit import Submitted, Submitter, error_of, hold
from tests import fakeanswers as fa
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint, patient_unless_hanging
from tests.fakeanswers import End, Stream
from tests.fakeserver import FakeServer
from tests.scripted import (
    CLOSED,
    EPOCH,
    LOST_REPLY,
    REFUSED,
    Answer,
    Late,
    Scripted,
    event,
    events,
    recorder_at,
    refusal,
    snapshot,
)
from tests.virtualclock import run_virtual

BODY = {"model": "m", "input": "hi", "background": True, "store": True}
EVENTS = events(fw.events_of(fw.FOX))
QUEUED, ANSWER = snapshot("queued"), snapshot("completed", fw.FOX)
LIMITED = refusal(429, FaultKind.RATE_LIMITED, "slow down", retry_after=7.0)
BAD = refusal(400, FaultKind.REFUSED, "No.", error=ResponseError("bad", "No."))
AMBIGUOUS = refusal(502, FaultKind.AMBIGUOUS, "HTTP 502", request_id="req_1")


def draft(**fields: Any) -> Draft:
    body = fields.pop("body", BODY)
    return Draft(Job("", submitted_at=EPOCH, dialect="openai"), dict(body), **fields)


def submit(
    scripted: Scripted, state: Path, one: Draft | None = None
) -> tuple[Submitted, list[str], float]:
    """Submit in virtual time; return what was said, and how long it took."""
    said: list[str] = []

    async def main() -> tuple[Submitted, float]:
        recorder = recorder_at(state)
        sender = Submitter(scripted.api, recorder, said.append, jitter=lambda: 0.5)
        submitted = await sender.submit(one or draft())
        return submitted, asyncio.get_running_loop().time()

    submitted, took = run_virtual(main())
    return submitted, said, took


def recorded(state: Path) -> Job:
    (found,) = recorder_at(state).ledger.newest()
    return found


def test_an_accepted_submit_is_on_disk(state: Path) -> None:
    """The id, the request and the key that the request carried are all recorded."""
    scripted = Scripted(creates=[[QUEUED]])
    submitted, said, _ = submit(scripted, state)
    job = recorded(state)
    assert (job, None, []) == (submitted.job, submitted.fault, said)
    assert (fw.FIRST_ID, Status.QUEUED) == (job.id, job.status)
    key = {"bgresp_key": job.key}
    assert [{**BODY, "metadata": key}] == scripted.bodies
    kept = recorder_at(state).answers.request(job.key)
    assert kept is not None
    assert scripted.bodies[0] == json.loads(kept)
    assert [("create", job.key, 0.0)] == scripted.asked


def test_the_intent_is_on_disk_before_the_first_byte(state: Path) -> None:
    """When the request leaves, the ledger says submitting, and holds the request."""
    seen: list[tuple[Status, bool, bool]] = []

    class Looking(Scripted):
        async def create(
            self, body: bytes, *, key: str, stream: bool, sent: Sent
        ) -> AsyncGenerator[Signal, None]:
            recorder = recorder_at(state)
            job = recorder.ledger.by_key(key)
            assert job is not None
            kept = recorder.answers.request(key) == body
            seen.append((job.status, kept, recorder.ledger.is_dead(job)))
            yield QUEUED

    submit(Looking(), state)
    assert [(Status.SUBMITTING, True, False)] == seen


@pytest.mark.parametrize(
    ("metadata", "expected"), [({"a": "b"}, {"a": "b"}), (None, {}), ({}, {})]
)
def test_the_key_joins_the_user_s_metadata(
    state: Path, metadata: Any, expected: dict[str, str]
) -> None:
    """Metadata of the user is kept, and none at all is no crash."""
    scripted = Scripted(creates=[[QUEUED]])
    one = draft(body={**BODY, "metadata": metadata})
    submitted, _, _ = submit(scripted, state, one)
    key = {"bgresp_key": submitted.job.key}
    assert {**expected, **key} == scripted.bodies[0]["metadata"]
    assert {"metadata": metadata} == {"metadata": one.body["metadata"]}


def test_a_request_need_not_be_kept(state: Path) -> None:
    """With keep=False nothing of the prompt is on disk."""
    submitted, _, _ = submit(Scripted(creates=[[QUEUED]]), state, draft(keep=False))
    assert recorder_at(state).answers.request(submitted.job.key) is None


def test_an_answer_at_once_is_saved(state: Path) -> None:
    """A create that answers a finished response is done, and its answer kept."""
    for stream, reply in ((False, ANSWER), (True, EVENTS[-1])):
        folder = state / str(stream)
        scripted = Scripted(creates=[[reply, CLOSED]])
        submitted, _, _ = submit(scripted, folder, draft(stream=stream))
        assert Status.COMPLETED is submitted.job.status
        assert submitted.signals is None
        assert fw.FOX == recorder_at(folder).answers.text(submitted.job.key, dialect())
        assert 1 == scripted.closed


@pytest.mark.parametrize(
    ("fault", "status", "error", "posts"),
    [
        (BAD, Status.REJECTED, "bad", 1),
        (refusal(401, FaultKind.REFUSED), Status.REJECTED, "refused", 1),
        (AMBIGUOUS, Status.UNKNOWN, None, 1),
        (Fault(FaultKind.AMBIGUOUS, "no reply came"), Status.UNKNOWN, None, 1),
        (CLOSED, Status.UNKNOWN, None, 1),
        (REFUSED, Status.REJECTED, "not_sent", 4),
        (
            Fault(FaultKind.UNREACHABLE, "not to be trusted", setup="check it"),
            Status.REJECTED,
            "not_sent",
            1,
        ),
    ],
)
def test_each_failure_has_its_record(
    state: Path, fault: Fault, status: Status, error: str | None, posts: int
) -> None:
    """Refused, not sent, unknown are told apart; what never left alone is repeated."""
    scripted = Scripted(creates=[[fault]])
    submitted, _, _ = submit(scripted, state)
    job = recorded(state)
    assert (status, posts) == (job.status, scripted.count("create"))
    assert error == (job.error.code if job.error else None)
    assert (fault, fault.message) == (submitted.fault, job.last_error)
    assert fault.request_id == job.request_id
    assert scripted.closed == posts


def test_a_network_that_comes_back_takes_the_submit(state: Path) -> None:
    """Refused connections are tried again, said to the user, and then accepted."""
    scripted = Scripted(creates=[[REFUSED], [REFUSED], [QUEUED]])
    submitted, said, took = submit(scripted, state)
    assert (Status.QUEUED, 3, 2) == (
        submitted.job.status,
        scripted.count("create"),
        len(said),
    )
    assert all("Connection refused; trying again in" in each for each in said)
    assert 0.1 < took < 5
    assert 1 == len({id_ for _, id_, _ in scripted.asked})
    assert recorded(state).last_error is None


def test_a_429_is_waited_out(state: Path) -> None:
    """After a 429 the same request is sent again, not before the time it was told."""
    scripted = Scripted(creates=[[LIMITED], [LIMITED], [QUEUED]])
    submitted, said, _ = submit(scripted, state)
    assert Status.QUEUED is submitted.job.status
    times = scripted.times("create")
    assert 3 == len(times)
    assert times[1] - times[0] >= 7.0
    assert times[2] - times[1] >= 7.0
    assert "slow down; trying again in" in said[0]
    assert 1 == len({json.dumps(body) for body in scripted.bodies})


@pytest.mark.parametrize("asked", [None, 0.0, 1.0, 30.0, 60.0])
def test_a_429_is_waited_out_for_two_minutes(state: Path, asked: float | None) -> None:
    """An endpoint that says wait for ever is given up after its budget, not sent."""
    limited = refusal(429, FaultKind.RATE_LIMITED, "later", retry_after=asked)
    scripted = Scripted(creates=[[limited]])
    submitted, _, took = submit(scripted, state)
    assert ("not_sent", Status.REJECTED) == (
        submitted.job.error and submitted.job.error.code,
        submitted.job.status,
    )
    assert took <= 120
    times = scripted.times("create")
    assert 2 <= len(times) <= 20
    waits = [b - a for a, b in pairwise(times)]
    assert min(waits) >= (asked or 0.0)


def test_a_wait_beyond_the_budget_is_not_begun(state: Path) -> None:
    """A wait longer than we may is no wait at all: exit 6 says how long was asked."""
    limited = refusal(429, FaultKind.RATE_LIMITED, "later", retry_after=3600.0)
    submitted, _, took = submit(Scripted(creates=[[limited]]), state)
    assert took == 0.0
    error = error_of(submitted)
    assert isinstance(error, UnreachableError)
    assert "3600 s" in error.message


@pytest.mark.parametrize(
    ("faults", "posts"),
    [
        ([AMBIGUOUS], 1),
        ([REFUSED, AMBIGUOUS], 2),
        ([LIMITED, LOST_REPLY], 2),
        ([LIMITED, REFUSED, CLOSED], 3),
    ],
)
def test_an_unknown_outcome_is_never_sent_again(
    state: Path, faults: Sequence[Fault], posts: int
) -> None:
    """Once a request may have been taken, no other leaves, whatever came before."""
    scripted = Scripted(creates=[*([fault] for fault in faults), [QUEUED]])
    submitted, _, _ = submit(scripted, state)
    assert (Status.UNKNOWN, posts) == (submitted.job.status, scripted.count("create"))


@pytest.mark.parametrize(
    "first",
    [
        [EVENTS[0]],
        [event({"type": "keepalive"}), EVENTS[0]],
        [
            event({"type": "response.created", "response": {"status": "queued"}}),
            EVENTS[1],
        ],
    ],
    ids=["created", "keepalive", "nameless"],
)
def test_a_creating_stream_goes_on(state: Path, first: list[Event]) -> None:
    """The first event with an id accepts, and every event after it is passed on."""
    scripted = Scripted(creates=[[*first, *EVENTS[2:], CLOSED]])
    seen: list[Any] = []

    async def main() -> Status:
        sender = Submitter(scripted.api, recorder_at(state), seen.append)
        submitted = await sender.submit(draft(stream=True))
        assert submitted.signals is not None
        async for signal in submitted.signals:
            seen.append(signal)  # noqa: PERF401 - there is no async extend
        return submitted.job.status

    assert Status.QUEUED is run_virtual(main())
    assert [first[-1], *EVENTS[2:], CLOSED] == seen
    assert 1 == scripted.closed


@pytest.mark.parametrize(
    "signals",
    [
        [CLOSED],
        [event({"type": "error", "message": "x"}), CLOSED],
        [event({"type": "response.created", "response": {"status": "queued"}}), CLOSED],
        [],
    ],
    ids=["nothing", "error", "nameless", "empty"],
)
def test_a_stream_that_ends_before_an_id_is_unknown(
    state: Path, signals: list[Answer]
) -> None:
    """A creating stream without an id may have made a job: never sent again."""
    scripted = Scripted(creates=[signals])
    submitted, _, _ = submit(scripted, state, draft(stream=True))
    assert (Status.UNKNOWN, 1) == (submitted.job.status, scripted.count("create"))
    assert 1 == scripted.closed


def leaving(
    scripted: Scripted, state: Path, *moments: float
) -> tuple[Submitted, list[str], float]:
    """Submit, and ask to leave at these moments."""
    said: list[str] = []

    async def main() -> tuple[Submitted, float]:
        loop = asyncio.get_running_loop()
        sender = Submitter(scripted.api, recorder_at(state), said.append)
        task = asyncio.create_task(sender.submit(draft()))
        for moment in moments:
            await asyncio.sleep(moment - loop.time())
            task.cancel()
        return await task, loop.time()

    submitted, took = run_virtual(main())
    return submitted, said, took


def test_leaving_waits_for_the_id(state: Path) -> None:
    """Asked to leave while the reply is awaited, the id is still taken."""
    scripted = Scripted(creates=[[Late(5.0, QUEUED)]], sends_first=True)
    submitted, said, took = leaving(scripted, state, 1.0)
    assert (True, fw.FIRST_ID, 5.0) == (submitted.interrupted, submitted.job.id, took)
    assert "waiting up to 10 s" in said[0]
    assert Status.QUEUED is recorded(state).status


@pytest.mark.parametrize("moments", [(1.0,), (1.0, 2.0)])
def test_leaving_without_the_id_is_an_unknown_outcome(
    state: Path, moments: tuple[float, ...]
) -> None:
    """After ten seconds, or when asked again, the outcome is recorded as unknown."""
    scripted = Scripted(creates=[[Late(500.0, QUEUED)]], sends_first=True)
    submitted, _, took = leaving(scripted, state, *moments)
    assert (True, Status.UNKNOWN) == (submitted.interrupted, submitted.job.status)
    assert took == (11.0 if len(moments) == 1 else 2.0)
    assert Status.UNKNOWN is recorded(state).status


@pytest.mark.parametrize("signals", [1, 2])
def test_an_id_that_comes_with_the_signal_is_kept(state: Path, signals: int) -> None:
    """A reply that arrives at the very moment of leaving is not thrown away."""

    class Leaving(Scripted):
        async def create(
            self, body: bytes, *, key: str, stream: bool, sent: Sent
        ) -> AsyncGenerator[Signal, None]:
            sent.started = True
            for moment in range(1, signals + 1):
                await asyncio.sleep(1.0)
                if moment < signals:
                    submitting[0].cancel()
            submitting[0].cancel()
            yield QUEUED

    submitting: list[asyncio.Task[Submitted]] = []

    async def main() -> Submitted:
        sender = Submitter(Leaving().api, recorder_at(state), lambda _: None)
        submitting.append(asyncio.create_task(sender.submit(draft())))
        return await submitting[0]

    submitted = run_virtual(main())
    assert (True, fw.FIRST_ID) == (submitted.interrupted, submitted.job.id)
    assert (Status.QUEUED, fw.FIRST_ID) == (recorded(state).status, recorded(state).id)


def test_leaving_before_anything_was_sent(state: Path) -> None:
    """Asked to leave between two attempts, the job is recorded as not sent."""
    scripted = Scripted(creates=[[LIMITED], [QUEUED]])
    submitted, _, took = leaving(scripted, state, 3.0)
    assert (True, 1, 3.0) == (submitted.interrupted, scripted.count("create"), took)
    error = recorded(state).error
    assert error is not None
    assert "not_sent" == error.code


def test_a_connection_that_cannot_be_set_up_sent_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong proxy or certificate file is an error, and the job was not sent."""
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://x")
    api = Api(endpoint("https://llm.invalid/v1"))
    with pytest.raises(ConfigError):
        asyncio.run(Submitter(api, recorder_at(state), print).submit(draft()))
    job = recorded(state)
    assert Status.REJECTED is job.status
    assert job.error is not None
    assert "not_sent" == job.error.code


def test_without_a_ledger_nothing_is_sent(server: FakeServer, tmp_path: Path) -> None:
    """When the intent cannot be written, no request leaves."""
    (tmp_path / "file").touch()
    api = Api(endpoint(server.base_url))
    recorder = recorder_at(tmp_path / "file" / "state")
    with pytest.raises(LedgerError):
        asyncio.run(Submitter(api, recorder, print).submit(draft()))
    assert () == server.requests


@pytest.mark.parametrize(
    ("answer", "status", "posts"),
    [
        (fa.Snapshot(), Status.QUEUED, 1),
        (fa.Snapshot(http=202), Status.QUEUED, 1),
        (fa.Snapshot("completed"), Status.COMPLETED, 1),
        (fa.Performed(fa.RESET), Status.UNKNOWN, 1),
        (fa.Performed(fa.HANG), Status.UNKNOWN, 1),
        (fa.Performed(fa.html(502)), Status.UNKNOWN, 1),
        (fa.Snapshot(change=fa.halved), Status.UNKNOWN, 1),
        (fa.refusal(503), Status.UNKNOWN, 1),
        (fa.refusal(400), Status.REJECTED, 1),
        (fa.refusal(409), Status.REJECTED, 1),
        (
            fa.Performed(fa.refusal(409, code="idempotency_key_in_use")),
            *(Status.UNKNOWN, 1),
        ),
        (fa.redirect(307, "http://127.0.0.1:1/"), Status.REJECTED, 1),
        (fa.refusal(429, retry_after="1"), Status.QUEUED, 2),
        (fa.refusal(503, x_should_retry="true"), Status.QUEUED, 2),
        (Stream(until=0, end=End.RST), Status.QUEUED, 1),
    ],
)
def test_the_server_sees_one_request(
    server: FakeServer, state: Path, answer: fa.Answer, status: Status, posts: int
) -> None:
    """Over a real connection a request is repeated only where nothing was done."""
    server.script("create", answer)

    async def main() -> Submitted:
        end = getattr(answer, "answer", answer)
        api = Api(endpoint(server.base_url, spoken=patient_unless_hanging(end)))
        submitted = await Submitter(api, recorder_at(state), lambda _: None).submit(
            draft()
        )
        if submitted.signals is not None:
            await submitted.signals.aclose()
        return submitted

    # Where the server hangs, nothing real is worth waiting for.
    patience = 0.3 if "HANG" in repr(answer) else 5.0
    submitted = run_virtual(main(), patience=patience)
    assert (status, posts) == (submitted.job.status, len(server.creates))
    assert status is recorded(state).status
    headers = {seen.headers["idempotency-key"] for seen in server.creates}
    assert {submitted.job.key} == headers


def test_a_server_that_comes_up_is_reached(server: FakeServer, state: Path) -> None:
    """Refused connections are tried again until the server is there: one POST."""
    server.refuse()

    def said(_: str) -> None:
        server.accept()

    async def main() -> Submitted:
        api = Api(endpoint(server.base_url))
        return await Submitter(api, recorder_at(state), said).submit(draft())

    assert Status.QUEUED is run_virtual(main(), patience=5).job.status
    assert 1 == len(server.creates)


@pytest.mark.parametrize(
    ("signals", "seconds"),
    [
        ([EVENTS[0], EVENTS[1], EVENTS[2], Late(100, CLOSED)], 0.0),
        ([EVENTS[0], Late(1.0, EVENTS[2]), Late(100, CLOSED)], 1.0),
        ([EVENTS[0], Late(100, CLOSED)], 3.0),
        ([EVENTS[0], CLOSED], 0.0),
    ],
)
def test_a_creating_stream_is_held(signals: list[Answer], seconds: float) -> None:
    """A creating stream is held until the job runs, or three seconds, and closed."""
    scripted = Scripted(streams=[signals])

    async def main() -> float:
        await hold(scripted.stream("x", None))
        return asyncio.get_running_loop().time()

    assert (seconds, 1) == (run_virtual(main()), scripted.closed)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (AMBIGUOUS, UnknownOutcomeError, ["may have been accepted", "HTTP 502"]),
        (REFUSED, UnreachableError, ["not sent: Connection refused"]),
        (refusal(407, FaultKind.REFUSED, "who?"), ConfigError, ["who?"]),
        (BAD, RefusedError, ["refused: No."]),
        (refusal(401, FaultKind.REFUSED, "bad key"), ConfigError, ["bad key"]),
        (refusal(403, FaultKind.REFUSED, "no"), ConfigError, ["no"]),
        (refusal(307, FaultKind.REFUSED, "redirected"), ConfigError, ["redirected"]),
    ],
)
def test_errors_say_what_to_do(
    state: Path, fault: Fault, kind: type, words: list[str]
) -> None:
    """Each failure becomes the error of its exit code, with the endpoint's words."""
    submitted, _, _ = submit(Scripted(creates=[[fault]]), state)
    error = error_of(submitted)
    assert kind is type(error)
    assert not [word for word in words if word not in error.message]
    assert fault.request_id == error.request_id
    if kind is UnknownOutcomeError:
        assert submitted.job.key in error.message
        assert f"bgresp resolve {submitted.job.key}" in error.hint
    with pytest.raises(ValueError, match="nothing went wrong"):
        error_of(Submitted(submitted.job))


def alive(seconds: float, *rest: Answer) -> list[Answer]:
    """Return a create stream of numbered keepalives, one every 15 s."""
    count = int(seconds / 15)
    kept = [event({"type": "keepalive", "sequence_number": n}) for n in range(count)]
    return [*(Late(15, each) for each in kept), *rest]


def test_a_stream_that_is_alive_is_not_given_up(state: Path) -> None:
    """An id that comes after five minutes of keepalives is never waited for."""
    stream = alive(301, Late(1, EVENTS[0]), Late(1000, CLOSED))
    scripted = Scripted(creates=[stream])
    submitted, said, took = submit(scripted, state, draft(stream=True))
    assert (None, fw.FIRST_ID) == (submitted.fault, submitted.job.id)
    assert 301 == took
    assert ["no id yet, but events come: waiting up to 15 minutes for it"] == said
    assert fw.FIRST_ID == recorded(state).id


@pytest.mark.parametrize(("lives", "until"), [(5000.0, 900.0), (300.0, 480.0)])
def test_a_stream_without_an_id_is_unknown_in_the_end(
    state: Path, lives: float, until: float
) -> None:
    """A stream that tells no id is read for ever, or its outcome is taken for known."""
    scripted = Scripted(creates=[alive(lives, Late(9000, CLOSED))])
    submitted, _, took = submit(scripted, state, draft(stream=True))
    assert (Status.UNKNOWN, until) == (submitted.job.status, took)
    assert submitted.fault is not None
    assert f"no id came for {until:.0f} s" == submitted.fault.message


def test_an_answer_that_is_not_stored_is_told_once(state: Path) -> None:
    """`store: false` costs an answer that nobody was told to fetch in time."""
    said: list[str] = []

    async def main() -> None:
        scripted = Scripted(creates=[[QUEUED]])
        sender = Submitter(scripted.api, recorder_at(state), said.append)
        for _ in range(2):
            one = draft()
            unstored = one.job._replace(extra={"store": False})
            await sender.submit(one._replace(job=unstored))

    run_virtual(main())
    (line,) = said
    assert line.startswith("store: false: ")
    assert "then it is lost" in line
